// Runs a net pass by pass over bands of rows, and decides which maps are kept and for how long.
#include "translate/bands.h"

#include <stdlib.h>

#include "backend/memory.h"
#include "backend/pixels.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "translate/stage.h"

// Bytes for the buffers of a band. Larger bands leave the caches; smaller ones compute more border
// rows and make more calls.
#define BUFFERS ((size_t)96 << 20)
// Fewer rows would be mostly border.
#define ROWS_LEAST 4
// unet_256, the deepest U-Net, pushes fewer.
#define STACK 8

// An image in progress.
struct work {
    const struct bands_options *options;
    struct bands bands;
    size_t memory;            // still free for feature maps
    uint64_t disk, disk_most; // bytes of temporary files: now, and the maximum so far
    const char *folder;       // NULL: only compute the need
    double all, done;         // work, in multiplications
    struct image *out;
};

// ---- levels ----

static void convolved_size(const struct level *l, int *ret_h, int *ret_w) {
    const struct graph_conv_args *a = &l->layer.conv;
    struct conv_shape shape = {.h = l->in_h + 2 * l->layer.border,
                               .w = l->in_w + 2 * l->layer.border,
                               .r = a->r,
                               .stride = a->stride,
                               .pad = a->pad,
                               .out_pad = a->out_pad,
                               .transposed = a->transposed};
    conv_output_size(&shape, ret_h, ret_w);
}

static void init_level(struct level *l, int h, int w) {
    l->in_h = l->layer.up ? 2 * h : h;
    l->in_w = l->layer.up ? 2 * w : w;
    convolved_size(l, &l->h, &l->w);
    // The blur has stride 2 and reads a border of 1: odd sizes are rounded up.
    l->out_h = l->layer.blur ? (l->h + 1) / 2 : l->h;
    l->out_w = l->layer.blur ? (l->w + 1) / 2 : l->w;
    l->out_c = l->layer.conv.k;
    l->joins = -1;
    l->mean = xcalloc((size_t)l->layer.conv.k, sizeof *l->mean);
    l->rstd = xcalloc((size_t)l->layer.conv.k, sizeof *l->rstd);
}

// The first and the last but one layer work at full size and are read once per row. Computing them
// twice is cheaper than keeping them.
static bool is_remade(const struct bands *b, int i) {
    const struct net_layer *l = &b->levels[i].layer;
    bool at_end = i == 0 || i == b->n_levels - 2;

    return b->n_levels > 4 && at_end && l->skip == NET_SKIP_NONE && !l->blur &&
           !b->levels[i + 1].layer.up && b->levels[i + 1].layer.skip == NET_SKIP_NONE;
}

static void init_levels(struct bands *b, const struct translator *t, int h, int w) {
    const struct net *net = translator_net(t);
    int stack[STACK] = {0}, depth = 0;

    b->n_levels = net_n_layers(net);
    b->levels = xcalloc((size_t)b->n_levels, sizeof *b->levels);
    for (int i = 0; i < b->n_levels; i++) {
        struct level *l = &b->levels[i];
        l->layer = net_layer(net, i);
        init_level(l, i ? l[-1].out_h : h, i ? l[-1].out_w : w);
        l->kept = l->layer.skip == NET_SKIP_PUSH;
        if (l->kept)
            stack[depth++] = i;
        if (l->layer.skip == NET_SKIP_CONCAT) {
            l->joins = stack[--depth];
            // The next level reads both maps side by side.
            l->out_c += b->levels[l->joins].layer.conv.k;
        }
    }
    for (int i = 0; i < b->n_levels; i++)
        // The last level goes to the image, so its map is never kept.
        b->levels[i].stored = i < b->n_levels - 1 && !is_remade(b, i);
}

static double multiplications(const struct level *l) {
    // A transposed convolution multiplies each input pixel, an ordinary one makes each output
    // pixel.
    double pixels = l->layer.conv.transposed ? (double)l->in_h * l->in_w : (double)l->h * l->w;
    return pixels * l->layer.c * l->layer.conv.k * l->layer.conv.r * l->layer.conv.r;
}

// Whether the level needs a pass of its own: to keep its map, for its statistics, or as the last.
static bool has_pass(const struct bands *b, int i) {
    return b->levels[i].stored || b->levels[i].layer.norm != NORM_NONE || i == b->n_levels - 1;
}

static double pass_cost(const struct bands *b, int i) {
    double cost = multiplications(&b->levels[i]);
    // A level that is remade is computed again inside of the pass after it.
    return i && !b->levels[i - 1].stored ? cost + multiplications(&b->levels[i - 1]) : cost;
}

// ---- maps ----

static int map_new(struct work *k, int rows, size_t row_floats, struct scratch **ret) {
    int err = scratch_new(rows, row_floats * sizeof(float), &k->memory, k->folder, ret);

    if (err)
        return err;
    k->disk += scratch_file_bytes(*ret);
    // Files of different passes exist at different times, so the peak counts.
    k->disk_most = MAX(k->disk_most, k->disk);
    return ERR_OK;
}

