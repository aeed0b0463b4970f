#include "cpu/wino.h"

#include <omp.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/wino_plan.h"

// Tiles are held in transformed form a chunk at a time, whole rows of them, at least one: as many
// as have CHUNK floats at a point, so that a thread's second-level cache of 512 KiB holds them
// while the filters pass by. For the filter gradient OUT rows of it and TILES tiles are taken
// together: with three vectors of V they stay in the first-level cache.
enum { CHUNK = 32768, OUT = 32, TILES = 1024 };

// Few tiles, so that they stay in the second-level cache with their products (floats of V and Z):
// then threads share the filters, not the points, and take filters of OUT x IN for the gradient,
// which do not leave that cache either.
enum { FEW = 320000, IN = 64 };

const char *cpu_wino_instructions(void) {
    return cpu_kernels()->name;
}

int cpu_wino_ceil(int a, int b) {
    return (a + b - 1) / b;
}

struct cpu_wino_plan cpu_wino_plan_of(const struct cpu_wino *s) {
    struct cpu_wino_plan p = {.s = s, .kernels = cpu_kernels()};
    int lanes = p.kernels->lanes;

    switch (s->m) {
    case 2:
        p.f = &p.kernels->f2;
        break;
    case 3:
        p.f = &p.kernels->f3;
        break;
    case 4:
        p.f = &p.kernels->f4;
        break;
    default:
        BUG("no Winograd tile of %d", s->m);
    }
    p.r = s->m == 3 ? 4 : 3;
    if (s->pad < 0 || s->pad >= p.r)
        BUG("%d zeros around a filter of %d", s->pad, p.r);
    p.a = s->m + p.r - 1;
    p.points = p.a * p.a;
    p.rows = cpu_wino_ceil(s->h, s->m);
    p.cols = cpu_wino_ceil(s->w, s->m);
    p.tiles = s->n * p.rows * p.cols;
    p.chunk = MIN(s->n * p.rows, MAX(1, CHUNK / MAX(s->c, s->k) / p.cols)) * p.cols;
    // Panels of equal size, at most what the product takes at once.
    p.panel = cpu_wino_ceil(p.chunk, cpu_wino_ceil(p.chunk, p.kernels->rows));
    p.c_blocks = cpu_wino_ceil(s->c, lanes);
    p.k_blocks = cpu_wino_ceil(s->k, lanes);
    p.block = (ptrdiff_t)p.panel * lanes;
    // One block more if their number is odd: a panel of two vectors writes both.
    p.v_panel = cpu_wino_ceil(p.c_blocks, 2) * 2 * p.block;
    p.z_panel = cpu_wino_ceil(p.k_blocks, 2) * 2 * p.block;
    p.v_point = cpu_wino_ceil(p.chunk, p.panel) * p.v_panel + CPU_WINO_SKEW;
    p.z_point = cpu_wino_ceil(p.chunk, p.panel) * p.z_panel + CPU_WINO_SKEW;
    p.few = p.chunk == p.tiles && p.points * (p.v_point + p.z_point) <= FEW;
    p.du_point =
        (p.few ? OUT * IN : (ptrdiff_t)p.k_blocks * lanes * p.c_blocks * lanes) + CPU_WINO_SKEW;
    p.part_point = (ptrdiff_t)CPU_WINO_PART * 2 * lanes + CPU_WINO_SKEW;
    return p;
}

// Workspace: V, then Z (or the forward's products), then the filters' gradient and the filters at
// all points, or each thread's part of both. The products of the input gradient lie where V comes
// afterwards.

static size_t gradient_floats(const struct cpu_wino_plan *p, int threads) {
    return (size_t)p->points * p->du_point * (p->few ? threads : 1);
}

static size_t filter_floats(const struct cpu_wino_plan *p, int threads) {
    return p->few ? (size_t)threads * p->points * p->part_point : cpu_wino_filter_floats(p->s);
}

