// Starts the nets of a new run from files of weights, and remembers the digests of the files.
#include "training/init_from.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/sources.h"
#include "weights/weights.h"

// Moving averages are copies of trained nets. They are not loaded.
static bool is_average(const char *net) {
    size_t n = strlen(net), m = strlen(MODEL_AVERAGE);
    return n > m && strcmp(net + n - m, MODEL_AVERAGE) == 0;
}

// The file of net i. ERR_AGAIN: there is none.
static int find_file(const char *where, struct model_net *const *nets, int i,
                     char ret_path[SOURCES_PATH]) {
    if (is_average(nets[i]->name))
        return ERR_AGAIN;
    if (fs_is_dir(where))
        return sources_find(where, nets[i]->name, ret_path);
    // A single file holds one generator; it goes to the first net.
    if (i > 0)
        return ERR_AGAIN;
    return text_copy(ret_path, SOURCES_PATH, where)
               ? ERR_OK
               : err_set(ERR_IO, "the path '%.100s...' is too long", where);
}

// FILE#NAME chooses a state dict in FILE. The digest is of FILE.
static int digest_of(const char *path, char ret[65]) {
    uint8_t digest[32];
    uint64_t size;
    char file[SOURCES_PATH];
    (void)text_copy(file, sizeof file, path); // it is no longer
    char *hash = strrchr(file, '#');
    if (hash && !fs_exists(file))
        *hash = 0;
    int err = digest_file(file, digest, &size);
    if (!err)
        digest_hex(digest, ret);
    return err;
}

static int load_net(const char *path, struct model_net *net, struct state_init *ret) {
    struct weights *w = NULL;
    // A file in a checkpoint has a digest beside it; a damaged one is refused here.
    int err = checkpoint_check_file(path);
    if (!err)
        err = weights_open(path, &w);
    if (!err)
        err = weights_load(w, net);
    if (!err)
        err = digest_of(path, ret->digest);
    weights_close(w);
    (void)text_copy(ret->net, sizeof ret->net, net->name); // short
    return err ? err_prefix(weights_unusable(err), "trainer.init_from, %s", net->name) : ERR_OK;
}

int init_from_load(const char *where, struct model_net *const *nets, int n_nets, struct state *s,
                   void (*loaded)(void *context, const struct state_init *init, const char *path),
                   void *context) {
    char path[SOURCES_PATH];
    s->n_init = 0;
    for (int i = 0; i < n_nets; i++) {
        int err = find_file(where, nets, i, path);
        // A net without a file keeps its random weights.
        if (err == ERR_AGAIN)
            continue;
        if (s->n_init == STATE_INIT_MAX)
            BUG("more than %d nets", STATE_INIT_MAX);
        struct state_init *init = &s->init[s->n_init];
        if (!err)
            err = load_net(path, nets[i], init);
        if (err)
            return err;
        s->n_init++;
        if (loaded)
            loaded(context, init, path);
    }
    return s->n_init ? ERR_OK
                     : err_set(ERR_DATA,
                               "trainer.init_from: there are no weights of %s in '%s'; looked for "
                               "%s.safetensors, %s.pth, *_net_%s.pth",
                               nets[0]->name, where, nets[0]->name, nets[0]->name, nets[0]->name);
}

static const char *digest_in_state(const struct state *s, const char *net) {
    for (int i = 0; i < s->n_init; i++)
        if (strcmp(s->init[i].net, net) == 0)
            return s->init[i].digest;
    return NULL;
}

int init_from_check(const char *where, struct model_net *const *nets, int n_nets,
                    const struct state *s) {
    char path[SOURCES_PATH], digest[65];
    for (int i = 0; i < n_nets; i++) {
        const char *then = digest_in_state(s, nets[i]->name);
        // Files may be gone after the start; they are not needed any more.
        if (find_file(where, nets, i, path) || digest_of(path, digest))
            continue;
        if (!then || strcmp(then, digest) != 0)
            return err_set(ERR_MISMATCH,
                           "trainer.init_from: this run did not begin with '%s'; take the setting "
                           "back, or begin another run (--fresh, or another name)",
                           path);
    }
    return ERR_OK;
}
