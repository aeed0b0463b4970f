// Filters of cpu_wino, and the products with them.
#include <omp.h>

#include "base/util.h"
#include "cpu/wino_plan.h"

enum { LINE = 16 }; // floats of a cache line

// Panels of tiles.
struct range {
    int first, end;
};

// Filters: panels of two vectors of outputs, each for all inputs.

static ptrdiff_t panel_floats(const struct cpu_wino_plan *p, int inputs) {
    int lanes = p->kernels->lanes;

    return (ptrdiff_t)cpu_wino_ceil(inputs, lanes) * lanes * 2 * lanes;
}

// The skew keeps the points of one filter out of the same sets of the cache.
static ptrdiff_t filter_point(const struct cpu_wino_plan *p, int outputs, int inputs) {
    return cpu_wino_ceil(outputs, 2 * p->kernels->lanes) * panel_floats(p, inputs) + CPU_WINO_SKEW;
}

size_t cpu_wino_filter_floats(const struct cpu_wino *s) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);

    // The larger of both directions, so that one size serves either.
    return (size_t)p.points * MAX(filter_point(&p, s->k, s->c), filter_point(&p, s->c, s->k));
}

struct cpu_wino_panel cpu_wino_forward_filters(const struct cpu_wino_plan *p, const float *w) {
    int taps = p->r * p->r;

    return (struct cpu_wino_panel){.w = w,
                                   .output = (ptrdiff_t)p->s->c * taps,
                                   .input = taps,
                                   .outputs = p->s->k,
                                   .inputs = p->s->c};
}

struct cpu_wino_panel cpu_wino_backward_filters(const struct cpu_wino_plan *p, const float *w) {
    // Inputs and outputs change places, as in the transposed product for the gradient of the input.
    int taps = p->r * p->r;

    return (struct cpu_wino_panel){.w = w,
                                   .output = taps,
                                   .input = (ptrdiff_t)p->s->c * taps,
                                   .outputs = p->s->c,
                                   .inputs = p->s->k};
}

// Panel number `i` of them; the caller says where it goes.
static struct cpu_wino_panel panel_of(const struct cpu_wino_plan *p,
                                      const struct cpu_wino_panel *all, int i) {
    struct cpu_wino_panel panel = *all;
    int first = i * 2 * p->kernels->lanes;

    panel.w += first * all->output;
    // The last panel may have fewer outputs than columns.
    panel.outputs -= first;
    return panel;
}

static int panels_of(const struct cpu_wino_plan *p, int outputs) {
    return cpu_wino_ceil(outputs, 2 * p->kernels->lanes);
}

// In parts of a panel, so that many threads have something to do.
void cpu_wino_transform_filters(const struct cpu_wino_plan *p, const struct cpu_wino_panel *all,
                                float *ret_u) {
    enum { INPUTS = 64 }; // a multiple of the lanes
    int parts = cpu_wino_ceil(all->inputs, INPUTS);

#pragma omp for
    for (int i = 0; i < panels_of(p, all->outputs) * parts; i++) {
        int from = i % parts * INPUTS;
        struct cpu_wino_panel panel = panel_of(p, all, i / parts);
        panel.w += from * all->input;
        panel.inputs = MIN(INPUTS, all->inputs - from);
        panel.u = ret_u + i / parts * panel_floats(p, all->inputs) +
                  (ptrdiff_t)from * 2 * p->kernels->lanes;
        // Parts of a panel are written side by side, so the whole looks as if made at once.
        panel.point = filter_point(p, all->outputs, all->inputs);
        p->f->filter(&panel);
    }
}

void cpu_wino_filters_forward(const struct cpu_wino *s, const float *w, float *ret_u) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_panel all = cpu_wino_forward_filters(&p, w);

#pragma omp parallel
    cpu_wino_transform_filters(&p, &all, ret_u);
}

void cpu_wino_filters_backward(const struct cpu_wino *s, const float *w, float *ret_u) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_panel all = cpu_wino_backward_filters(&p, w);

#pragma omp parallel
    cpu_wino_transform_filters(&p, &all, ret_u);
}

// Products

static struct cpu_product product_of(const struct cpu_wino_plan *p, const struct cpu_wino_matrix *x,
                                     int point, int panel) {
    return (struct cpu_product){
        .in = x->in + point * x->in_point,
        .out = x->out + point * x->out_point + 2 * panel * p->block,
        .in_tile = p->kernels->lanes,
        .in_block = p->block,
        .in_ahead = x->in_panel,
        .out_tile = p->kernels->lanes,
        .out_block = p->block,
    };
}

