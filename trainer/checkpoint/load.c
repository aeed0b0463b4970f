// Finds the newest usable checkpoint, and reads its tensors into the nets.
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/parts.h"

// ---- finding ----

static int check_digest(const char *path, const char *want) {
    char hex[65];
    uint8_t digest[32];
    uint64_t size;
    int err = digest_file(path, digest, &size);

    if (err)
        return err;
    digest_hex(digest, hex);
    if (strcmp(hex, want) != 0)
        return err_set(ERR_FORMAT, "'%s' has been changed or damaged: its digest does not hold",
                       path);
    return ERR_OK;
}

static int check_whole(const char *folder, uint64_t step, struct state *ret_state) {
    char path[CHECKPOINT_PATH];
    struct state s;
    int err;

    checkpoint_join(path, folder, "state.json");
    err = state_load(path, &s);
    if (err)
        return err;
    // A renamed or copied folder must not resume at another step.
    if (s.step != step)
        return err_set(ERR_FORMAT, "state.json is of step %llu", (unsigned long long)s.step);
    // `keep_weights_every` removes the optimizer's file but not its digest; then check_digest fails
    // below.
    if (!state_digest(&s, CHECKPOINT_OPTIMIZER_FILE))
        return err_set(ERR_FORMAT, "state.json does not name " CHECKPOINT_OPTIMIZER_FILE);
    for (int i = 0; i < s.n_files; i++) {
        checkpoint_join(path, folder, s.files[i].name);
        err = check_digest(path, s.files[i].digest);
        if (err)
            return err;
    }
    *ret_state = s;
    return ERR_OK;
}

int checkpoint_find(const char *root, const struct checkpoint_refusals *refusals,
                    char ret_path[CHECKPOINT_PATH], struct state *ret_state) {
    struct checkpoint_steps steps;
    char path[CHECKPOINT_PATH];
    int err = checkpoint_list_steps(root, false, &steps);

    if (err)
        return err;
    // Holds if the loop finds nothing: ERR_AGAIN only where there is no checkpoint at all.
    err = steps.n ? ERR_FORMAT : ERR_AGAIN;
    // From the newest down: an older checkpoint is better than none.
    for (int i = steps.n - 1; i >= 0 && err; i--) {
        checkpoint_path(root, steps.items[i], path);
        err = check_whole(path, steps.items[i], ret_state);
        if (err && refusals->refused)
            refusals->refused(refusals->context, path, err_text());
    }
    free(steps.items);
    if (!err)
        memcpy(ret_path, path, sizeof path);
    if (err == ERR_AGAIN)
        return err_set(err, "no checkpoint in '%s'", root);
    return err ? err_set(ERR_FORMAT, "no checkpoint in '%s' can be used", root) : ERR_OK;
}

// ---- loading ----

static int differs(const struct safetensors *f, const struct safetensor *want,
                   const struct safetensor *got) {
    if (!got)
        return err_set(ERR_MISMATCH, "'%s' is of another architecture: it has no %s", f->path,
                       want->name);
    if (got->type != want->type || got->rank != want->rank ||
        memcmp(got->dims, want->dims, (size_t)want->rank * sizeof *want->dims) != 0) {
        return err_set(ERR_MISMATCH,
                       "'%s' is of another architecture: %s is [%lld,%lld,%lld,%lld] there and "
                       "[%lld,%lld,%lld,%lld] here",
                       f->path, want->name, (long long)got->dims[0], (long long)got->dims[1],
                       (long long)got->dims[2], (long long)got->dims[3], (long long)want->dims[0],
                       (long long)want->dims[1], (long long)want->dims[2],
                       (long long)want->dims[3]);
    }
    return ERR_OK;
}

static int check_tensors(const struct safetensors *f, const struct safetensor *want, int n) {
    for (int i = 0; i < n; i++) {
        int err = differs(f, &want[i], safetensors_find(f, want[i].name));

        if (err)
            return err;
    }
    // All wanted names were found, so a surplus means tensors of another net.
    if (f->count != n)
        return err_set(ERR_MISMATCH, "'%s' is of another architecture: %d tensors there, %d here",
                       f->path, f->count, n);
    return ERR_OK;
}

