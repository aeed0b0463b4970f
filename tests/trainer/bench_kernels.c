// bench_kernels - Winograd against oneDNN's direct convolution, each in the layout it likes best.
//
//   bench_kernels [rounds]      OMP_NUM_THREADS sets the threads
//
// A round runs oneDNN, ours, oneDNN; its ratio is the mean of the oneDNN times over ours, so that a
// machine that changes speed changes both. One JSON line per shape and pass: median ratio with its
// quartiles, and the best time of each in ms. The filter transform is a line of its own: it runs
// once per weight update.
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu_norm.h"
#include "cpu_wino.h"
#include "err.h"
#include "rng.h"
#include "util.h"

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

static struct direct direct_new(const struct cpu_wino *s, enum pass pass) {
    dnnl_dims_t xd = {s->n, s->c, s->h + 2, s->w + 2}, wd = {s->k, s->c, 3, 3};
    dnnl_dims_t yd = {s->n, s->k, s->h, s->w}, one = {1, 1}, zero = {0, 0};
    dnnl_memory_desc_t x, w, y;
    dnnl_convolution_desc_t cd;
    dnnl_primitive_desc_t forward, pd;
    struct direct d;

    DNN(dnnl_memory_desc_init_by_tag(&x, 4, xd, dnnl_f32, dnnl_format_tag_any));
    DNN(dnnl_memory_desc_init_by_tag(&w, 4, wd, dnnl_f32, dnnl_format_tag_any));
    DNN(dnnl_memory_desc_init_by_tag(&y, 4, yd, dnnl_f32, dnnl_format_tag_any));
    DNN(dnnl_convolution_forward_desc_init(&cd, dnnl_forward_training, dnnl_convolution_auto, &x,
                                           &w, NULL, &y, one, zero, zero));
    DNN(dnnl_primitive_desc_create(&forward, &cd, NULL, engine, NULL));
    pd = forward;
    if (pass == BACKWARD_DATA) {
        DNN(dnnl_convolution_backward_data_desc_init(&cd, dnnl_convolution_auto, &x, &w, &y, one,
                                                     zero, zero));
        DNN(dnnl_primitive_desc_create(&pd, &cd, NULL, engine, forward));
    } else if (pass == BACKWARD_WEIGHTS) {
        DNN(dnnl_convolution_backward_weights_desc_init(&cd, dnnl_convolution_auto, &x, &w, NULL,
                                                        &y, one, zero, zero));
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

struct ours {
    struct cpu_wino s;
    float *x, *y, *w, *u, *ub, *work;
};

static float *filled(size_t count) {
    float *x = xaligned(count * sizeof *x);

    for (size_t i = 0; i < count; i++)
        x[i] = (float)rng_uniform(2, RNG_TEST, i, 0) - 0.5f;
    return x;
}

static struct ours ours_new(struct cpu_wino s) {
    struct ours o = {.s = s};

    o.x = filled((size_t)s.n * (s.h + 2) * (s.w + 2) * s.c);
    o.y = filled((size_t)s.n * s.h * s.w * s.k);
    o.w = filled((size_t)s.k * s.c * 9);
    o.u = xaligned(cpu_wino_filter_floats(&s) * sizeof(float));
    o.ub = xaligned(cpu_wino_filter_floats(&s) * sizeof(float));
    o.work = xaligned(cpu_wino_work_floats(&s, omp_get_max_threads()) * sizeof(float));
    cpu_wino_filters_forward(&s, o.w, o.u);
    cpu_wino_filters_backward(&s, o.w, o.ub);
    return o;
}

static void ours_free(struct ours *o) {
    free(o->x);
    free(o->y);
    free(o->w);
    free(o->u);
    free(o->ub);
    free(o->work);
}

static void run_ours(const struct ours *o, enum pass pass) {
    struct cpu_wino_backward b = {.x = o->x, .dy = o->y, .u = o->ub};

    if (pass == FORWARD) {
        cpu_wino_forward(&o->s, o->x, o->u, o->work, o->y);
        return;
    }
    if (pass == BACKWARD_DATA)
        b.dx = o->x;
    else
        b.dw = o->w;
    cpu_wino_backward(&o->s, &b, o->work);
}

static double run_direct_ms(const struct direct *d) {
    int64_t begin = now_us();

    DNN(dnnl_primitive_execute(d->primitive, stream, 3, d->args));
    DNN(dnnl_stream_wait(stream));
    return (double)(now_us() - begin) / 1e3;
}

static double run_ours_ms(const struct ours *o, enum pass pass) {
    int64_t begin = now_us();

    run_ours(o, pass);
    return (double)(now_us() - begin) / 1e3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void bench_pass(const struct ours *o, enum pass pass, int rounds) {
    struct direct d = direct_new(&o->s, pass);
    double *ratio = xcalloc(rounds, sizeof *ratio), best_direct = 1e9, best_ours = 1e9;

    (void)run_direct_ms(&d); // both warm
    (void)run_ours_ms(o, pass);
    for (int i = 0; i < rounds; i++) {
        double before = run_direct_ms(&d), own = run_ours_ms(o, pass), after = run_direct_ms(&d);
        ratio[i] = (before + after) / 2 / own;
        best_direct = MIN(best_direct, MIN(before, after));
        best_ours = MIN(best_ours, own);
    }
    qsort(ratio, rounds, sizeof *ratio, by_value);
    printf("{\"bench\":\"winograd\",\"pass\":\"%s\",\"m\":%d,\"n\":%d,\"c\":%d,\"k\":%d,\"h\":%d,"
           "\"w\":%d,\"threads\":%d,\"instructions\":\"%s\",\"ratio\":%.2f,\"quartiles\":[%.2f,"
           "%.2f],\"onednn_ms\":%.3f,\"own_ms\":%.3f}\n",
           pass_name[pass], o->s.m, o->s.n, o->s.c, o->s.k, o->s.h, o->s.w, omp_get_max_threads(),
           cpu_wino_instructions(), ratio[rounds / 2], ratio[rounds / 4], ratio[rounds * 3 / 4],
           best_direct, best_ours);
    (void)fflush(stdout); // a bench is watched
    free(ratio);
    for (int i = 0; i < 3; i++)
        DNN(dnnl_memory_destroy(d.args[i].memory));
    DNN(dnnl_primitive_destroy(d.primitive));
}

static void bench_filters(const struct ours *o, int rounds) {
    double best = 1e9;

    for (int i = 0; i < rounds; i++) {
        int64_t begin = now_us();
        cpu_wino_filters_forward(&o->s, o->w, o->u);
        cpu_wino_filters_backward(&o->s, o->w, o->ub);
        best = MIN(best, (double)(now_us() - begin) / 1e3);
    }
    printf("{\"bench\":\"winograd_filters\",\"m\":%d,\"c\":%d,\"k\":%d,\"own_ms\":%.3f}\n", o->s.m,
           o->s.c, o->s.k, best);
}

static void bench_norm(int channels, int side, int rounds) {
    struct cpu_norm s = {.n = 1,
                         .h = side,
                         .w = side,
                         .c = channels,
                         .kind = CPU_NORM_INSTANCE,
                         .act = CPU_ACT_RELU,
                         .pad = 1};
    size_t pixels = (size_t)side * side * channels;
    size_t padded = (size_t)(side + 2) * (side + 2) * channels;
    float *x = filled(pixels), *y = filled(padded), *dx = filled(pixels);
    float *mean = filled(channels), *rstd = filled(channels);
    double *work = xcalloc(cpu_norm_work_doubles(&s), sizeof *work), best[2] = {1e9, 1e9};
    struct cpu_norm_saved saved = {x, NULL, mean, rstd};
    struct cpu_norm_grads grads = {1, {{y, 1}}};

    for (int i = 0; i < rounds; i++) {
        int64_t t0 = now_us(), t1;
        cpu_norm_forward(&s, &saved, (struct cpu_padded){NULL, 0}, work, y);
        t1 = now_us();
        cpu_norm_backward(&s, &saved, &grads, work, &(struct cpu_norm_result){.dx = dx});
        best[0] = MIN(best[0], (double)(t1 - t0) / 1e3);
        best[1] = MIN(best[1], (double)(now_us() - t1) / 1e3);
    }
    printf("{\"bench\":\"norm_relu_pad\",\"c\":%d,\"h\":%d,\"w\":%d,\"forward_ms\":%.3f,"
           "\"backward_ms\":%.3f}\n",
           channels, side, side, best[0], best[1]);
    free(x);
    free(y);
    free(dx);
    free(mean);
    free(rstd);
    free(work);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? MAX(atoi(argv[1]), 1) : 15;
    static const struct cpu_wino shapes[] = {
        {1, 128, 128, 16, 16, 4, 0}, {1, 128, 128, 16, 16, 2, 0}, {2, 128, 128, 16, 16, 4, 0},
        {1, 256, 256, 32, 32, 4, 0}, {1, 256, 256, 32, 32, 2, 0}, {2, 256, 256, 32, 32, 4, 0},
        {1, 256, 256, 64, 64, 4, 0},
    };

    DNN(dnnl_engine_create(&engine, dnnl_cpu, 0));
    DNN(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct ours o = ours_new(shapes[i]);
        for (int pass = 0; pass < PASSES; pass++)
            bench_pass(&o, pass, rounds);
        bench_filters(&o, rounds);
        ours_free(&o);
    }
    bench_norm(128, 16, rounds * 4);
    bench_norm(256, 32, rounds * 4);
    bench_norm(64, 128, rounds * 4);
    DNN(dnnl_stream_destroy(stream));
    DNN(dnnl_engine_destroy(engine));
    return 0;
}
