// bench_kernels - our convolution kernels against oneDNN's, for the layers of the nets.
//
//   bench_kernels [rounds]      OMP_NUM_THREADS sets the threads
//
// "layout" is oneDNN's: "any" lets it choose what it likes best and counts no reorder, "nhwc" is
// what our tensors have.
//
// A round runs oneDNN, ours, oneDNN; its ratio is the mean of the oneDNN times over ours, so that a
// machine that changes speed changes both. One JSON line per shape and pass: median ratio with its
// quartiles, the best time of each in ms, and the share of the peak that ours reaches: the
// operations of its products (Winograd's after its reduction, transforms not counted) in its best
// time, beside independent FMAs in registers on all threads, measured in the same rounds. The
// filter transform is a line of its own: it runs once per weight update.
#include <dnnl.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/instructions.h"
#include "base/rng.h"
#include "base/util.h"
#include "cpu/conv_direct.h"
#include "cpu/conv_narrow.h"
#include "cpu/norm.h"
#include "cpu/wino.h"

#define DNN(call)                                                                                  \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success)                                                               \
            BUG("%s: %d", #call, status_);                                                         \
    } while (0)

enum pass { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, PASSES };
static const char *const pass_name[] = {"forward", "backward_data", "backward_weights"};

static dnnl_engine_t engine;
static dnnl_stream_t stream;

struct direct {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3];
};

static dnnl_memory_t filled_memory(const_dnnl_primitive_desc_t pd, dnnl_query_t what) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, what, 0);
    dnnl_memory_t memory;
    float *data;

    DNN(dnnl_memory_create(&memory, md, engine, DNNL_MEMORY_ALLOCATE));
    DNN(dnnl_memory_get_data_handle(memory, (void **)&data));
    for (size_t i = 0; i < dnnl_memory_desc_get_size(md) / sizeof *data; i++)
        data[i] = (float)rng_uniform(1, RNG_TEST, i, 0) - 0.5f;
    return memory;
}

// A convolution of x [n,c,h,w] by filters [k,c,r,r].
struct layer {
    int n, c, h, w, k, r, stride, pad;
};

static struct direct direct_new(const struct layer *l, enum pass pass, dnnl_format_tag_t tag) {
    int h = (l->h + 2 * l->pad - l->r) / l->stride + 1;
    int w_out = (l->w + 2 * l->pad - l->r) / l->stride + 1;
    dnnl_dims_t xd = {l->n, l->c, l->h, l->w}, wd = {l->k, l->c, l->r, l->r};
    dnnl_dims_t yd = {l->n, l->k, h, w_out}, stride = {l->stride, l->stride};
    dnnl_dims_t before = {l->pad, l->pad};
    dnnl_dims_t after = {MAX(0, (h - 1) * l->stride + l->r - l->h - l->pad),
                         MAX(0, (w_out - 1) * l->stride + l->r - l->w - l->pad)};
    dnnl_memory_desc_t x, w, y;
    dnnl_convolution_desc_t cd;
    dnnl_primitive_desc_t forward, pd;
    struct direct d;

    DNN(dnnl_memory_desc_init_by_tag(&x, 4, xd, dnnl_f32, tag));
    DNN(dnnl_memory_desc_init_by_tag(&w, 4, wd, dnnl_f32, dnnl_format_tag_any));
    DNN(dnnl_memory_desc_init_by_tag(&y, 4, yd, dnnl_f32, tag));
    DNN(dnnl_convolution_forward_desc_init(&cd, dnnl_forward_training, dnnl_convolution_auto, &x,
                                           &w, NULL, &y, stride, before, after));
    DNN(dnnl_primitive_desc_create(&forward, &cd, NULL, engine, NULL));
    pd = forward;
    if (pass == BACKWARD_DATA) {
        DNN(dnnl_convolution_backward_data_desc_init(&cd, dnnl_convolution_auto, &x, &w, &y, stride,
                                                     before, after));
        DNN(dnnl_primitive_desc_create(&pd, &cd, NULL, engine, forward));
    } else if (pass == BACKWARD_WEIGHTS) {
        DNN(dnnl_convolution_backward_weights_desc_init(&cd, dnnl_convolution_auto, &x, &w, NULL,
                                                        &y, stride, before, after));
        DNN(dnnl_primitive_desc_create(&pd, &cd, NULL, engine, forward));
    }
    DNN(dnnl_primitive_create(&d.primitive, pd));
    static const struct {
        int arg;
        dnnl_query_t query;
    } of[PASSES][3] = {
        {{DNNL_ARG_SRC, dnnl_query_src_md},
         {DNNL_ARG_WEIGHTS, dnnl_query_weights_md},
         {DNNL_ARG_DST, dnnl_query_dst_md}},
        {{DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md},
         {DNNL_ARG_WEIGHTS, dnnl_query_weights_md},
         {DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md}},
        {{DNNL_ARG_SRC, dnnl_query_src_md},
         {DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md},
         {DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md}},
    };
    for (int i = 0; i < 3; i++)
        d.args[i] = (dnnl_exec_arg_t){of[pass][i].arg, filled_memory(pd, of[pass][i].query)};
    return d;
}

