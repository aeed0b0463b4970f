// Concats, mixes, flips, resampling, patches, pictures and copies.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/util.h"
#include "gpu/gpu_bench.h"
#include "trainer/oracle/heads.h"

static struct tensor_shape map(int n, int h, int w, int c) {
    return (struct tensor_shape){n, h, w, c};
}

static void drop_all(struct bench *b, int count, struct operand **all) {
    for (int i = 0; i < count; i++)
        operand_drop(b, all[i]);
}

static void check_concat(struct bench *b, int c_a, int c_b, enum activation act) {
    const struct backend *k = b->d->backend;
    struct concat_shape s = {(size_t)2 * 7 * 5, c_a, c_b, act};
    struct operand a = operand_in(b, map(2, 7, 5, c_a), 0), c = operand_in(b, map(2, 7, 5, c_b), 0);
    struct operand y_in = operand_in(b, map(2, 7, 5, c_a + c_b), 0);
    struct operand dy = operand_in(b, y_in.shape, 0), y = operand_out(b, y_in.shape, 0);
    struct operand da = operand_out(b, a.shape, 0), db = operand_out(b, c.shape, 0);
    struct concat_gradients both = {y_in.memory, dy.memory, da.memory, db.memory};
    struct concat_gradients one = {y_in.memory, dy.memory, NULL, db.memory};

    gpu_row(b->g, b->mode->dtype, "concat %d and %d%s", c_a, c_b, act == ACT_RELU ? ", relu" : "");
    bench_must(k->concat_forward(b->d, &s, a.memory, c.memory, y.memory));
    bench_must(k->concat_backward(b->d, &s, &both));
    ref_concat(&s, a.host, c.host, y.host);
    ref_concat_backward(&s, y_in.host, dy.host, da.host, db.host);
    gpu_value(b->g, "y", operand_error(b, &y), 0);
    gpu_value(b->g, "da", operand_error(b, &da), 0);
    gpu_value(b->g, "db", operand_error(b, &db), 0);
    operand_poison(b, &db);
    bench_must(k->concat_backward(b->d, &s, &one));
    gpu_value(b->g, "db alone", operand_error(b, &db), 0);
    gpu_row_end(b->g);
    drop_all(b, 7, (struct operand *[]){&a, &c, &y_in, &dy, &y, &da, &db});
}

static void check_mix(struct bench *b, int c_front) {
    struct mix_shape s = {2, 5, 7, c_front, 3};
    struct floats share = floats_in(b, 2);
    struct operand front = {0}, real = operand_in(b, map(2, 5, 7, 3), 0);
    struct operand fake = operand_in(b, real.shape, 0);
    struct operand y = operand_out(b, map(2, 5, 7, c_front + 3), 0);

    if (c_front)
        front = operand_in(b, map(2, 5, 7, c_front), 0);
    struct mix_tensors t = {share.memory, front.memory, real.memory, fake.memory, y.memory};
    gpu_row(b->g, b->mode->dtype, "mix behind %d channels", c_front);
    bench_must(b->d->backend->mix(b->d, &s, &t));
    ref_mix(&s, share.host, front.host, real.host, fake.host, y.host);
    gpu_value(b->g, "y", operand_error(b, &y), b->mode->op);
    gpu_row_end(b->g);
    floats_drop(b, &share);
    drop_all(b, 4, (struct operand *[]){&front, &real, &fake, &y});
}

static void check_flip(struct bench *b, int flip) {
    struct operand x = operand_in(b, map(2, 5, 33, 11), 0), y = operand_out(b, x.shape, 0);
    int *flips = bench_workspace(b, sizeof flip);

    bench_must(b->d->backend->copy_in(b->d, flips, &flip, sizeof flip));
    bench_must(b->d->backend->flip(b->d, &x.shape, flips, x.memory, y.memory));
    ref_flip(&x.shape, flip, x.host, y.host);
    gpu_row(b->g, b->mode->dtype, "flip, %s", flip ? "asked for" : "not asked for");
    gpu_value(b->g, "y", operand_error(b, &y), 0);
    gpu_row_end(b->g);
    b->d->backend->memory_free(b->d, flips);
    drop_all(b, 2, (struct operand *[]){&x, &y});
}

