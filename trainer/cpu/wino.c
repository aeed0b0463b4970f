#include "cpu/wino.h"

#include <omp.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/wino_plan.h"

// Tiles held in transformed form at once (whole rows of them, at least one), and the block of
// filter gradient one thread makes over all points: OUT x IN filters, 295 KB at m = 4, in the
// second-level cache.
enum { CHUNK = 256, BLOCK_OUT = 32, BLOCK_IN = 64 };

enum { SKEW_BLOCK = 16 }; // see CPU_WINO_SKEW

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
    p.chunk = MIN(s->n * p.rows, MAX(1, CHUNK / p.cols)) * p.cols;
    p.c_blocks = cpu_wino_ceil(s->c, lanes);
    p.k_blocks = cpu_wino_ceil(s->k, lanes);
    p.block = (ptrdiff_t)p.chunk * lanes + SKEW_BLOCK;
    // One block more than there may be: a panel of two vectors writes both.
    p.v_point = (p.c_blocks + 1) * p.block + CPU_WINO_SKEW;
    p.z_point = (p.k_blocks + 1) * p.block + CPU_WINO_SKEW;
    p.blocks_out = cpu_wino_ceil(s->k, BLOCK_OUT);
    p.blocks_in = cpu_wino_ceil(s->c, BLOCK_IN);
    return p;
}

// Workspace: V, then Z (or the forward's products), then the filter gradient's blocks, then each
// thread's part of a panel. The products of the input gradient lie where V comes afterwards.

static ptrdiff_t gradient_point(void) {
    return BLOCK_OUT * BLOCK_IN + SKEW_BLOCK;
}

static size_t gradient_blocks(const struct cpu_wino_plan *p, int threads) {
    return p->chunk == p->tiles ? threads : p->blocks_out * p->blocks_in;
}

size_t cpu_wino_work_floats(const struct cpu_wino *s, int threads) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);

    return p.points *
           (p.v_point + p.z_point + gradient_blocks(&p, threads) * (size_t)gradient_point() +
            (size_t)threads * CPU_WINO_PART_POINT);
}

static float *z_of(const struct cpu_wino_plan *p, float *work) {
    return work + p->points * p->v_point;
}

static float *gradients_of(const struct cpu_wino_plan *p, float *work) {
    return z_of(p, work) + p->points * p->z_point;
}

static float *parts_of(const struct cpu_wino_plan *p, float *work) {
    int threads = omp_get_max_threads();

    return gradients_of(p, work) + gradient_blocks(p, threads) * p->points * gradient_point();
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

static struct cpu_wino_points slot_of(const struct cpu_wino_plan *p, float *points,
                                      ptrdiff_t stride, int slot) {
    return (struct cpu_wino_points){points + slot * p->kernels->lanes, stride, p->block};
}

static void transform_input(const struct cpu_wino_plan *p, int first, int count, const float *x,
                            float *v) {
#pragma omp for
    for (int i = 0; i < count; i++) {
        struct cpu_wino_patch d = patch_of(p, first + i, input_picture(p, x));
        struct cpu_wino_points slot = slot_of(p, v, p->v_point, i);
        p->f->input(&d, &slot);
    }
}

static void transform_grad(const struct cpu_wino_plan *p, int first, int count, const float *dy,
                           float *z) {
#pragma omp for
    for (int i = 0; i < count; i++) {
        struct cpu_wino_patch d = patch_of(p, first + i, output_picture(p, dy));
        struct cpu_wino_points slot = slot_of(p, z, p->z_point, i);
        p->f->grad(&d, &slot);
    }
}

static void transform_output(const struct cpu_wino_plan *p, int first, int count, float *products,
                             float *ret_y) {
#pragma omp for
    for (int i = 0; i < count; i++) {
        struct cpu_wino_patch y = patch_of(p, first + i, output_picture(p, ret_y));
        struct cpu_wino_points slot = slot_of(p, products, p->z_point, i);
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
                struct cpu_wino_points slot = slot_of(p, products, p->v_point, i);
                p->f->input_grad(&slot, written, &dx);
            }
    }
}