size_t cpu_wino_work_floats(const struct cpu_wino *s, int threads, bool filters_kept,
                            bool gradient) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);

    return p.points * (p.v_point + p.z_point) + (gradient ? gradient_floats(&p, threads) : 0) +
           (filters_kept ? 0 : filter_floats(&p, threads));
}

static float *z_of(const struct cpu_wino_plan *p, float *work) {
    return work + p->points * p->v_point;
}

static float *gradient_of(const struct cpu_wino_plan *p, float *work) {
    return z_of(p, work) + p->points * p->z_point;
}

// Tiles. Functions below are called by all threads of a team.

struct tile {
    int image, row, col;
};

static struct tile tile_of(const struct cpu_wino_plan *p, int i) {
    return (struct tile){i / (p->rows * p->cols), i / p->cols % p->rows, i % p->cols};
}

// A picture [n,h,w,c] and the row and column of it where the first tile begins.
struct picture {
    float *data;
    int h, w, c, first, side; // side of a tile
};

static struct picture input_picture(const struct cpu_wino_plan *p, const float *x) {
    const struct cpu_wino *s = p->s;
    int border = p->r - 1 - 2 * s->pad;

    return (struct picture){(float *)x, s->h + border, s->w + border, s->c, -s->pad, p->a};
}

static struct picture output_picture(const struct cpu_wino_plan *p, const float *y) {
    return (struct picture){(float *)y, p->s->h, p->s->w, p->s->k, 0, p->s->m};
}

static struct cpu_wino_patch patch_of(const struct cpu_wino_plan *p, int tile, struct picture x) {
    struct tile t = tile_of(p, tile);
    int row = t.row * p->s->m + x.first, col = t.col * p->s->m + x.first;
    ptrdiff_t at = ((ptrdiff_t)t.image * x.h + row) * x.w + col;

    return (struct cpu_wino_patch){
        .data = x.data + at * x.c,
        .row = (ptrdiff_t)x.w * x.c,
        .c = x.c,
        .rows = MIN(x.side, x.h - row),
        .cols = MIN(x.side, x.w - col),
        .row0 = MAX(0, -row),
        .col0 = MAX(0, -col),
    };
}

static struct cpu_wino_points slot_of_v(const struct cpu_wino_plan *p, float *v, int tile) {
    return (struct cpu_wino_points){v + cpu_wino_tile_at(p, p->v_panel, tile), p->v_point,
                                    p->block};
}

static struct cpu_wino_points slot_of_z(const struct cpu_wino_plan *p, float *z, int tile) {
    return (struct cpu_wino_points){z + cpu_wino_tile_at(p, p->z_panel, tile), p->z_point,
                                    p->block};
}

static void transform_input(const struct cpu_wino_plan *p, int first, int count, const float *x,
                            float *v) {
#pragma omp for
    for (int i = 0; i < count; i++) {
        struct cpu_wino_patch d = patch_of(p, first + i, input_picture(p, x));
        struct cpu_wino_points slot = slot_of_v(p, v, i);
        p->f->input(&d, &slot);
    }
}

static void transform_grad(const struct cpu_wino_plan *p, int first, int count, const float *dy,
                           float *z) {
#pragma omp for
    for (int i = 0; i < count; i++) {
        struct cpu_wino_patch d = patch_of(p, first + i, output_picture(p, dy));
        struct cpu_wino_points slot = slot_of_z(p, z, i);
        p->f->grad(&d, &slot);
    }
}

static void transform_output(const struct cpu_wino_plan *p, int first, int count, float *products,
                             float *ret_y) {
#pragma omp for
    for (int i = 0; i < count; i++) {
        struct cpu_wino_patch y = patch_of(p, first + i, output_picture(p, ret_y));
        struct cpu_wino_points slot = slot_of_z(p, products, i);
        p->f->output(&slot, &y);
    }
}

