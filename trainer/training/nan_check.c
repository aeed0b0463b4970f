// Checks after each step, and names the images, because a single broken image is a usual cause.
#include "training/nan_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "manifest.h"

#define NAMES_BYTES 320 // of the message's 900, for each side

// The manifest that the batch's record numbers refer to. NULL if this machine does not have it.
static struct manifest *find_manifest(char domain, const char *digest) {
    static const char *const forms[] = {"manifest/%c.manifest", "manifest/%c.fetched"};
    for (size_t i = 0; i < COUNT(forms); i++) {
        char path[32];
        struct manifest *m;
        (void)snprintf(path, sizeof path, forms[i], domain); // fits
        if (manifest_load(path, &m))
            continue;
        // The curator may have written a newer manifest since; its record numbers differ.
        if (strcmp(m->digest, digest) == 0)
            return m;
        manifest_free(m);
    }
    return NULL;
}

static int add_name(const struct manifest *m, uint64_t record, char *ret, size_t n) {
    if (m && record < m->count + m->held_out)
        return snprintf(ret, n, " '%s'", m->records[record].path);
    return snprintf(ret, n, " record %llu", (unsigned long long)record);
}

// " 'a.jpg' 'b.jpg'"; ends with how many more there are if they do not fit.
static void name_side(const struct nan_check *g, int side, char ret[NAMES_BYTES]) {
    struct manifest *m = find_manifest(g->domains[side], g->manifests[side].digest);
    // The remark must always fit.
    const size_t room = NAMES_BYTES - sizeof " and 1024 more";
    size_t at = 0;
    for (int i = 0; i < g->batch->n; i++) {
        int length = add_name(m, g->batch->records[side][i], ret + at, room - at);
        if (length < 0 || at + (size_t)length >= room) {
            (void)snprintf(ret + at, NAMES_BYTES - at, " and %d more", g->batch->n - i); // fits
            break;
        }
        at += (size_t)length;
    }
    manifest_free(m);
}

static void name_checkpoint(uint64_t step, char ret[64]) {
    if (step)
        (void)snprintf(ret, 64, "the last checkpoint is of step %llu", (unsigned long long)step);
    else
        (void)text_copy(ret, 64, "there is no checkpoint yet"); // fits, as above
}

static const char *find_not_finite(const struct model *m, char ret[64]) {
    for (int i = 0; i < model_n_losses(m); i++)
        if (!isfinite(model_loss(m, i))) {
            (void)snprintf(ret, 64, "loss %s", model_loss_name(m, i)); // may be cut
            return ret;
        }
    // A loss names the cause better, so losses come first.
    return model_gradients_finite(m) ? NULL : "a gradient";
}

int nan_check_step(const struct model *m, const struct nan_check *g) {
    char names[2][NAMES_BYTES], loss[64], saved[64];
    const char *what = find_not_finite(m, loss);
    if (!what)
        return ERR_OK;
    for (int side = 0; side < 2; side++)
        name_side(g, side, names[side]);
    name_checkpoint(g->saved_step, saved);
    return err_set(ERR_NOT_FINITE,
                   "%s is not finite at step %llu (epoch %llu, batch %llu); pictures of %c:%s, of "
                   "%c:%s; %s",
                   what, (unsigned long long)g->step, (unsigned long long)g->batch->epoch,
                   (unsigned long long)g->batch->index, g->domains[0], names[0], g->domains[1],
                   names[1], saved);
}

int nan_check_weights(struct model *m, uint64_t step, uint64_t saved_step) {
    char saved[64];
    bool finite;
    int err = model_weights_finite(m, &finite);
    if (err || finite)
        return err;
    name_checkpoint(saved_step, saved);
    return err_set(ERR_NOT_FINITE, "a weight or a moment is not finite after step %llu; %s",
                   (unsigned long long)step, saved);
}