static void check_resample(struct bench *b, enum resample_kind kind, int h, int w, int c) {
    static const char *const names[] = {"blur", "blur's adjoint", "up", "up's adjoint"};
    bool up = kind == RESAMPLE_UP || kind == RESAMPLE_UP_ADJOINT;
    bool adjoint = kind == RESAMPLE_BLUR_ADJOINT || kind == RESAMPLE_UP_ADJOINT;
    int other_h = up ? 2 * h : (h - 1) / 2, other_w = up ? 2 * w : (w - 1) / 2;
    struct resample_shape s = {kind,
                               2,
                               adjoint ? other_h : h,
                               adjoint ? other_w : w,
                               adjoint ? h : other_h,
                               adjoint ? w : other_w,
                               c};
    struct operand x = operand_in(b, map(2, s.h, s.w, c), 0);
    struct operand y = operand_out(b, map(2, s.to_h, s.to_w, c), 0);

    bench_must(b->d->backend->resample(b->d, &s, x.memory, y.memory));
    ref_resample(&s, x.host, y.host);
    gpu_row(b->g, b->mode->dtype, "%s %dx%d to %dx%d, %d channels", names[kind], s.h, s.w, s.to_h,
            s.to_w, c);
    gpu_value(b->g, "y", operand_error(b, &y), b->mode->op);
    gpu_row_end(b->g);
    drop_all(b, 2, (struct operand *[]){&x, &y});
}

static void check_resamples(struct bench *b) {
    for (int kind = 0; kind < 4; kind++) {
        check_resample(b, (enum resample_kind)kind, 9, 13, 3);
        check_resample(b, (enum resample_kind)kind, 10, 5, 40);
        if (!b->g->small)
            check_resample(b, (enum resample_kind)kind, 66, 66, 128);
    }
}

static void check_sample(struct bench *b, bool border, bool accumulate, int h, int c) {
    const struct backend *k = b->d->backend;
    int count = 40, pad = 2, ids[80], w = h - 1;
    int pixels = border ? (h + 2 * pad) * (w + 2 * pad) : h * w;
    void *memory = bench_workspace(b, sizeof ids);
    struct sample_shape s = {2, h, w, c, pad, count, border, memory};
    struct operand x = operand_in(b, map(2, h, w, c), pad);
    struct operand dy = operand_in(b, map(2, count, 1, c), 0), y = operand_out(b, dy.shape, 0);
    struct operand dx = accumulate ? operand_in(b, x.shape, pad) : operand_out(b, x.shape, pad);

    for (int i = 0; i < 80; i++) // with repeats
        ids[i] = (int)rng_below(b->g->seed, RNG_TEST, b->drawn++, 0, (uint64_t)pixels) / 3 * 3;
    bench_must(k->copy_in(b->d, memory, ids, sizeof ids));
    bench_must(k->sample_forward(b->d, &s, x.memory, y.memory));
    bench_must(k->sample_backward(b->d, &s, dy.memory, accumulate, dx.memory));
    ref_sample(&s, ids, x.host, y.host);
    ref_sample_backward(&s, ids, dy.host, dx.host);
    gpu_row(b->g, b->mode->dtype, "patches of %dx%dx%d%s%s", h, w, c,
            border ? ", of its border" : "", accumulate ? ", added" : "");
    gpu_value(b->g, "y", operand_error(b, &y), 0);
    gpu_value(b->g, "dx", operand_error(b, &dx), b->mode->op);
    gpu_row_end(b->g);
    k->memory_free(b->d, memory);
    drop_all(b, 4, (struct operand *[]){&x, &dy, &y, &dx});
}

// Of a tensor that goes to the host as it is, and back from n places into another tensor.
static double different_elements(struct bench *b, const struct operand *in, void *shared) {
    const struct backend *k = b->d->backend;
    struct operand back = operand_out(b, in->shape, 0);
    size_t each = device_image_bytes(b->d, &in->shape, PIXELS_NATIVE) / (size_t)in->shape.n;
    const void **pictures = xcalloc((size_t)in->shape.n, sizeof *pictures);
    double different = 0;

    for (int i = 0; i < in->shape.n; i++)
        pictures[i] = (const char *)shared + (size_t)i * each;
    bench_must(k->image_out(b->d, &in->shape, PIXELS_NATIVE, in->memory, shared));
    bench_must(device_wait(b->d));
    bench_must(k->images_in(b->d, &in->shape, PIXELS_NATIVE, pictures, back.memory));
    operand_fetch(b, &back, back.host);
    for (size_t i = 0; i < in->count; i++)
        different += back.host[i] != in->host[i];
    free(pictures);
    operand_drop(b, &back);
    return different;
}

