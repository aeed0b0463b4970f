// parts - what the files of the checkpoint share and nobody else sees:
//
//   checkpoint.c          folders: their names, and how they come into place
//   checkpoint/conf.c     the text of pipeline.conf
//   checkpoint/load.c     finding and loading
//   checkpoint/retain.c   what is removed
//   checkpoint/tensors.c  which tensors the files hold
//   checkpoint/write.c    writing
#ifndef CHECKPOINT_PARTS_H
#define CHECKPOINT_PARTS_H

#include "checkpoint/checkpoint.h"
#include "weights/safetensors.h"

#define CHECKPOINT_OPTIMIZER_FILE "optimizer.safetensors"
#define CHECKPOINT_POOL_FILE "pool.bin"

// FOLDER/NAME
void checkpoint_join(char ret[CHECKPOINT_PATH], const char *folder, const char *name);
// ROOT/NAME, the name by `form`, which takes the step as %llu.
void checkpoint_step_path(const char *root, const char *form, uint64_t step,
                          char ret[CHECKPOINT_PATH]);

struct checkpoint_steps {
    int n;
    uint64_t *items; // ascending
};
// Finds the steps; with `clean`, removes what a killed process has left. The caller frees the
// items. ERR_IO.
int checkpoint_list_steps(const char *root, bool clean, struct checkpoint_steps *ret);

// The settings that decide the bits, in the order of config.def; caller frees.
char *checkpoint_conf(const struct config *config);

// The tensor of a parameter (or of its Adam moments: `data`) as it is in a file.
struct safetensor checkpoint_tensor(const struct model_param *p, const char *name,
                                    const void *data);
void checkpoint_net_file(const struct model_net *net, char ret[64]);
// The optimizer's tensors of all nets; `data` of each is where it lies in the model. The names are
// heap strings.
struct safetensor *checkpoint_optimizer_tensors(struct model_net *const *nets, int n_nets,
                                                int *ret_n);
// With names that are heap strings.
void checkpoint_free_tensors(struct safetensor *tensors, int n);

#endif
