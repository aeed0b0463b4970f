#include "translation.h"

#include "err.h"
#include "memory.h"
#include "picture.h"
#include "util.h"

#define BATCH_MAX 256

// Pictures of one padded size that will go together.
struct group {
    int n, h, w;
    struct conveyor_job *jobs[BATCH_MAX];
};

static size_t floats(int n, int h, int w, int c) {
    return (size_t)n * (size_t)h * (size_t)w * (size_t)c;
}

static void fill(struct translator *t, const struct group *g) {
    int c = translator_channels_in(t);
    float *x = translator_input(t);

    for (int i = 0; i < g->n; i++)
        picture_rows(&g->jobs[i]->in, 0, g->h, g->w, x + floats(i, g->h, g->w, c));
}

static void take(struct translator *t, const struct group *g) {
    int c = translator_channels_out(t);
    const float *y = translator_output(t);

    for (int i = 0; i < g->n; i++) {
        struct conveyor_job *j = g->jobs[i];
        image_init(&j->out, j->in.w, j->in.h, c);
        picture_put_rows(y + floats(i, g->h, g->w, c), 0, g->h, g->w, c, &j->out);
    }
}

static double gib(size_t bytes) {
    return (double)bytes / (1 << 30);
}

// Whether this machine has the memory: better said before than met in the middle.
static int check_memory(const struct group *g, size_t need) {
    size_t available = memory_available();
    const struct conveyor_job *j = g->jobs[0];

    if (!available || need <= available)
        return ERR_OK;
    return err_set(ERR_LIMIT,
                   "'%s' of %dx%d needs %.1f GiB of memory to be translated whole, %.1f GiB are "
                   "free",
                   j->item->in, j->in.w, j->in.h, gib(need), gib(available));
}

static int translate_whole(struct translator *t, const struct group *g) {
    size_t need;
    int err = translator_bytes(t, g->n, g->h, g->w, &need);

    if (!err)
        err = check_memory(g, need);
    if (!err)
        err = translator_shape(t, g->n, g->h, g->w);
    if (err)
        return err;
    fill(t, g);
    err = translator_run(t);
    if (!err)
        take(t, g);
    return err;
}

// Whether the next picture may fare better.
static bool is_about_one_picture(int err) {
    return err == ERR_FORMAT || err == ERR_IO || err == ERR_SHAPE || err == ERR_LIMIT;
}

static void give_all(const struct translation_options *o, struct group *g, int err) {
    for (int i = 0; i < g->n; i++)
        conveyor_give(o->conveyor, g->jobs[i], err);
    g->n = 0;
}

static int flush(const struct translation_options *o, struct group *g) {
    if (!g->n)
        return ERR_OK;
    int err = translate_whole(o->translator, g);
    give_all(o, g, err);
    return err && !is_about_one_picture(err) ? err : ERR_OK;
}

static int put(const struct translation_options *o, struct group *g, struct conveyor_job *j) {
    int h = translator_padded(o->translator, j->in.h),
        w = translator_padded(o->translator, j->in.w);
    int err = h == g->h && w == g->w ? ERR_OK : flush(o, g);

    g->h = h;
    g->w = w;
    g->jobs[g->n++] = j;
    return err || g->n < MIN(o->batch, BATCH_MAX) ? err : flush(o, g);
}

int translation_run(const struct translation_options *o) {
    struct group group = {0};
    int err = ERR_OK;

    for (;;) {
        struct conveyor_job *j = conveyor_next(o->conveyor, group.n > 0);
        if (!j && !group.n)
            return ERR_OK;
        err = j ? put(o, &group, j) : flush(o, &group); // perhaps the next waits for their room
        if (err)
            break;
    }
    conveyor_stop(o->conveyor);
    give_all(o, &group, err);
    return err;
}