// Bytes or floats in, floats out.
static void check_pictures(struct bench *b, enum pixel_type type, int n, int c) {
    const struct backend *k = b->d->backend;
    struct operand in = operand_out(b, map(n, 13, 17, c), 0);
    uint8_t *bytes = xmalloc(in.count);
    float *floats = xcalloc(in.count, sizeof *floats), *out;
    double different = 0;
    void *shared;

    for (size_t i = 0; i < in.count; i++) {
        bytes[i] = (uint8_t)rng_below(b->g->seed, RNG_TEST, b->drawn++, 0, 256);
        floats[i] = (float)bench_draw_float(b);
        in.host[i] = type == PIXELS_BYTE ? ((float)bytes[i] / 255.0f - 0.5f) / 0.5f : floats[i];
    }
    gpu_row(b->g, b->mode->dtype, "pictures of %s, %dx13x17x%d",
            type == PIXELS_BYTE ? "bytes" : "floats", n, c);
    bench_must(k->image_in(b->d, &in.shape, type,
                           type == PIXELS_BYTE ? (void *)bytes : (void *)floats, in.memory));
    memset(bytes, 0xff, in.count); // the source has been read
    memset(floats, 0xff, in.count * sizeof *floats);
    gpu_value(b->g, "in", operand_error(b, &in), b->d->element_bytes == 4 ? 0 : b->mode->op);
    operand_fetch(b, &in, in.host);
    bench_must(k->shared_new(b->d, in.count * sizeof(float), &shared));
    out = shared;
    memset(out, 0xff, in.count * sizeof(float));
    bench_must(k->image_out(b->d, &in.shape, PIXELS_FLOAT, in.memory, out));
    bench_must(device_wait(b->d));
    for (size_t i = 0; i < in.count; i++)
        different += out[i] != (float)in.host[i];
    gpu_value(b->g, "out, different", different, 0);
    gpu_value(b->g, "elements, different", different_elements(b, &in, out), 0);
    gpu_row_end(b->g);
    k->shared_free(b->d, shared);
    free(bytes);
    free(floats);
    operand_drop(b, &in);
}

// From the host, from tensor to tensor, to the host; of any size.
static void check_copies(struct bench *b, size_t bytes) {
    const struct backend *k = b->d->backend;
    char *from = xmalloc(bytes), *to = xcalloc(bytes, 1);
    void *first = bench_workspace(b, bytes), *second = bench_workspace(b, bytes);
    double different = 0;

    for (size_t i = 0; i < bytes; i++)
        from[i] = (char)rng_below(b->g->seed, RNG_TEST, b->drawn++, 0, 256);
    bench_must(k->copy_in(b->d, first, from, bytes));
    bench_must(k->copy(b->d, second, first, bytes));
    bench_must(k->copy_out(b->d, to, second, bytes));
    for (size_t i = 0; i < bytes; i++)
        different += from[i] != to[i];
    gpu_row(b->g, b->mode->dtype, "copies of %zu bytes, in, on, out", bytes);
    gpu_value(b->g, "different", different, 0);
    gpu_row_end(b->g);
    k->memory_free(b->d, first);
    k->memory_free(b->d, second);
    free(from);
    free(to);
}

void gpu_heads(struct bench *b) {
    check_concat(b, 3, 3, ACT_NONE);
    check_concat(b, 8, 16, ACT_RELU);
    check_concat(b, 64, 1, ACT_NONE);
    check_concat(b, 3, 20, ACT_RELU);
    for (int front = 0; front <= 9; front += 3)
        check_mix(b, front);
    check_flip(b, 0);
    check_flip(b, 1);
    check_resamples(b);
    for (int i = 0; i < 8; i++)
        check_sample(b, i & 1, i & 2, i & 4 ? 40 : 6, i & 4 ? 20 : 3);
    for (int c = 1; c <= 20; c += c == 1 ? 2 : 17) {
        check_pictures(b, PIXELS_BYTE, 2, c);
        check_pictures(b, PIXELS_FLOAT, 3, c);
    }
    check_copies(b, 1);
    check_copies(b, 100003);
}
