// Writes the files of a checkpoint into a folder that is not visible yet; state.json last.
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/parts.h"

static int add_digest(const char *folder, const char *name, struct state *s) {
    char path[CHECKPOINT_PATH], hex[65];
    uint8_t digest[32];
    uint64_t size;
    int err;

    checkpoint_join(path, folder, name);
    // Of the file and not of memory: a failed write must not get a valid digest.
    err = digest_file(path, digest, &size);
    if (err)
        return err;
    digest_hex(digest, hex);
    state_add_file(s, name, hex);
    return ERR_OK;
}

static int write_net(const char *folder, const struct model_net *net, struct state *s) {
    struct safetensor *tensors = xcalloc((size_t)net->n_params, sizeof *tensors);
    char path[CHECKPOINT_PATH], name[64];
    int err;

    for (int i = 0; i < net->n_params; i++)
        tensors[i] = checkpoint_tensor(&net->params[i], net->params[i].key, net->params[i].w);
    checkpoint_net_file(net, name);
    checkpoint_join(path, folder, name);
    err = safetensors_write(path, tensors, net->n_params);
    free(tensors);
    return err ? err : add_digest(folder, name, s);
}

static int write_optimizer(const char *folder, const struct checkpoint_content *c,
                           struct state *s) {
    char path[CHECKPOINT_PATH];
    int n, err;
    struct safetensor *tensors = checkpoint_optimizer_tensors(c->nets, c->n_nets, &n);

    checkpoint_join(path, folder, CHECKPOINT_OPTIMIZER_FILE);
    err = safetensors_write(path, tensors, n);
    checkpoint_free_tensors(tensors, n);
    return err ? err : add_digest(folder, CHECKPOINT_OPTIMIZER_FILE, s);
}

static int write_text(const char *folder, const char *name, const char *text, struct state *s) {
    char path[CHECKPOINT_PATH];
    int err;

    checkpoint_join(path, folder, name);
    err = fs_write_atomic(path, text, strlen(text));
    return err ? err : add_digest(folder, name, s);
}

int checkpoint_write(const char *path, const struct checkpoint_content *content, struct state *s) {
    char state_path[CHECKPOINT_PATH];
    char *conf = checkpoint_conf(content->config);
    int err = ERR_OK;

    // `s` still holds the files of the checkpoint before.
    s->n_files = 0;
    for (int i = 0; i < content->n_nets && !err; i++)
        err = write_net(path, content->nets[i], s);
    if (!err)
        err = write_optimizer(path, content, s);
    // The pool has written its file and sent the digest, so it is not read again.
    if (!err && content->pool_digest)
        state_add_file(s, CHECKPOINT_POOL_FILE, content->pool_digest);
    if (!err && content->plans)
        err = add_digest(path, CHECKPOINT_PLANS, s);
    if (!err)
        err = write_text(path, "kernels.txt", content->kernels, s);
    if (!err)
        err = write_text(path, "pipeline.conf", conf, s);
    free(conf);
    if (err)
        return err;
    // Last: it names all other files with their digests.
    checkpoint_join(state_path, path, "state.json");
    return state_save(s, state_path);
}
