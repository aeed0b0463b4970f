// Groups images of one size, and chooses for each group: whole, one by one, or in bands.
#include "translate/translation.h"

#include <stdlib.h>

#include "backend/memory.h"
#include "backend/pixels.h"
#include "base/err.h"
#include "base/util.h"
#include "translate/bands.h"

#define BATCH_MAX 256
// For stacks, code not loaded yet, and tables of libraries.
#define OTHERS ((size_t)48 << 20)

// Images of one padded size that are translated together.
struct group {
    int n, h, w;
    struct conveyor_job *jobs[BATCH_MAX];
};

static size_t floats(int n, int h, int w, int c) {
    return (size_t)n * (size_t)h * (size_t)w * (size_t)c;
}

static void fill_input(struct translator *t, const struct group *g) {
    int c = translator_channels_in(t);
    float *x = translator_input(t);

    for (int i = 0; i < g->n; i++)
        pixels_from_rows(&g->jobs[i]->in, 0, g->h, g->w, x + floats(i, g->h, g->w, c));
}

static void store_results(struct translator *t, const struct group *g) {
    int c = translator_channels_out(t);
    const float *y = translator_output(t);

    for (int i = 0; i < g->n; i++) {
        struct conveyor_job *j = g->jobs[i];
        image_init(&j->out, j->in.w, j->in.h, c);
        pixels_put_rows(y + floats(i, g->h, g->w, c), 0, g->h, g->w, c, &j->out);
    }
}

// Checks the free memory first: otherwise the OOM killer would end the program.
static int check_memory(const struct group *g, size_t need) {
    // 0: the system does not tell, so nothing is refused.
    size_t available = memory_available();
    const struct conveyor_job *j = g->jobs[0];
    char text[3][16];

    if (!available || need <= available)
        return ERR_OK;
    return err_set(ERR_LIMIT,
                   "'%s' of %dx%d needs %s of memory to be translated whole, %s are free: "
                   "--memory \"%s\" does it in bands",
                   j->item->in, j->in.w, j->in.h, memory_text(need, text[0]),
                   memory_text(available, text[1]), memory_text(available / 2, text[2]));
}

static int translate_whole(struct translator *t, const struct group *g) {
    int err = translator_shape(t, g->n, g->h, g->w);

    if (err)
        return err;
    fill_input(t, g);
    err = translator_run(t);
    if (!err)
        store_results(t, g);
    return err;
}

static int translate_group(const struct translation_options *o, struct group *g);

// Translates the images of a group one by one.
static int translate_singly(const struct translation_options *o, struct group *g) {
    int err = ERR_OK;

    for (int i = 0; i < g->n && !err; i++) {
        struct group one = {.n = 1, .h = g->h, .w = g->w, .jobs = {g->jobs[i]}};
        err = translate_group(o, &one);
    }
    return err;
}

static void print_singly(const struct translation_options *o, const struct group *g,
                         const char *why) {
    char *text = xasprintf("%d pictures of %dx%d at a time do not fit (%s): one by one", g->n, g->w,
                           g->h, why);

    progress_bar_print(o->bar, text);
    free(text);
}

// An asynchronous device reports ERR_LIMIT itself when its memory does not suffice.
static int translate_asynchronous(const struct translation_options *o, struct group *g) {
    const struct conveyor_job *j = g->jobs[0];
    int err = check_memory(g, translator_staging_bytes(o->translator, g->n, g->h, g->w));
    char text[16], why[512];

    if (!err)
        err = translate_whole(o->translator, g);
    // Only a lack of memory has another way.
    if (err != ERR_LIMIT)
        return err;
    (void)text_copy(why, sizeof why, err_text()); // may be cut
    if (g->n > 1) {
        print_singly(o, g, why);
        return translate_singly(o, g);
    }
    return err_set(
        ERR_LIMIT, "'%s' of %dx%d: %s; --memory \"%s\" does it in bands, on the CPU%s", j->item->in,
        j->in.w, j->in.h, why, memory_text(memory_available() / 2, text),
        translator_device(o->translator)->element_bytes > 2 ? ", and --dtype bf16 needs half" : "");
}

static int translate_unbounded(const struct translation_options *o, struct group *g) {
    struct translator *t = o->translator;
    size_t need;

    if (translator_device(t)->asynchronous)
        return translate_asynchronous(o, g);
    // The lower bound is free; the exact need builds a tape.
    int err = check_memory(g, translator_least_bytes(t, g->n, g->h, g->w));
    if (!err)
        err = translator_bytes(t, g->n, g->h, g->w, &need);
    if (!err)
        err = check_memory(g, need);
    return err ? err : translate_whole(t, g);
}

// ---- with a bound ----

// Memory that is not available for the feature maps.
static size_t reserved(const struct translation_options *o, const struct conveyor_job *j) {
    // One image above the conveyor's limit travels alone.
    return o->resident + OTHERS + MAX(o->in_flight, j->bytes);
}

static size_t without(size_t bytes, size_t taken) {
    return bytes > taken ? bytes - taken : 0;
}