static void map_free(struct work *k, struct scratch **map) {
    if (*map)
        k->disk -= scratch_file_bytes(*map);
    scratch_free(*map, &k->memory);
    *map = NULL;
}

// Whether level i may overwrite the map that it reads. This is safe because each row is read once,
// before it is written.
static bool in_place(const struct bands *b, int i) {
    const struct level *l = &b->levels[i], *from = i ? l - 1 : NULL;

    return from && from->stored && l->stored && !from->kept && from->joins < 0 && !l->layer.up &&
           !from->layer.blur && l->h == from->h && l->w == from->w &&
           l->layer.conv.k == from->layer.conv.k;
}

// Allocates the maps that pass i writes.
static int maps_begin(struct work *k, int i) {
    struct level *l = &k->bands.levels[i];
    int err = ERR_OK;

    // The map of the block before is used again; all blocks have one size.
    if (l->layer.skip == NET_SKIP_REMEMBER && !k->bands.remembered)
        err = map_new(k, l->in_h, (size_t)l->in_w * (size_t)l->layer.c, &k->bands.remembered);
    if (err || !l->stored)
        return err;
    // The level before gives its map away in maps_end.
    if (in_place(&k->bands, i)) {
        l->z = l[-1].z;
        return ERR_OK;
    }
    return map_new(k, l->h, (size_t)l->w * (size_t)l->layer.conv.k, &l->z);
}

// Frees the maps that no later pass reads.
static void maps_end(struct work *k, int i) {
    struct level *l = &k->bands.levels[i], *from = i ? l - 1 : NULL;

    // A level that is not stored is read again, so its own input must stay.
    if (!l->stored || !from)
        return;
    if (in_place(&k->bands, i))
        // Now this level's: free_all must not free it twice.
        from->z = NULL;
    else if (!from->kept)
        map_free(k, &from->z);
    if (from->joins >= 0)
        map_free(k, &k->bands.levels[from->joins].z);
    // The last residual block has been added; a following block would remember again.
    if (from->layer.skip == NET_SKIP_ADD && l->layer.skip == NET_SKIP_NONE)
        map_free(k, &k->bands.remembered);
}

static void free_all(struct work *k) {
    for (int i = 0; i < k->bands.n_levels; i++) {
        map_free(k, &k->bands.levels[i].z);
        free(k->bands.levels[i].mean);
        free(k->bands.levels[i].rstd);
    }
    map_free(k, &k->bands.remembered);
    free(k->bands.levels);
}

// ---- a pass ----

static void report_part(const struct work *k) {
    if (k->options->part)
        k->options->part(k->options->context, k->done / k->all);
}

// Applies the tanh to rows [first, end) of the last layer and stores them in the image.
static int put_rows(struct work *k, const struct level *l, int first, int end, const float *z) {
    size_t count = (size_t)(end - first) * (size_t)l->w * (size_t)l->layer.conv.k;
    float *y = xmalloc(count * sizeof *y);
    struct norm_shape shape = {.n = 1, .h = end - first, .w = l->w, .c = l->layer.conv.k};
    int err = k->bands.device->backend->tanh_forward(k->bands.device, &shape, z, y);

    if (!err)
        pixels_put_rows(y, first, end, l->w, l->layer.conv.k, k->out);
    free(y);
    return err;
}

static int run_band(struct work *k, int i, struct stage *s, int first, int end,
                    struct moments *moments) {
    struct level *l = &k->bands.levels[i];
    const float *z;
    int err = stage_rows(s, first, end, &z);

    // Statistics of the convolution before norm and activation, which the next level applies.
    if (!err && l->layer.norm != NORM_NONE)
        moments_add(moments, end - first, l->w, z);
    if (!err && l->stored)
        err = scratch_write(l->z, first, end - first, z);
    if (!err && i == k->bands.n_levels - 1)
        err = put_rows(k, l, first, end, z);
    k->done += pass_cost(&k->bands, i) * (end - first) / l->h;
    report_part(k);
    return err;
}

// The largest height of bands of level i whose buffers fit in `bytes`.
static int rows_within(const struct work *k, int i, size_t bytes) {
    int h = k->bands.levels[i].h, rows = ROWS_LEAST;

    // Doubling is near enough, since the bytes grow with the rows.
    while (rows < h && stage_buffer_bytes(&k->bands, i, 2 * rows) <= bytes)
        rows *= 2;
    if (k->options->rows)
        rows = MIN(rows, k->options->rows);
    return MIN(rows, h);
}

static int run_pass(struct work *k, int i) {
    struct level *l = &k->bands.levels[i];
    // The same bound as in begin_work, which has reserved these buffers.
    int rows = rows_within(k, i, MIN(BUFFERS, k->options->memory / 4));
    struct moments moments;
    struct stage *stage = NULL;
    int err = stage_new(&k->bands, i, rows, &stage);

    moments_init(&moments, l->layer.conv.k);
    // From top to bottom: stage_rows requires it.
    for (int y = 0; y < l->h && !err; y += rows)
        err = run_band(k, i, stage, y, MIN(y + rows, l->h), &moments);
    if (!err && l->layer.norm != NORM_NONE)
        moments_to_norm(&moments, l->mean, l->rstd);
    moments_fini(&moments);
    stage_free(stage);
    return err;
}