static float *filled(size_t count) {
    float *x = xaligned(count * sizeof *x);

    for (size_t i = 0; i < count; i++)
        x[i] = (float)rng_uniform(2, RNG_TEST, i, 0) - 0.5f;
    return x;
}

// One pass of ours; `shape` is the kernel's own struct.
struct ours {
    struct layer layer;
    enum pass pass;
    dnnl_format_tag_t layout;
    const char *name;
    void (*run)(const struct ours *o);
    union {
        struct cpu_wino wino;
        struct cpu_narrow narrow;
        struct cpu_filter filter;
    } shape;
    double gflop; // of the products of a pass
    float *x, *y, *w, *packed, *work;
};

static void run_wino(const struct ours *o) {
    struct cpu_wino_backward b = {.x = o->x, .dy = o->y, .filters = {.u = o->packed}};

    if (o->pass == FORWARD) {
        cpu_wino_forward(&o->shape.wino, o->x, (struct cpu_wino_filters){.u = o->packed}, o->work,
                         o->y);
        return;
    }
    if (o->pass == BACKWARD_DATA)
        b.dx = o->x;
    else
        b.dw = o->w;
    cpu_wino_backward(&o->shape.wino, &b, o->work);
}

static void run_narrow(const struct ours *o) {
    if (o->pass == FORWARD)
        cpu_narrow_forward(&o->shape.narrow, o->x, o->packed, NULL, o->work, o->y);
    else if (o->pass == BACKWARD_DATA)
        cpu_narrow_backward_data(&o->shape.narrow, o->y, o->packed, o->work, o->x);
    else
        (o->layer.k < o->layer.c ? cpu_narrow_output_weights : cpu_narrow_input_weights)(
            &o->shape.narrow, o->x, o->y, o->work, false, o->w);
}

static void run_filter(const struct ours *o) {
    cpu_filter_gradient(&o->shape.filter, o->y, o->x, o->work, false, o->w);
}

