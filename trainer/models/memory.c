// The arenas of a model, and the advice when one does not fit.
#include <math.h>
#include <stdio.h>

#include "backend/memory.h"
#include "base/err.h"
#include "base/util.h"
#include "models/recipe.h"

#define SIDE_STEP 32  // of a side that is suggested
#define SIDE_LEAST 64 // smaller ones are no help
// Memory of a device besides the arena: images in flight, tables.
#define BESIDES(bytes) ((bytes) / 50 + ((size_t)1 << 20))

static double mebibytes(size_t bytes) {
    return (double)bytes / 1048576;
}

struct model_memory model_memory(const struct model *m) {
    struct model_memory all = {
        .translation = m->translation_arena_bytes,
        .parameters = optimizer_bytes(&m->optimizer_g) + optimizer_bytes(&m->optimizer_d) +
                      model_accumulate_bytes(m),
        .average = optimizer_bytes(&m->average),
    };

    for (int i = 0; i < m->recipe->n_nets; i++)
        all.packed += net_bytes(m->nets[i]);
    for (int i = 0; i < m->n_tapes; i++)
        all.scratch = MAX(all.scratch, graph_workspace_bytes(m->tapes[i]->graph));
    // After a failed growth there is no arena, but its tapes still count their scratch.
    all.scratch = MIN(all.scratch, m->arena_bytes);
    all.maps = m->arena_bytes - all.scratch;
    return all;
}

size_t model_memory_bytes(const struct model *m) {
    struct model_memory a = model_memory(m);

    return a.maps + a.scratch + a.parameters + a.average + a.packed + a.translation;
}

void model_memory_describe(const struct model *m, char *ret_text, size_t size) {
    struct model_memory a = model_memory(m);

    (void)snprintf(ret_text, size,
                   "%.0f MiB: activations %.0f, the kernels' scratch %.0f, parameters with "
                   "gradients and moments %.0f, their average %.0f, repacked parameters %.0f, "
                   "rendering %.0f",
                   mebibytes(model_memory_bytes(m)), mebibytes(a.maps), mebibytes(a.scratch),
                   mebibytes(a.parameters), mebibytes(a.average), mebibytes(a.packed),
                   mebibytes(a.translation)); // may be cut
}

// What ran on an arena that moves cannot be repeated.
static void drop_sections(struct model *m, void **arena) {
    for (int i = 0; i < m->n_tapes && arena == &m->arena; i++) {
        // All tapes share one arena, so all of them lose their recordings.
        model_drop_part(m, &m->tapes[i]->generate);
        model_drop_part(m, &m->tapes[i]->update_g);
        model_drop_part(m, &m->tapes[i]->update_d);
    }
    for (int i = 0; i < TRANSLATIONS && arena == &m->translation_arena; i++)
        model_drop_part(m, &m->translations[i].all);
}

static bool is_within_limit(const struct model *m, size_t bytes) {
    // trainer.memory of 0 sets no limit.
    return !m->settings.memory || model_memory_bytes(m) + bytes <= (size_t)m->settings.memory;
}

static int memory_within_limit(struct model *m, size_t bytes, void **ret_memory) {
    if (!is_within_limit(m, bytes))
        return err_set(ERR_LIMIT, "the limit is %.0f MiB", mebibytes((size_t)m->settings.memory));
    return m->device->backend->memory_new(m->device, bytes, ret_memory);
}

// ---- suggestions ----

// Whether an arena of so many bytes could be had. A device with memory of its own is asked for it.
// The host is not: to fill nearly all of its memory would push other processes out.
static bool fits(struct model *m, double bytes) {
    size_t need = (size_t)bytes + BESIDES((size_t)bytes) + m->device->reserve_bytes;
    size_t available = memory_available();
    void *memory;

    if (!m->device->asynchronous)
        return is_within_limit(m, need) && (!available || need <= available);
    if (memory_within_limit(m, need, &memory))
        return false;
    m->device->backend->memory_free(m->device, memory);
    return true;
}