static int read_tensors(const struct safetensors *f, const struct safetensor *want, int n) {
    int err = ERR_OK;

    for (int i = 0; i < n && !err; i++)
        err = safetensors_read(f, safetensors_find(f, want[i].name), (void *)want[i].data);
    return err;
}

struct file_of_tensors {
    struct safetensors file;
    struct safetensor *want; // `data` is where to read to
    int n;
};

static int open_file(const char *folder, const char *name, struct file_of_tensors *f) {
    char path[CHECKPOINT_PATH];
    int err;

    checkpoint_join(path, folder, name);
    err = safetensors_open(path, &f->file);
    return err ? err : check_tensors(&f->file, f->want, f->n);
}

static void want_net(const struct model_net *net, struct file_of_tensors *ret) {
    ret->n = net->n_params;
    ret->want = xcalloc((size_t)net->n_params, sizeof *ret->want);
    for (int i = 0; i < net->n_params; i++)
        ret->want[i] =
            checkpoint_tensor(&net->params[i], xstrdup(net->params[i].key), net->params[i].w);
}

static void close_files(struct file_of_tensors *files, int n) {
    for (int i = 0; i < n; i++) {
        safetensors_close(&files[i].file);
        checkpoint_free_tensors(files[i].want, files[i].n);
    }
    free(files);
}

int checkpoint_load(const char *path, struct model_net *const *nets, int n_nets) {
    // One file for each net, and the optimizer's last.
    struct file_of_tensors *files = xcalloc((size_t)n_nets + 1, sizeof *files);
    struct file_of_tensors *optimizer = &files[n_nets];
    char name[64];
    int err = ERR_OK;

    for (int i = 0; i < n_nets; i++)
        want_net(nets[i], &files[i]);
    optimizer->want = checkpoint_optimizer_tensors(nets, n_nets, &optimizer->n);
    for (int i = 0; i < n_nets && !err; i++) {
        checkpoint_net_file(nets[i], name);
        err = open_file(path, name, &files[i]);
    }
    if (!err)
        err = open_file(path, CHECKPOINT_OPTIMIZER_FILE, optimizer);
    // All headers are checked before the first value is read: no net stays half loaded by a
    // mismatch.
    for (int i = 0; i <= n_nets && !err; i++)
        err = read_tensors(&files[i].file, files[i].want, files[i].n);
    close_files(files, n_nets + 1);
    return err;
}

static int check_beside(const char *path, const char *name, const char *state_path) {
    struct state s;
    int err = state_load(state_path, &s);

    if (err)
        return err;
    const char *digest = state_digest(&s, name);
    return digest ? check_digest(path, digest)
                  : err_set(ERR_FORMAT, "'%s' does not name %s", state_path, name);
}

int checkpoint_check_file(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    // The text keeps its '/', so that "%sstate.json" fits both cases.
    char *folder = slash ? xasprintf("%.*s", (int)(name - path), path) : xstrdup("./");
    char *beside = xasprintf("%sstate.json", folder);
    // A file outside of a checkpoint has no digest to compare with.
    int err = fs_exists(beside) ? check_beside(path, name, beside) : ERR_OK;

    free(folder);
    free(beside);
    return err;
}

int checkpoint_load_net(const char *path, struct model_net *net) {
    struct file_of_tensors *file = xcalloc(1, sizeof *file);
    char name[64], whole[CHECKPOINT_PATH];
    int err;

    checkpoint_net_file(net, name);
    checkpoint_join(whole, path, name);
    err = checkpoint_check_file(whole);
    want_net(net, file);
    if (!err)
        err = open_file(path, name, file);
    if (!err)
        err = read_tensors(&file->file, file->want, file->n);
    close_files(file, 1);
    return err;
}
