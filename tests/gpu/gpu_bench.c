// Operands of single ops: their random numbers, poison, guards and errors.
#include "gpu/gpu_bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

enum { GUARD = 256 }; // bytes

void bench_must(int err) {
    if (err)
        BUG("%s", err_text());
}

// x with all but `bits` low bits of its float, to nearest even.
static float without_low_bits(float x, int bits) {
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    u += (UINT32_C(1) << (bits - 1)) - 1 + (u >> bits & 1);
    u &= ~((UINT32_C(1) << bits) - 1);
    memcpy(&x, &u, sizeof x);
    return x;
}

static float rounded(const struct bench *b, float x) {
    if (b->d->element_bytes != sizeof x)
        return without_low_bits(x, 16);
    return b->rounds_to_tf32 ? without_low_bits(x, 13) : x;
}

double bench_draw_float(struct bench *b) {
    return (float)(2 * rng_uniform(b->g->seed, RNG_TEST, b->drawn++, 0) - 1);
}

double bench_draw(struct bench *b) {
    return rounded(b, (float)bench_draw_float(b));
}

static void poison(struct bench *b, void *memory, size_t bytes) {
    char *all = xmalloc(bytes);

    memset(all, 0xff, bytes);
    bench_must(b->d->backend->copy_in(b->d, memory, all, bytes));
    free(all);
}

// Memory with a guard behind it, all of it NaN in every type.
static void *poisoned(struct bench *b, size_t bytes) {
    void *memory;

    bench_must(b->d->backend->memory_new(b->d, bytes + GUARD, &memory));
    poison(b, memory, bytes + GUARD);
    return memory;
}

void *bench_workspace(struct bench *b, size_t bytes) {
    enum { POISONED = 32 << 20 }; // bytes; some engines want hundreds of MiB
    void *memory;

    if (bytes <= POISONED)
        return poisoned(b, bytes);
    bench_must(b->d->backend->memory_new(b->d, bytes, &memory));
    poison(b, memory, POISONED);
    return memory;
}

// What lies at `memory`, freed with free(), and whether the guard behind it is untouched.
static char *fetch(struct bench *b, const void *memory, size_t bytes, bool *ret_intact) {
    char *all = xmalloc(bytes + GUARD);

    bench_must(b->d->backend->copy_out(b->d, all, memory, bytes + GUARD));
    *ret_intact = true;
    for (size_t i = bytes; i < bytes + GUARD; i++)
        *ret_intact &= (unsigned char)all[i] == 0xff;
    return all;
}

// ---- elements ----

static double element(const struct bench *b, const char *memory, size_t i) {
    uint16_t half;
    uint32_t bits;
    float x;

    if (b->d->element_bytes == sizeof x) {
        memcpy(&x, memory + i * sizeof x, sizeof x);
        return x;
    }
    memcpy(&half, memory + i * sizeof half, sizeof half);
    bits = (uint32_t)half << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void set_element(const struct bench *b, char *memory, size_t i, float x) {
    uint32_t bits;
    uint16_t half;

    if (b->d->element_bytes == sizeof x) {
        memcpy(memory + i * sizeof x, &x, sizeof x);
        return;
    }
    memcpy(&bits, &x, sizeof bits);
    half = (uint16_t)(bits >> 16); // x has been rounded
    memcpy(memory + i * sizeof half, &half, sizeof half);
}

struct operand operand_out(struct bench *b, struct tensor_shape s, int pad) {
    struct operand o = {.shape = s, .pad = pad};

    o.pixels = (size_t)s.n * (size_t)(s.h + 2 * pad) * (size_t)(s.w + 2 * pad);
    o.count = o.pixels * (size_t)s.c;
    o.bytes = device_tensor_bytes(b->d, &s, pad);
    o.host = xcalloc(o.count, sizeof *o.host);
    o.memory = poisoned(b, o.bytes);
    return o;
}

void operand_poison(struct bench *b, struct operand *o) {
    poison(b, o->memory, o->bytes);
}

void operand_send(struct bench *b, struct operand *o) {
    size_t c = (size_t)o->shape.c, stored = (size_t)device_channels(b->d, o->shape.c);
    char *memory = xcalloc(o->bytes, 1);

    for (size_t i = 0; i < o->count; i++) {
        float x = rounded(b, (float)o->host[i]);
        o->host[i] = x;
        set_element(b, memory, i / c * stored + i % c, x);
    }
    bench_must(b->d->backend->copy_in(b->d, o->memory, memory, o->bytes));
    free(memory);
}

struct operand operand_in(struct bench *b, struct tensor_shape s, int pad) {
    struct operand o = operand_out(b, s, pad);

    for (size_t i = 0; i < o.count; i++)
        o.host[i] = bench_draw(b);
    operand_send(b, &o);
    return o;
}

void operand_drop(struct bench *b, struct operand *o) {
    free(o->host);
    b->d->backend->memory_free(b->d, o->memory);
    *o = (struct operand){0};
}

// ||x - r|| / ||r||, or a twentieth of the worst number's error; r's root mean square counts as
// `least` at least.
static double error_of(const double *x, const double *r, size_t count, double least) {
    double wrong = 0, size = 0, worst = 0;

    for (size_t i = 0; i < count; i++) {
        wrong += (x[i] - r[i]) * (x[i] - r[i]);
        size += r[i] * r[i];
    }
    double rms = fmax(least, sqrt(size / (double)count)) + 1e-300;
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs(x[i] - r[i]) / (rms + fabs(r[i])));
    wrong = sqrt(wrong / (double)count) / rms;
    return isnan(wrong) ? NAN : fmax(wrong, worst / 20);
}

