// parts - shared by the files of this room only:
//
//   checkpoint.c          names of folders, and moving them into place
//   conf.c     the text of pipeline.conf
//   load.c     finding and loading
//   retain.c   removing old checkpoints
//   tensors.c  the tensors of each file
//   write.c    writing
#ifndef CHECKPOINT_PARTS_H
#define CHECKPOINT_PARTS_H

#include "checkpoint/checkpoint.h"
#include "weights/safetensors.h"

#define CHECKPOINT_OPTIMIZER_FILE "optimizer.safetensors"
#define CHECKPOINT_POOL_FILE "pool.bin"

// FOLDER/NAME
void checkpoint_join(char ret[CHECKPOINT_PATH], const char *folder, const char *name);
// ROOT/NAME. `form` is the printf format of the name and takes the step as %llu.
void checkpoint_step_path(const char *root, const char *form, uint64_t step,
                          char ret[CHECKPOINT_PATH]);

struct checkpoint_steps {
    int n;
    uint64_t *items; // ascending
};
// Lists the steps. `clean`: also removes leftovers of a killed process. The caller frees the items.
// ERR_IO.
int checkpoint_list_steps(const char *root, bool clean, struct checkpoint_steps *ret);

// The text of pipeline.conf: the settings that influence the weights, in the order of config.def.
// The caller frees it.
char *checkpoint_conf(const struct config *config);

// Describes a parameter, or its Adam moment in `data`, as a tensor of a file.
struct safetensor checkpoint_tensor(const struct model_param *p, const char *name,
                                    const void *data);
// "G_A.safetensors" of net G_A.
void checkpoint_net_file(const struct model_net *net, char ret[64]);
// The tensors of the optimizer file. `data` of each points into the model. Names are on the heap.
struct safetensor *checkpoint_optimizer_tensors(struct model_net *const *nets, int n_nets,
                                                int *ret_n);
// Frees tensors and their names.
void checkpoint_free_tensors(struct safetensor *tensors, int n);

#endif