// Tiles overlap by r - 1 pixels. Rows of tiles that touch are never written at the same time: of a
// chunk's rows first the even ones, then the odd ones, each from left to right. So the order of the
// sums is fixed.
static void transform_input_grad(const struct cpu_wino_plan *p, int first, int count,
                                 float *products, float *ret_dx) {
    int rows = count / p->cols;

    for (int odd = 0; odd < 2; odd++) {
#pragma omp for
        for (int row = odd; row < rows; row += 2)
            for (int i = row * p->cols; i < (row + 1) * p->cols; i++) {
                struct tile t = tile_of(p, first + i);
                struct cpu_wino_overlap written = {
                    .left = t.col > 0,
                    .above = t.row > 0 && (odd || row == 0), // row 0: by the chunk before
                    .below = t.row + 1 < p->rows && odd && row + 1 < rows,
                };
                struct cpu_wino_patch dx = patch_of(p, first + i, input_picture(p, ret_dx));
                struct cpu_wino_points slot = slot_of_v(p, products, i);
                p->f->input_grad(&slot, written, &dx);
            }
    }
}

void cpu_wino_forward(const struct cpu_wino *s, const float *x, struct cpu_wino_filters filters,
                      float *work, float *ret_y) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_panel all = cpu_wino_forward_filters(&p, filters.w);
    float *made = z_of(&p, work) + p.points * p.z_point;
    struct cpu_wino_matrix product = {.in = work,
                                      .u = filters.u ? filters.u
                                           : p.few   ? NULL
                                                     : made,
                                      .out = z_of(&p, work),
                                      .parts = made,
                                      .filters = all,
                                      .in_point = p.v_point,
                                      .in_panel = p.v_panel,
                                      .out_point = p.z_point,
                                      .out_panel = p.z_panel,
                                      .outputs = s->k,
                                      .inputs = s->c};

#pragma omp parallel
    {
        if (!filters.u && !p.few)
            cpu_wino_transform_filters(&p, &all, made);
        for (int first = 0; first < p.tiles; first += p.chunk) {
            int count = MIN(p.chunk, p.tiles - first);
            transform_input(&p, first, count, x, work);
            cpu_wino_multiply(&p, count, &product);
            transform_output(&p, first, count, product.out, ret_y);
        }
    }
}

// Filter gradient: at a point OUT rows of filters, in the order of the tiles.

// Filters from (k0, c0) on, `vectors` of them in a row; `later` of each in `slices` is read next.
struct sum {
    int point, k0, c0, vectors, slice, slices;
    ptrdiff_t row; // floats from row to row of the result
};

static void sum_rows(const struct cpu_wino_plan *p, int count, const struct sum *s,
                     const float *work, bool add, float *ret_du) {
    int lanes = p->kernels->lanes, group = MAX(1, TILES / lanes / p->panel);
    int parts = cpu_wino_ceil(count, group * p->panel);
    const float *v = work + s->point * p->v_point + s->c0 / lanes * p->block;
    const float *z =
        work + p->points * p->v_point + s->point * p->z_point + s->k0 / lanes * p->block;
    ptrdiff_t slice = MIN(p->v_point, p->z_point) / s->slices / parts;
    ptrdiff_t later = (s->slice * parts) * slice;

    for (int i = 0; i < parts; i++)
        p->kernels->outer(&(struct cpu_outer){
            .tiles = MIN(group * p->panel, count - i * group * p->panel),
            .group = p->panel,
            .rows = MIN(OUT, p->k_blocks * lanes - s->k0),
            .vectors = s->vectors,
            .z = z + i * group * p->z_panel,
            .v = v + i * group * p->v_panel,
            .out = ret_du,
            .z_tile = lanes,
            .z_block = p->block,
            .z_group = p->z_panel,
            .v_tile = lanes,
            .v_block = p->block,
            .v_group = p->v_panel,
            .out_row = s->row,
            .add = add || i > 0,
            .later_z = z + p->z_point + later + i * slice,
            .later_v = v + p->v_point + later + i * slice,
            .later_lines = p->few ? 0 : (int)(slice / (16 * s->vectors)),
        });
}

