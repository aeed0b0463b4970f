#include "image/resample_taps.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"

enum {
    KEPT = 6,          // tables cached by a thread: most data sets have few sizes
    TAPS_SMALL = 1024, // of an output: 2^12 * 255 * 1024 < 2^31
};

static double cubic(double t) {
    const double a = -0.5;
    t = fabs(t);
    if (t < 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2)
        return (((t - 5) * t + 8) * t - 4) * a;
    return 0;
}

static int32_t fixed(double w) {
    double scaled = w * (1 << TAPS_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

struct window {
    double center, inverse;
    int first, count;
};

static struct window window_of(const struct taps *t, int i) {
    double scale = (double)t->in / t->out, stretch = MAX(scale, 1.0), support = 2 * stretch;
    struct window w = {.center = (i + 0.5) * scale, .inverse = 1 / stretch};
    if (t->in == t->out) {
        w.first = i;
        w.count = 1;
        return w;
    }
    w.first = MAX(0, (int)(w.center - support + 0.5));
    w.count = MIN(t->in, (int)(w.center + support + 0.5)) - w.first;
    return w;
}

// Writes the weights of a window; element 0 of the result belongs to input `first`.
static void weigh(const struct taps *t, const struct window *w, int first, double *scratch,
                  int32_t *ret) {
    double sum = 0;
    ret += w->first - first;
    if (t->in == t->out) {
        *ret = 1 << TAPS_BITS;
        return;
    }
    for (int k = 0; k < w->count; k++) {
        scratch[k] = cubic((k + w->first - w->center + 0.5) * w->inverse);
        sum += scratch[k];
    }
    for (int k = 0; k < w->count; k++)
        ret[k] = fixed(scratch[k] / sum);
}

// The remainder of v modulo 2^bits nearest to 0; v becomes the quotient.
static int32_t low_part(int32_t *v, int bits) {
    int32_t half = 1 << (bits - 1);
    int32_t low = ((*v + half) & ((1 << bits) - 1)) - half;
    *v = (*v - low) / (1 << bits);
    return low;
}

// Weight k of a quad in the kernels' forms. False if one does not hold it.
static bool split(int32_t w, int k, int8_t *digits, int16_t *halves) {
    int32_t high = w, top = w;
    digits[k] = (int8_t)low_part(&top, 8);
    digits[4 + k] = (int8_t)low_part(&top, 8);
    digits[8 + k] = (int8_t)top;
    int place = k % 2 * 2 + k / 2; // even ones, then odd ones
    halves[4 + place] = (int16_t)low_part(&high, 12);
    halves[place] = (int16_t)high;
    return top >= INT8_MIN && top <= INT8_MAX && high >= INT16_MIN && high <= INT16_MAX;
}

static void fill_taps(struct taps *t) {
    int row = t->quads * 4, last = (t->in + 3) / 4 - t->quads;
    double *scratch = xmalloc((size_t)row * sizeof *scratch);
    t->small = row <= TAPS_SMALL;
    for (int i = 0; i < t->out; i++) {
        struct window w = window_of(t, i);
        int32_t *weights = t->weights + (size_t)i * (size_t)row;
        t->first_quad[i] = MIN(w.first / 4, last);
        weigh(t, &w, t->first_quad[i] * 4, scratch, weights);
        for (int k = 0; k < row; k++) {
            size_t quad = (size_t)i * (size_t)t->quads + (size_t)k / 4;
            t->small &= split(weights[k], k % 4, t->digits + quad * 12, t->halves + quad * 8);
        }
    }
    free(scratch);
}

static int quads_needed(const struct taps *t) {
    int most = 1;
    for (int i = 0; i < t->out; i++) {
        struct window w = window_of(t, i);
        most = MAX(most, (w.first + w.count + 3) / 4 - w.first / 4);
    }
    return most;
}

static void taps_init(struct taps *t, int in, int out) {
    size_t n = (size_t)out;
    *t = (struct taps){.in = in, .out = out};
    t->quads = quads_needed(t);
    size_t quads = n * (size_t)t->quads;
    t->first_quad = xmalloc(n * sizeof *t->first_quad);
    t->weights = xcalloc(quads * 4, sizeof *t->weights);
    t->digits = xcalloc(quads * 12, sizeof *t->digits);
    t->halves = xcalloc(quads * 8, sizeof *t->halves);
    fill_taps(t);
}

static void taps_fini(struct taps *t) {
    free(t->first_quad);
    free(t->weights);
    free(t->digits);
    free(t->halves);
    *t = (struct taps){0};
}

// ---- the cache of a thread ----

struct kept {
    struct taps taps[KEPT];
    uint64_t used[KEPT], now; // the number of the call that lent each
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_kept(void *argument) {
    struct kept *k = argument;
    for (int i = 0; i < KEPT; i++)
        taps_fini(&k->taps[i]);
    free(k);
}

// Thread-specific data of the main thread is not destroyed at exit.
static void free_of_first(void) {
    struct kept *k = pthread_getspecific(key);
    if (k)
        free_kept(k);
    (void)pthread_setspecific(key, NULL);
}

static void make_key(void) {
    if (pthread_key_create(&key, free_kept) || atexit(free_of_first))
        BUG("no thread-specific memory at the start");
}

const struct taps *taps_get(int in, int out) {
    (void)pthread_once(&once, make_key); // fails only for a broken control word
    struct kept *k = pthread_getspecific(key);
    if (!k) {
        k = xcalloc(1, sizeof *k);
        if (pthread_setspecific(key, k))
            BUG("no memory for a thread's own");
    }
    int oldest = 0, i = 0;
    for (; i < KEPT && (k->taps[i].in != in || k->taps[i].out != out); i++)
        if (k->used[i] < k->used[oldest])
            oldest = i;
    if (i == KEPT) {
        i = oldest;
        taps_fini(&k->taps[i]);
        taps_init(&k->taps[i], in, out);
    }
    k->used[i] = ++k->now;
    return &k->taps[i];
}
