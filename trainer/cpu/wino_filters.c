// Filters of cpu_wino, and the products with them.
#include <omp.h>

#include "base/util.h"
#include "cpu/wino_plan.h"

// Filters: panels of two vectors of outputs, each for all inputs.

static ptrdiff_t panel_floats(const struct cpu_wino_plan *p, int inputs) {
    int lanes = p->kernels->lanes;

    return (ptrdiff_t)cpu_wino_ceil(inputs, lanes) * lanes * 2 * lanes;
}

static ptrdiff_t filter_point(const struct cpu_wino_plan *p, int outputs, int inputs) {
    return cpu_wino_ceil(outputs, 2 * p->kernels->lanes) * panel_floats(p, inputs) + CPU_WINO_SKEW;
}

size_t cpu_wino_filter_floats(const struct cpu_wino *s) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);

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
    panel.outputs -= first;
    return panel;
}

static int panels_of(const struct cpu_wino_plan *p, int outputs) {
    return cpu_wino_ceil(outputs, 2 * p->kernels->lanes);
}

static void transform_filters(const struct cpu_wino_plan *p, const struct cpu_wino_panel *all,
                              float *ret_u) {
#pragma omp parallel for
    for (int i = 0; i < panels_of(p, all->outputs); i++) {
        struct cpu_wino_panel panel = panel_of(p, all, i);
        panel.u = ret_u + i * panel_floats(p, all->inputs);
        panel.point = filter_point(p, all->outputs, all->inputs);
        p->f->filter(&panel);
    }
}

void cpu_wino_filters_forward(const struct cpu_wino *s, const float *w, float *ret_u) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_panel all = cpu_wino_forward_filters(&p, w);

    transform_filters(&p, &all, ret_u);
}

void cpu_wino_filters_backward(const struct cpu_wino *s, const float *w, float *ret_u) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_panel all = cpu_wino_backward_filters(&p, w);

    transform_filters(&p, &all, ret_u);
}

// Products

static struct cpu_product product_of(const struct cpu_wino_plan *p, const struct cpu_wino_matrix *x,
                                     int point, int panel) {
    return (struct cpu_product){
        .in = x->in + point * x->in_point,
        .out = x->out + point * x->out_point + 2 * panel * p->block,
        .in_tile = p->kernels->lanes,
        .in_block = p->block,
        .out_tile = p->kernels->lanes,
        .out_block = p->block,
    };
}

static void multiply_kept(const struct cpu_wino_plan *p, int count,
                          const struct cpu_wino_matrix *x) {
    int panels = panels_of(p, x->outputs);
    ptrdiff_t u_point = filter_point(p, x->outputs, x->inputs);

#pragma omp for
    for (int i = 0; i < p->points * panels; i++) {
        int point = i / panels, panel = i % panels;
        struct cpu_product product = product_of(p, x, point, panel);
        product.tiles = count;
        product.blocks = cpu_wino_ceil(x->inputs, p->kernels->lanes);
        product.panel = x->u + point * u_point + panel * panel_floats(p, x->inputs);
        p->kernels->product(&product);
    }
}

// Tiles [first, end) by one panel, of which as many inputs at a time are transformed as have room.
static void multiply_panel(const struct cpu_wino_plan *p, const struct cpu_wino_matrix *x,
                           int panel, int first, int end) {
    int lanes = p->kernels->lanes, room = CPU_WINO_PART / (2 * lanes);
    struct cpu_wino_panel filters = panel_of(p, &x->filters, panel);

    filters.u = x->parts + omp_get_thread_num() * p->points * CPU_WINO_PART_POINT;
    filters.point = CPU_WINO_PART_POINT;
    for (int from = 0; from < x->inputs; from += room) {
        filters.w = panel_of(p, &x->filters, panel).w + from * filters.input;
        filters.inputs = MIN(room, x->inputs - from);
        p->f->filter(&filters);
        for (int point = 0; point < p->points; point++) {
            struct cpu_product product = product_of(p, x, point, panel);
            product.tiles = end - first;
            product.blocks = cpu_wino_ceil(filters.inputs, lanes);
            product.in += from / lanes * p->block + first * lanes;
            product.out += first * lanes;
            product.panel = filters.u + point * filters.point;
            product.add = from > 0;
            p->kernels->product(&product);
        }
    }
}

// As many parts of the tiles as give every thread as much to do as another.
static int shares_of(int panels, int threads) {
    int shares = 1;

    while (panels * shares % threads && panels * shares < 4 * threads)
        shares++;
    return shares;
}

static void multiply_anew(const struct cpu_wino_plan *p, int count,
                          const struct cpu_wino_matrix *x) {
    int panels = panels_of(p, x->outputs), shares = shares_of(panels, omp_get_num_threads());

#pragma omp for
    for (int i = 0; i < panels * shares; i++) {
        int share = i % shares;
        multiply_panel(p, x, i / shares, count * share / shares, count * (share + 1) / shares);
    }
}

void cpu_wino_multiply(const struct cpu_wino_plan *p, int count, const struct cpu_wino_matrix *x) {
    if (x->u)
        multiply_kept(p, count, x);
    else
        multiply_anew(p, count, x);
}