// Whether the group fits whole. The cheap lower bounds are checked before a tape is built. On an
// asynchronous device the bound holds for its memory and for the host's, each.
static int fits(const struct translation_options *o, const struct group *g, bool *ret) {
    struct translator *t = o->translator;
    bool asynchronous = translator_device(t)->asynchronous;
    size_t host = without(o->memory, reserved(o, g->jobs[0])), need;
    size_t room = asynchronous ? o->memory : host;
    int err;

    *ret = false;
    if (translator_staging_bytes(t, g->n, g->h, g->w) > host ||
        translator_least_bytes(t, g->n, g->h, g->w) > room)
        return ERR_OK;
    err = translator_bytes(t, g->n, g->h, g->w, &need);
    if (!err)
        *ret = need + net_bytes(translator_net(t)) <= room;
    return err;
}

static void report_part(void *context, double done) {
    progress_bar_part(context, done);
}

static void print_scratch(const struct translation_options *o, const struct conveyor_job *j,
                          size_t bytes) {
    char size[16];
    char *text = xasprintf("'%s' of %dx%d in bands, with %s of scratch files in '%s'", j->item->in,
                           j->in.w, j->in.h, memory_text(bytes, size), o->scratch);

    progress_bar_print(o->bar, text);
    free(text);
}

// The smallest bound that does: of a bound, an eighth is for pictures in flight, up to a limit.
static size_t least_memory(const struct translation_options *o, const struct conveyor_job *j,
                           size_t bands) {
    size_t others = o->resident + OTHERS + net_bytes(translator_net(o->translator)) + bands;
    size_t in_flight = o->in_flight < o->memory / 8 ? o->in_flight : others / 7;

    return others + MAX(in_flight, j->bytes);
}

static int translate_in_bands(const struct translation_options *o, struct conveyor_job *j) {
    size_t others = reserved(o, j) + net_bytes(translator_net(o->translator));
    struct bands_options bands = {.translator = o->translator,
                                  .memory = without(o->memory, others),
                                  .scratch = o->scratch,
                                  .part = report_part,
                                  .context = o->bar};
    struct bands_need need;
    int err = bands_need(&bands, j->in.w, j->in.h, &need);

    if (err)
        return err;
    if (need.least > bands.memory)
        return err_set(ERR_LIMIT,
                       "'%s' of %dx%d needs at least --memory \"%zu MiB\", even in bands",
                       j->item->in, j->in.w, j->in.h, (least_memory(o, j, need.least) >> 20) + 1);
    if (need.scratch)
        print_scratch(o, j, need.scratch);
    // The arena of earlier images is not counted in `bands`.
    translator_trim(o->translator);
    err = bands_translate(&bands, &j->in, &j->out);
    return err ? err_prefix(err, "'%s'", j->item->in) : ERR_OK;
}

static int translate_bounded(const struct translation_options *o, struct group *g) {
    bool whole;
    int err = fits(o, g, &whole);

    if (!err && whole)
        err = translate_whole(o->translator, g);
    if (err != ERR_LIMIT &&
        (err || whole)) // an asynchronous device may have less memory than the limit
        return err;
    return g->n > 1 ? translate_singly(o, g) : translate_in_bands(o, g->jobs[0]);
}

static void give_all(const struct translation_options *o, struct group *g, int err) {
    for (int i = 0; i < g->n; i++)
        conveyor_give(o->conveyor, g->jobs[i], err);
    g->n = 0;
}

// Whether other images may still succeed.
static bool is_about_one_picture(int err) {
    return err == ERR_FORMAT || err == ERR_IO || err == ERR_SHAPE || err == ERR_LIMIT;
}

static int translate_group(const struct translation_options *o, struct group *g) {
    return o->memory ? translate_bounded(o, g) : translate_unbounded(o, g);
}

static int flush_group(const struct translation_options *o, struct group *g) {
    if (!g->n)
        return ERR_OK;
    int err = translate_group(o, g);
    give_all(o, g, err);
    return err && !is_about_one_picture(err) ? err : ERR_OK;
}

static int add_to_group(const struct translation_options *o, struct group *g,
                        struct conveyor_job *j) {
    int h = translator_padded(o->translator, j->in.h),
        w = translator_padded(o->translator, j->in.w);
    // A group has one padded size.
    int err = h == g->h && w == g->w ? ERR_OK : flush_group(o, g);

    g->h = h;
    g->w = w;
    // Also after a failed flush: translation_run gives it back with the error.
    g->jobs[g->n++] = j;
    return err || g->n < translator_batch(o->translator, MIN(o->batch, BATCH_MAX))
               ? err
               : flush_group(o, g);
}

int translation_run(const struct translation_options *o) {
    struct group group = {0};
    int err = ERR_OK;

    for (;;) {
        struct conveyor_job *j = conveyor_next(o->conveyor, group.n > 0);
        if (!j && !group.n)
            return ERR_OK;
        err =
            j ? add_to_group(o, &group, j)
              : flush_group(o, &group); // no job: the next image may need the memory of this group
        if (err)
            break;
    }
    // First: no image must begin that nobody will take.
    conveyor_stop(o->conveyor);
    give_all(o, &group, err);
    return err;
}