void cpu_wino_forward(const struct cpu_wino *s, const float *x, struct cpu_wino_filters filters,
                      float *work, float *ret_y) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    struct cpu_wino_matrix product = {.in = work,
                                      .u = filters.u,
                                      .out = z_of(&p, work),
                                      .parts = parts_of(&p, work),
                                      .in_point = p.v_point,
                                      .out_point = p.z_point,
                                      .outputs = s->k,
                                      .inputs = s->c,
                                      .filters = cpu_wino_forward_filters(&p, filters.w)};

#pragma omp parallel
    for (int first = 0; first < p.tiles; first += p.chunk) {
        int count = MIN(p.chunk, p.tiles - first);
        transform_input(&p, first, count, x, work);
        cpu_wino_multiply(&p, count, &product);
        transform_output(&p, first, count, product.out, ret_y);
    }
}

// Filter gradient, one block of [BLOCK_OUT][BLOCK_IN] filters at all points.

static void gradient_block(const struct cpu_wino_plan *p, int count, int block, float *work,
                           bool add, float *du) {
    int lanes = p->kernels->lanes;
    int k0 = block / p->blocks_in * BLOCK_OUT, c0 = block % p->blocks_in * BLOCK_IN;

    for (int i = 0; i < p->points; i++)
        p->kernels->outer(&(struct cpu_outer){
            .tiles = count,
            .rows = MIN(BLOCK_OUT, p->k_blocks * lanes - k0),
            .vectors = MIN(BLOCK_IN / lanes, p->c_blocks - c0 / lanes),
            .z = z_of(p, work) + i * p->z_point + k0 / lanes * p->block,
            .v = work + i * p->v_point + c0 / lanes * p->block,
            .out = du + i * gradient_point(),
            .z_tile = lanes,
            .z_block = p->block,
            .v_tile = lanes,
            .v_block = p->block,
            .out_row = BLOCK_IN,
            .add = add,
        });
}

static void finish_block(const struct cpu_wino_plan *p, int block, const float *du,
                         const struct cpu_wino_backward *b) {
    int lanes = p->kernels->lanes, c = p->s->c;
    int k0 = block / p->blocks_in * BLOCK_OUT, c0 = block % p->blocks_in * BLOCK_IN;

    for (int k = 0; k < MIN(BLOCK_OUT, p->s->k - k0); k++)
        for (int i = 0; i < BLOCK_IN && c0 + i < c; i += lanes)
            p->f->filter_grad(du + k * BLOCK_IN + i, gradient_point(), MIN(lanes, c - c0 - i),
                              b->add_dw, b->dw + ((size_t)(k0 + k) * c + c0 + i) * p->r * p->r);
}

static void filter_gradient(const struct cpu_wino_plan *p, int first, int count, float *work,
                            const struct cpu_wino_backward *b) {
    bool one_chunk = p->chunk == p->tiles;

#pragma omp for
    for (int i = 0; i < p->blocks_out * p->blocks_in; i++) {
        int kept = one_chunk ? omp_get_thread_num() : i;
        float *du = gradients_of(p, work) + kept * p->points * gradient_point();
        gradient_block(p, count, i, work, first > 0, du);
        if (first + count == p->tiles)
            finish_block(p, i, du, b);
    }
}

void cpu_wino_backward(const struct cpu_wino *s, const struct cpu_wino_backward *b, float *work) {
    struct cpu_wino_plan p = cpu_wino_plan_of(s);
    float *z = z_of(&p, work);
    struct cpu_wino_matrix product = {.in = z,
                                      .u = b->filters.u,
                                      .out = work,
                                      .parts = parts_of(&p, work),
                                      .in_point = p.z_point,
                                      .out_point = p.v_point,
                                      .outputs = s->c,
                                      .inputs = s->k,
                                      .filters = cpu_wino_backward_filters(&p, b->filters.w)};

#pragma omp parallel
    for (int first = 0; first < p.tiles; first += p.chunk) {
        int count = MIN(p.chunk, p.tiles - first);
        transform_grad(&p, first, count, b->dy, z);
        if (b->dx) {
            cpu_wino_multiply(&p, count, &product);
            transform_input_grad(&p, first, count, product.out, b->dx);
        }
        if (b->dw) {
            transform_input(&p, first, count, b->x, work);
            filter_gradient(&p, first, count, work, b);
        }
    }
}