static void sum_gradient(const struct cpu_wino_plan *p, int count, const float *work, bool add,
                         float *du) {
    int lanes = p->kernels->lanes, groups = cpu_wino_ceil(p->k_blocks * lanes, OUT);

#pragma omp for
    for (int i = 0; i < p->points * groups; i++) {
        struct sum s = {.point = i / groups,
                        .k0 = i % groups * OUT,
                        .vectors = p->c_blocks,
                        .slice = i % groups,
                        .slices = groups,
                        .row = (ptrdiff_t)p->c_blocks * lanes};
        sum_rows(p, count, &s, work, add, du + s.point * p->du_point + s.k0 * s.row);
    }
}

// Of filter k those of `count` channels from c0 on.
static void finish_row(const struct cpu_wino_plan *p, int k, int c0, int count, const float *du,
                       const struct cpu_wino_backward *b) {
    int lanes = p->kernels->lanes;

    for (int i = 0; i < count; i += lanes)
        p->f->filter_grad(du + i, p->du_point, MIN(lanes, count - i), b->add_dw,
                          b->dw + ((size_t)k * p->s->c + c0 + i) * p->r * p->r);
}

static void finish_gradient(const struct cpu_wino_plan *p, const float *du,
                            const struct cpu_wino_backward *b) {
    ptrdiff_t row = (ptrdiff_t)p->c_blocks * p->kernels->lanes;

#pragma omp for
    for (int k = 0; k < p->s->k; k++)
        finish_row(p, k, 0, p->s->c, du + k * row, b);
}

// All of it for few tiles: one block of OUT x IN filters at all points after the other.
static void gradient_of_few(const struct cpu_wino_plan *p, const float *work, float *gradient,
                            const struct cpu_wino_backward *b) {
    int ins = cpu_wino_ceil(p->s->c, IN), outs = cpu_wino_ceil(p->s->k, OUT);

#pragma omp for
    for (int i = 0; i < outs * ins; i++) {
        float *du = gradient + omp_get_thread_num() * p->points * p->du_point;
        struct sum s = {.k0 = i / ins * OUT, .c0 = i % ins * IN, .slices = 1, .row = IN};
        s.vectors = MIN(IN, p->c_blocks * p->kernels->lanes - s.c0) / p->kernels->lanes;
        for (; s.point < p->points; s.point++)
            sum_rows(p, p->tiles, &s, work, false, du + s.point * p->du_point);
        for (int k = s.k0; k < MIN(s.k0 + OUT, p->s->k); k++)
            finish_row(p, k, s.c0, MIN(IN, p->s->c - s.c0), du + (k - s.k0) * IN, b);
    }
}

void cpu_wino_backward(const struct cpu_wino *s, const struct cpu_wino_backward *b, float *work) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_panel all = cpu_wino_backward_filters(&p, b->filters.w);
    float *z = z_of(&p, work), *du = gradient_of(&p, work);
    float *made = du + (b->dw ? gradient_floats(&p, omp_get_max_threads()) : 0);
    struct cpu_wino_matrix product = {.in = z,
                                      .u = b->filters.u ? b->filters.u
                                           : p.few      ? NULL
                                                        : made,
                                      .out = work,
                                      .parts = made,
                                      .filters = all,
                                      .in_point = p.z_point,
                                      .in_panel = p.z_panel,
                                      .out_point = p.v_point,
                                      .out_panel = p.v_panel,
                                      .outputs = s->c,
                                      .inputs = s->k};

#pragma omp parallel
    {
        if (b->dx && !b->filters.u && !p.few)
            cpu_wino_transform_filters(&p, &all, made);
        for (int first = 0; first < p.tiles; first += p.chunk) {
            int count = MIN(p.chunk, p.tiles - first);
            transform_grad(&p, first, count, b->dy, z);
            if (b->dx) {
                cpu_wino_multiply(&p, count, &product);
                transform_input_grad(&p, first, count, product.out, b->dx);
            }
            if (b->dw) {
                transform_input(&p, first, count, b->x, work);
                if (p.few)
                    gradient_of_few(&p, work, du, b);
                else
                    sum_gradient(&p, count, work, first > 0, du);
            }
        }
        if (b->dw && !p.few)
            finish_gradient(&p, du, b);
    }
}