// ---- the whole ----

// Runs all passes. Without a folder it only allocates and frees the maps, to compute the need.
static int run_passes(struct work *k) {
    int err = ERR_OK;

    for (int i = 0; i < k->bands.n_levels && !err; i++) {
        if (!has_pass(&k->bands, i))
            continue;
        err = maps_begin(k, i);
        if (err)
            return err;
        err = k->folder ? run_pass(k, i) : ERR_OK;
        maps_end(k, i);
    }
    return err;
}

// Upper bound for a level's convolution: its packed filters (at most 5 copies, for Winograd with
// 6x6 points), the largest workspace (Winograd with 256 tiles), and 1 MiB for small allocations.
static size_t level_bytes(const struct bands *b, int i) {
    const struct net_layer *l = &b->levels[i].layer;
    size_t c = (size_t)l->c, k = (size_t)l->conv.k;
    size_t packed = 5 * l->weight->count;
    size_t scratch = 36 * ((c + k + 48) * 264 + (c / 64 + 1) * (k / 32 + 1) * 2100);

    return (packed + scratch) * sizeof(float) + ((size_t)1 << 20);
}

// Memory besides the maps: of the most expensive pass, with band buffers of at most `bytes`.
static size_t pass_bytes(const struct work *k, size_t bytes) {
    size_t most = 0;

    for (int i = 0; i < k->bands.n_levels; i++) {
        int rows = rows_within(k, i, bytes);
        size_t need = stage_buffer_bytes(&k->bands, i, rows) + level_bytes(&k->bands, i);
        // The level before is remade in this pass and has its own convolution.
        if (i && !k->bands.levels[i - 1].stored)
            need += level_bytes(&k->bands, i - 1);
        most = MAX(most, need);
    }
    return most;
}

// The CPU computes bands, whichever device the translator has.
static int begin_work(const struct bands_options *o, int w, int h, struct work *ret) {
    *ret = (struct work){.options = o};
    int err = translator_host(o->translator, &ret->bands.device);
    if (err)
        return err;
    init_levels(&ret->bands, o->translator, translator_padded(o->translator, h),
                translator_padded(o->translator, w));
    for (int i = 0; i < ret->bands.n_levels; i++)
        if (has_pass(&ret->bands, i))
            ret->all += pass_cost(&ret->bands, i);
    size_t passes = pass_bytes(ret, MIN(BUFFERS, o->memory / 4));
    // With 0 all maps go to files; check_need refuses before that if the passes do not fit.
    ret->memory = o->memory > passes ? o->memory - passes : 0;
    return ERR_OK;
}

int bands_need(const struct bands_options *o, int w, int h, struct bands_need *ret) {
    struct work k;
    int err = begin_work(o, w, h, &k);

    if (err)
        return err;
    // Bands of the least height, and every map in a file.
    struct bands_need need = {.least = pass_bytes(&k, 0)};
    // Without a folder: only the sizes.
    err = run_passes(&k);
    need.scratch = k.disk_most;
    free_all(&k);
    *ret = need;
    return err;
}

static int check_need(const struct bands_options *o, const struct image *im) {
    struct bands_need need;
    uint64_t space;
    char text[3][16];
    int err = bands_need(o, im->w, im->h, &need);

    if (err)
        return err;
    if (need.least > o->memory)
        return err_set(ERR_LIMIT, "%dx%d pixels need %s of memory even in bands, %s are left",
                       im->w, im->h, memory_text(need.least, text[0]),
                       memory_text(o->memory, text[1]));
    err = need.scratch ? fs_free_bytes(o->scratch, &space) : ERR_OK;
    // Before the work, since a full disk would show only after much of it.
    if (err || !need.scratch || need.scratch < space)
        return err;
    return err_set(ERR_SPACE,
                   "%dx%d pixels with %s of memory need %s of scratch files, '%s' has %s: "
                   "--scratch names another folder, more --memory needs less",
                   im->w, im->h, memory_text(o->memory, text[0]),
                   memory_text(need.scratch, text[1]), o->scratch, memory_text(space, text[2]));
}

int bands_translate(const struct bands_options *o, const struct image *im,
                    struct image *ret_image) {
    struct work k;
    struct image out;
    int err = check_need(o, im);

    if (!err)
        err = begin_work(o, im->w, im->h, &k);
    if (err)
        return err;
    image_init(&out, im->w, im->h, translator_channels_out(o->translator));
    k.bands.picture = im;
    k.folder = o->scratch;
    k.out = &out;
    err = run_passes(&k);
    free_all(&k);
    if (err)
        image_fini(&out);
    else
        *ret_image = out;
    return err;
}