// On one thread its processor time: what other processes take does not count.
static double clock_ms(void) {
    struct timespec now;

    (void)clock_gettime(omp_get_max_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC,
                        &now); // cannot fail for these
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

// ---- the peak ----

// LOOPS times ACCUMULATORS independent FMAs of `lanes` floats in registers. Written out: an array
// of vectors would lie in memory.
#define ACCUMULATORS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
enum { LOOPS = 100000, CHAINS = 12 };
#define BEGIN_(i) vec a##i = x * (float)i;
#define STEP_(i) a##i = FMA(a##i, x, x);
#define HOLD_(i) __asm__ volatile("" : "+" REGISTER(a##i));
#define CHAINED(name, instructions, bytes)                                                         \
    __attribute__((target(instructions))) static void name(void) {                                 \
        typedef float vec __attribute__((vector_size(bytes)));                                     \
        vec x = (vec){0} + 0.5f;                                                                   \
        ACCUMULATORS(BEGIN_)                                                                       \
        for (int loop = 0; loop < LOOPS; loop++) {                                                 \
            ACCUMULATORS(STEP_)                                                                    \
            ACCUMULATORS(HOLD_)                                                                    \
        }                                                                                          \
    }

#if defined(__x86_64__)
#define REGISTER(a) "v"(a)
#define FMA(a, x, y) (vec) _mm512_fmadd_ps((__m512)(a), (__m512)(x), (__m512)(y))
CHAINED(fma_avx512, "avx512f", 64)
#undef REGISTER
#undef FMA
#define REGISTER(a) "x"(a)
#define FMA(a, x, y) (vec) _mm256_fmadd_ps((__m256)(a), (__m256)(x), (__m256)(y))
CHAINED(fma_avx2, "avx2,fma", 32)
#undef FMA
#define FMA(a, x, y) ((a) * (x) + (y))
CHAINED(fma_plain, "sse2", 16)
#endif

// GFLOP/s of all threads together; 0 on a processor of another kind.
static double peak_now(void) {
#if defined(__x86_64__)
    void (*fma)(void) = fma_plain;
    int lanes = 4;
    if (instructions_best() >= INSTRUCTIONS_AVX2) {
        fma = fma_avx2;
        lanes = 8;
    }
    if (instructions_best() == INSTRUCTIONS_AVX512) {
        fma = fma_avx512;
        lanes = 16;
    }
    double begin = clock_ms();
#pragma omp parallel
    fma();
    return 2.0 * LOOPS * CHAINS * lanes * omp_get_max_threads() / (1e6 * (clock_ms() - begin));
#else
    return 0;
#endif
}

static double run_direct_ms(const struct direct *d) {
    double begin = clock_ms();

    DNN(dnnl_primitive_execute(d->primitive, stream, 3, d->args));
    DNN(dnnl_stream_wait(stream));
    return clock_ms() - begin;
}

static double run_ours_ms(const struct ours *o) {
    double begin = clock_ms();

    o->run(o);
    return clock_ms() - begin;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_ratios(const struct ours *o, double *ratio, int rounds) {
    const struct layer *l = &o->layer;

    qsort(ratio, rounds, sizeof *ratio, by_value);
    printf(
        "{\"bench\":\"%s\",\"pass\":\"%s\",\"n\":%d,\"c\":%d,\"h\":%d,\"w\":%d,\"k\":%d,\"r\":%d,"
        "\"stride\":%d,\"layout\":\"%s\",\"threads\":%d,\"instructions\":\"%s\",\"ratio\":%.2f,"
        "\"quartiles\":[%.2f,%.2f],",
        o->name, pass_name[o->pass], l->n, l->c, l->h, l->w, l->k, l->r, l->stride,
        o->layout == dnnl_nhwc ? "nhwc" : "any", omp_get_max_threads(), cpu_wino_instructions(),
        ratio[rounds / 2], ratio[rounds / 4], ratio[rounds * 3 / 4]);
}

static void bench(const struct ours *o, int rounds) {
    struct direct d = direct_new(&o->layer, o->pass, o->layout);
    double *ratio = xcalloc(rounds, sizeof *ratio), best_direct = 1e9, best_ours = 1e9, peak = 0;

    (void)run_direct_ms(&d); // both warm
    (void)run_ours_ms(o);
    for (int i = 0; i < rounds; i++) {
        double before = run_direct_ms(&d), own = run_ours_ms(o), after = run_direct_ms(&d);
        ratio[i] = (before + after) / 2 / own;
        best_direct = MIN(best_direct, MIN(before, after));
        best_ours = MIN(best_ours, own);
        peak = MAX(peak, peak_now());
    }
    print_ratios(o, ratio, rounds);
    printf("\"onednn_ms\":%.3f,\"own_ms\":%.3f,\"gflops\":%.1f,\"peak_gflops\":%.1f,"
           "\"share\":%.2f}\n",
           best_direct, best_ours, o->gflop * 1e3 / best_ours, peak,
           peak > 0 ? o->gflop * 1e3 / best_ours / peak : 0);
    (void)fflush(stdout); // a bench is watched
    free(ratio);
    for (int i = 0; i < 3; i++)
        DNN(dnnl_memory_destroy(d.args[i].memory));
    DNN(dnnl_primitive_destroy(d.primitive));
}

static double direct_gflop(const struct layer *l) {
    int h = (l->h + 2 * l->pad - l->r) / l->stride + 1;
    int w = (l->w + 2 * l->pad - l->r) / l->stride + 1;

    return 2e-9 * l->n * h * w * l->k * l->c * l->r * l->r;
}

static double wino_gflop(const struct cpu_wino *s) {
    int a = s->m == 2 ? 4 : 6;
    double tiles = (double)s->n * ((s->h + s->m - 1) / s->m) * ((s->w + s->m - 1) / s->m);

    return 2e-9 * tiles * a * a * s->c * s->k;
}

static void tensors_new(struct ours *o, size_t packed, size_t work) {
    const struct layer *l = &o->layer;

    o->x = filled((size_t)l->n * l->h * l->w * l->c);
    o->y = filled((size_t)l->n * l->h * l->w * l->k); // the output is no larger than that
    o->w = filled((size_t)l->k * l->c * l->r * l->r);
    o->packed = xaligned(packed * sizeof(float));
    o->work = xaligned(work * sizeof(float));
}

static void tensors_free(struct ours *o) {
    free(o->x);
    free(o->y);
    free(o->w);
    free(o->packed);
    free(o->work);
}

static void bench_filters(const struct cpu_wino *s, const struct ours *o, int rounds) {
    double best = 1e9;

    for (int i = 0; i < rounds; i++) {
        double begin = clock_ms();
        cpu_wino_filters_forward(s, o->w, o->packed);
        cpu_wino_filters_backward(s, o->w, o->packed);
        best = MIN(best, clock_ms() - begin);
    }
    printf("{\"bench\":\"winograd_filters\",\"m\":%d,\"c\":%d,\"k\":%d,\"own_ms\":%.3f}\n", s->m,
           s->c, s->k, best);
}

static void bench_wino(struct cpu_wino s, int rounds) {
    int r = s.m == 3 ? 4 : 3, border = r - 1 - 2 * s.pad;
    static const char *const name[] = {[2] = "winograd_f2", "winograd_f3", "winograd_f4"};
    struct ours o = {.layer = {s.n, s.c, s.h + border, s.w + border, s.k, r, 1, s.pad},
                     .layout = dnnl_format_tag_any,
                     .name = name[s.m],
                     .run = run_wino,
                     .shape.wino = s,
                     .gflop = wino_gflop(&s)};

    tensors_new(&o, cpu_wino_filter_floats(&s),
                cpu_wino_work_floats(&s, omp_get_max_threads(), false, true));
    if (o.gflop > 3) // some tenths of a second
        rounds = MAX(rounds / 4, 3);
    for (o.pass = FORWARD; o.pass < PASSES; o.pass++)
        bench(&o, rounds);
    bench_filters(&s, &o, rounds);
    tensors_free(&o);
}

// The generator's last layer, many to few, and its first one's input gradient.
static void bench_narrow(int many, int side, int rounds) {
    struct cpu_narrow s = {.n = 1, .many = many, .few = 3, .h = side, .w = side, .r = 7};
    struct ours o = {.layer = {1, many, side + 6, side + 6, 3, 7, 1, 0},
                     .layout = dnnl_nhwc,
                     .name = "narrow",
                     .run = run_narrow,
                     .shape.narrow = s,
                     .gflop = 2e-9 * 49 * 3 * many * side * side};

    tensors_new(&o, cpu_narrow_filter_floats(&s),
                cpu_narrow_work_floats(&s, omp_get_max_threads()));
    bench(&o, rounds);
    o.pass = BACKWARD_WEIGHTS;
    bench(&o, rounds);
    tensors_free(&o);

    o.layer = (struct layer){1, 3, side + 6, side + 6, many, 7, 1, 0};
    o.pass = BACKWARD_DATA;
    tensors_new(&o, cpu_narrow_filter_floats(&s),
                cpu_narrow_work_floats(&s, omp_get_max_threads()));
    bench(&o, rounds);
    o.pass = BACKWARD_WEIGHTS;
    bench(&o, rounds);
    tensors_free(&o);
}

static void bench_filter(struct layer l, int rounds) {
    int h = (l.h + 2 * l.pad - l.r) / l.stride + 1, w = (l.w + 2 * l.pad - l.r) / l.stride + 1;
    struct ours o = {.layer = l,
                     .pass = BACKWARD_WEIGHTS,
                     .layout = dnnl_nhwc,
                     .name = "filter",
                     .run = run_filter,
                     .shape.filter = {l.n, l.k, h, w, l.c, l.h, l.w, l.r, l.stride, l.pad}};

    o.gflop = direct_gflop(&l);
    tensors_new(&o, 1, cpu_filter_work_floats(&o.shape.filter));
    bench(&o, rounds);
    tensors_free(&o);
}

static void bench_norm(int channels, int side, int rounds) {
    struct norm_shape s = {.n = 1,
                           .h = side,
                           .w = side,
                           .c = channels,
                           .norm = NORM_INSTANCE,
                           .act = ACT_RELU,
                           .pad = 1};
    size_t pixels = (size_t)side * side * channels;
    size_t padded = (size_t)(side + 2) * (side + 2) * channels;
    float *x = filled(pixels), *y = filled(padded), *dx = filled(pixels);
    float *stats = filled(2 * (size_t)channels);
    double *work = xaligned(cpu_norm_workspace_bytes(NULL, &s)), best[2] = {1e9, 1e9};
    struct norm_tensors forward = {.x = x, .ret_y = y, .ret_stats = stats};
    struct norm_gradients backward = {
        .x = x, .stats = stats, .dy = {1, {{y, 1, 0, 1}}}, .ret_dx = dx};

    for (int i = 0; i < rounds; i++) {
        double t0 = clock_ms(), t1;
        (void)cpu_norm_forward(NULL, &s, &forward, work); // cannot fail
        t1 = clock_ms();
        (void)cpu_norm_backward(NULL, &s, &backward, work); // cannot fail
        best[0] = MIN(best[0], t1 - t0);
        best[1] = MIN(best[1], clock_ms() - t1);
    }
    printf("{\"bench\":\"norm_relu_pad\",\"c\":%d,\"h\":%d,\"w\":%d,\"forward_ms\":%.3f,"
           "\"backward_ms\":%.3f}\n",
           channels, side, side, best[0], best[1]);
    free(x);
    free(y);
    free(dx);
    free(stats);
    free(work);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? MAX(atoi(argv[1]), 1) : 15;
    // Residual blocks of training: 64x64 ngf 32, 128x128 and 256x256 ngf 64, batches 1, 4 and 6;
    // the first pass of a generator has both domains' pictures.
    static const struct cpu_wino shapes[] = {
        {1, 128, 128, 16, 16, 4, 0},  {2, 128, 128, 16, 16, 4, 0}, {1, 256, 256, 32, 32, 4, 0},
        {2, 256, 256, 32, 32, 4, 0},  {4, 256, 256, 32, 32, 4, 0}, {8, 256, 256, 32, 32, 4, 0},
        {1, 256, 256, 64, 64, 4, 0},  {2, 256, 256, 64, 64, 4, 0}, {6, 256, 256, 64, 64, 4, 0},
        {12, 256, 256, 64, 64, 4, 0}, {1, 256, 256, 32, 32, 2, 0}, {1, 256, 512, 15, 15, 3, 1},
    };

    static const struct layer strided[] = {
        {1, 32, 64, 64, 64, 3, 2, 1},   {1, 64, 128, 128, 128, 3, 2, 1},
        {1, 128, 64, 64, 256, 3, 2, 1}, {1, 64, 64, 64, 128, 4, 2, 1},
        {1, 256, 16, 16, 512, 4, 1, 1}, {1, 3, 128, 128, 64, 4, 2, 1},
        {1, 512, 15, 15, 1, 4, 1, 1},
    };

    DNN(dnnl_engine_create(&engine, dnnl_cpu, 0));
    DNN(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    for (size_t i = 0; i < COUNT(shapes); i++)
        bench_wino(shapes[i], rounds);
    for (size_t i = 0; i < COUNT(strided); i++)
        bench_filter(strided[i], rounds);
    bench_narrow(32, 64, rounds);
    bench_narrow(64, 128, rounds);
    bench_norm(128, 16, rounds * 4);
    bench_norm(256, 32, rounds * 4);
    bench_norm(64, 128, rounds * 4);
    DNN(dnnl_stream_destroy(stream));
    DNN(dnnl_engine_destroy(engine));
    return 0;
}