// False where a surplus channel is not zero.
static bool decode(const struct bench *b, const struct operand *o, const char *memory,
                   double *ret) {
    size_t c = (size_t)o->shape.c, stored = (size_t)device_channels(b->d, o->shape.c);
    bool clean = true;

    for (size_t p = 0; p < o->pixels; p++)
        for (size_t k = 0; k < stored; k++) {
            double x = element(b, memory, p * stored + k);
            if (k < c)
                ret[p * c + k] = x;
            else
                clean &= x == 0;
        }
    return clean;
}

void operand_fetch(struct bench *b, const struct operand *o, double *ret) {
    bool intact;
    char *memory = fetch(b, o->memory, o->bytes, &intact);

    (void)decode(b, o, memory, ret); // operand_error looks at the surplus channels
    free(memory);
}

double operand_error(struct bench *b, const struct operand *o) {
    double *x = xcalloc(o->count, sizeof *x), error;
    bool intact;
    char *memory = fetch(b, o->memory, o->bytes, &intact);

    intact &= decode(b, o, memory, x);
    error = intact ? error_of(x, o->host, o->count, 0) : INFINITY;
    free(memory);
    free(x);
    return error;
}

// ---- floats ----

struct floats floats_out(struct bench *b, size_t count) {
    struct floats f = {.count = count, .host = xcalloc(count, sizeof(double))};

    f.memory = poisoned(b, count * sizeof(float));
    return f;
}

void floats_poison(struct bench *b, struct floats *f) {
    poison(b, f->memory, f->count * sizeof(float));
}

void floats_send(struct bench *b, struct floats *f) {
    float *x = xmalloc(f->count * sizeof *x);

    for (size_t i = 0; i < f->count; i++)
        f->host[i] = x[i] = (float)f->host[i];
    bench_must(b->d->backend->copy_in(b->d, f->memory, x, f->count * sizeof *x));
    free(x);
}

struct floats floats_in(struct bench *b, size_t count) {
    struct floats f = floats_out(b, count);

    for (size_t i = 0; i < count; i++)
        f.host[i] = bench_draw_float(b);
    floats_send(b, &f);
    return f;
}

void floats_drop(struct bench *b, struct floats *f) {
    free(f->host);
    b->d->backend->memory_free(b->d, f->memory);
    *f = (struct floats){0};
}

double floats_error(struct bench *b, const struct floats *f) {
    double *x = xcalloc(f->count, sizeof *x), error;
    bool intact;
    char *memory = fetch(b, f->memory, f->count * sizeof(float), &intact);

    for (size_t i = 0; i < f->count; i++)
        x[i] = ((const float *)(void *)memory)[i];
    error = intact ? error_of(x, f->host, f->count, f->least) : INFINITY;
    free(memory);
    free(x);
    return error;
}

// ---- sections, losses ----

void bench_section(struct bench *b, struct device_section *section,
                   const struct device_values *values, void (*ops)(struct bench *b, void *context),
                   void *context) {
    const struct backend *k = b->d->backend;
    bool issue;

    bench_must(k->section_begin(section, values, &issue));
    if (issue)
        ops(b, context);
    bench_must(k->section_end(section));
}

double *bench_loss(struct bench *b) {
    void *loss;

    bench_must(b->d->backend->shared_new(b->d, sizeof(double), &loss));
    *(double *)loss = NAN;
    return loss;
}

double bench_loss_error(struct bench *b, double *loss, double want) {
    double got;

    bench_must(device_wait(b->d));
    got = *loss;
    b->d->backend->shared_free(b->d, loss);
    return fabs(got - want) / fmax(fabs(want), 0.1);
}