// The largest batch below n that fits; 0: none.
static int batch_that_fits(struct model *m, int n, double picture_bytes) {
    int fitting = 0, too_many = n;

    // Bisection: few trials, since each may allocate on the device.
    while (too_many - fitting > 1) {
        int middle = (fitting + too_many) / 2;
        if (fits(m, middle * picture_bytes))
            fitting = middle;
        else
            too_many = middle;
    }
    return fitting;
}

// The largest side for one image that fits; 0: none.
static int side_that_fits(struct model *m, int side, double picture_bytes) {
    // Multiples of 32 suit every resnet. A U-Net needs multiples of 128 or 256.
    for (int s = (side - 1) / SIDE_STEP * SIDE_STEP; s >= SIDE_LEAST; s -= SIDE_STEP)
        if (fits(m, picture_bytes * s / side * s / side))
            return s;
    return 0;
}

// "loader.batch_size 4 needs about 5230 MiB". An arena grows with the number of pixels.
static void suggest_sizes(struct model *m, const struct model_batch *b, size_t need, char *ret,
                          size_t size) {
    double picture_bytes = (double)need / b->n, held = mebibytes(model_memory_bytes(m));
    int side = MAX(b->h, b->w), n = batch_that_fits(m, b->n, picture_bytes);
    char gather[80] = "";

    // Batch norm sees micro-batches, so accumulation would not give the same update.
    if (n && b->n % n == 0 && !net_couples_images(m->nets[0]))
        (void)snprintf(gather, sizeof gather,
                       ", and trainer.accumulate %d keeps updates of %d pictures", b->n / n,
                       b->n); // fits
    if (n) {
        (void)snprintf(ret, size, "loader.batch_size %d needs about %.0f MiB%s", n,
                       held + n * picture_bytes / 1048576, gather); // may be cut
        return;
    }
    n = side_that_fits(m, side, picture_bytes);
    if (n)
        (void)snprintf(ret, size,
                       "loader.batch_size 1 with loader.crop_size %d needs about %.0f MiB", n,
                       held + picture_bytes * n / side * n / side / 1048576); // may be cut
    else
        (void)snprintf(ret, size, "no batch of such pictures fits"); // may be cut
}

static int explain_no_arena(struct model *m, const struct model_batch *b, size_t need) {
    // No advice to set bf16 where the device lacks it or uses it already.
    bool narrow = !m->device->asynchronous || m->device->element_bytes == 2;
    double rest = mebibytes(model_memory_bytes(m));
    char why[512], advice[200];

    (void)text_copy(why, sizeof why, err_text()); // may be cut
    suggest_sizes(m, b, need, advice, sizeof advice);
    return err_set(ERR_LIMIT,
                   "%s on a batch of %d pictures of %dx%d needs %.0f MiB: %.0f for its maps, their "
                   "gradients and workspaces beside %.0f of weights, their gradients and moments, "
                   "and packed copies; %s. %s; a smaller loader.crop_size or trainer.ngf%s need "
                   "less too",
                   b->what, b->n, b->w, b->h, mebibytes(need) + rest, mebibytes(need), rest, why,
                   advice, narrow ? "" : ", and trainer.dtype \"bf16\",");
}

int model_arena_grow(struct model *m, const struct model_batch *b, const struct graph *g,
                     void **arena, size_t *bytes) {
    size_t need = graph_arena_bytes(g);

    if (need <= *bytes)
        return ERR_OK;
    // The old arena goes first: both at once may not fit, and nothing in it is needed again.
    drop_sections(m, arena);
    m->device->backend->memory_free(m->device, *arena);
    *arena = NULL;
    *bytes = 0;
    int err = memory_within_limit(m, need, arena);
    if (err == ERR_LIMIT)
        return explain_no_arena(m, b, need);
    if (!err)
        *bytes = need;
    return err;
}

int model_no_weights(const struct model *m, int err) {
    size_t count = 0;

    if (err != ERR_LIMIT)
        return err;
    for (int i = 0; i < m->recipe->n_nets; i++)
        net_reserve(m->nets[i], &count);
    return err_prefix(err,
                      "weights, their gradients and moments need %.0f MiB alone, fewer with a "
                      "smaller trainer.ngf or ndf",
                      mebibytes(4 * count * sizeof(float)));
}