// Tiles of panels [first, end) by `inputs` inputs from number `from` on; `filters` has these.
static void multiply_part(const struct cpu_wino_plan *p, const struct cpu_wino_matrix *x, int count,
                          struct range tiles, int from, int inputs, struct cpu_product product) {
    int lanes = p->kernels->lanes;
    const float *in = product.in + from / lanes * p->block;
    float *out = product.out;

    product.blocks = cpu_wino_ceil(inputs, lanes);
    // The first part of the inputs overwrites the output, the others add to it.
    product.add = from > 0;
    for (int i = tiles.first; i < tiles.end; i++) {
        // The last panel of tiles may not be full.
        product.tiles = MIN(p->panel, count - i * p->panel);
        product.in = in + i * x->in_panel;
        product.out = out + i * x->out_panel;
        p->kernels->product(&product);
        product.later += product.later_lines * product.blocks * LINE;
    }
}

static void multiply_all(const struct cpu_wino_plan *p, int count,
                         const struct cpu_wino_matrix *x) {
    int lanes = p->kernels->lanes, panels = panels_of(p, x->outputs);
    ptrdiff_t u_point = filter_point(p, x->outputs, x->inputs);
    struct range tiles = {0, cpu_wino_ceil(count, p->panel)};

#pragma omp for
    // One thread sums an output over all parts in their order, so bits do not depend on threads.
    for (int i = 0; i < p->points * panels; i++)
        for (int from = 0; from < x->inputs; from += CPU_WINO_PART) {
            struct cpu_product product = product_of(p, x, i / panels, i % panels);
            ptrdiff_t floats = (ptrdiff_t)MIN(CPU_WINO_PART, x->inputs - from) * 2 * lanes;
            product.panel = x->u + i / panels * u_point + i % panels * panel_floats(p, x->inputs) +
                            (ptrdiff_t)from * 2 * lanes;
            // The next part is prefetched evenly while the tiles pass by.
            product.later = product.panel + floats;
            product.later_lines = cpu_wino_ceil(2 * lanes * lanes / LINE, tiles.end);
            multiply_part(p, x, count, tiles, from, MIN(CPU_WINO_PART, x->inputs - from), product);
        }
}

// One panel, of which a part at a time is transformed.
static void multiply_panel(const struct cpu_wino_plan *p, const struct cpu_wino_matrix *x,
                           int count, int panel, struct range tiles) {
    struct cpu_wino_panel filters = panel_of(p, &x->filters, panel);

    // Scratch of this thread: the part stays in its cache until all points have used it.
    filters.u = x->parts + omp_get_thread_num() * p->points * p->part_point;
    filters.point = p->part_point;
    for (int from = 0; from < x->inputs;
         from += CPU_WINO_PART, filters.w += CPU_WINO_PART * filters.input) {
        filters.inputs = MIN(CPU_WINO_PART, x->inputs - from);
        p->f->filter(&filters);
        for (int point = 0; point < p->points; point++) {
            struct cpu_product product = product_of(p, x, point, panel);
            product.panel = filters.u + point * filters.point;
            product.later = product.panel;
            multiply_part(p, x, count, tiles, from, filters.inputs, product);
        }
    }
}

// As many shares of the tiles as give every thread as much to do as another.
static int shares_of(int panels, int threads) {
    int shares = 1;

    // Above four items a thread, an uneven rest costs little.
    while (panels * shares % threads && panels * shares < 4 * threads)
        shares++;
    return shares;
}

static void multiply_few(const struct cpu_wino_plan *p, int count,
                         const struct cpu_wino_matrix *x) {
    int panels = panels_of(p, x->outputs), tiles = cpu_wino_ceil(count, p->panel);
    int shares = MIN(shares_of(panels, omp_get_num_threads()), tiles);

#pragma omp for
    for (int i = 0; i < panels * shares; i++) {
        int share = i % shares;
        multiply_panel(p, x, count, i / shares,
                       (struct range){tiles * share / shares, tiles * (share + 1) / shares});
    }
}

void cpu_wino_multiply(const struct cpu_wino_plan *p, int count, const struct cpu_wino_matrix *x) {
    // Both paths sum in the same order, so they give the same bits.
    if (x->u)
        multiply_all(p, count, x);
    else
        multiply_few(p, count, x);
}
