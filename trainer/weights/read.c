// Reading numbers: any type to float32, any strides to row-major, in small pieces.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "weights/file.h"

#define PIECE 2048 // elements

// ---- types ----

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction.
static float from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023;
    // Infinity or NaN: kept, so that the check for finite numbers sees it.
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | fraction << 13);
    // Zero and subnormals: fraction times 2^-24.
    if (exponent == 0) {
        float small = (float)fraction * 0x1p-24f;
        return sign ? -small : small;
    }
    // 112 = 127 - 15, the difference of the exponents' biases.
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static void to_floats(enum weights_type type, const void *bytes, size_t n, float *ret) {
    switch (type) {
    case WEIGHTS_F32:
        memcpy(ret, bytes, n * sizeof *ret);
        break;
    case WEIGHTS_F16:
        for (size_t i = 0; i < n; i++)
            ret[i] = from_half(((const uint16_t *)bytes)[i]);
        break;
    case WEIGHTS_BF16:
        for (size_t i = 0; i < n; i++)
            // bfloat16 is the upper half of a float32.
            ret[i] = from_bits((uint32_t)((const uint16_t *)bytes)[i] << 16);
        break;
    case WEIGHTS_F64:
        for (size_t i = 0; i < n; i++)
            ret[i] = (float)((const double *)bytes)[i];
        break;
    case WEIGHTS_I64:
        for (size_t i = 0; i < n; i++)
            ret[i] = (float)((const int64_t *)bytes)[i];
        break;
    }
}

// ---- places ----

// The axes of an entry by descending stride. Axes of size 1 are left out.
struct axes {
    int n;
    uint64_t size[WEIGHTS_RANK_MAX], from[WEIGHTS_RANK_MAX], to[WEIGHTS_RANK_MAX];
};

static struct axes axes_of(const struct weights_entry *e) {
    struct axes a = {0};
    uint64_t to = 1;
    for (int i = e->tensor.rank - 1; i >= 0; to *= (uint64_t)e->tensor.dims[i], i--) {
        if (e->tensor.dims[i] == 1)
            continue;
        int k = a.n++;
        // Insertion sort of at most 4 axes.
        for (; k && a.from[k - 1] < (uint64_t)e->strides[i]; k--) {
            a.size[k] = a.size[k - 1];
            a.from[k] = a.from[k - 1];
            a.to[k] = a.to[k - 1];
        }
        a.size[k] = (uint64_t)e->tensor.dims[i];
        a.from[k] = (uint64_t)e->strides[i];
        a.to[k] = to;
    }
    return a;
}

static uint64_t span_of(const struct axes *a) {
    uint64_t span = 1;
    for (int i = 0; i < a->n; i++)
        // pth.c has checked that the span fits its storage: no overflow.
        span += (a->size[i] - 1) * a->from[i];
    return span;
}

// The row-major index of the element at `place` in the span. False: a gap between elements.
static bool place_of(const struct axes *a, uint64_t place, uint64_t *ret_to) {
    uint64_t to = 0;
    for (int i = 0; i < a->n; i++) {
        // Strides are not 0 here: pth.c refuses shared elements, and other formats are row-major.
        uint64_t k = place / a->from[i];
        // The largest stride comes first, so the quotient is the index along that axis.
        if (k >= a->size[i])
            return false;
        place -= k * a->from[i];
        to += k * a->to[i];
    }
    *ret_to = to;
    return place == 0;
}

// ---- pieces ----

typedef void put_function(void *ret, uint64_t to, enum weights_type type, const void *bytes,
                          size_t n);

static void put_floats(void *ret, uint64_t to, enum weights_type type, const void *bytes,
                       size_t n) {
    to_floats(type, bytes, n, (float *)ret + to);
}

static void put_integers(void *ret, uint64_t to, enum weights_type type, const void *bytes,
                         size_t n) {
    (void)type; // checked
    memcpy((int64_t *)ret + to, bytes, n * sizeof(int64_t));
}

static bool is_plain(const struct axes *a) {
    for (int i = 0; i < a->n; i++)
        if (a->from[i] != a->to[i])
            return false;
    return true;
}

static int read_span(struct weights *w, const struct weights_entry *e, put_function *put,
                     void *ret) {
    // Aligned for the casts to double and int64_t in to_floats.
    _Alignas(8) uint8_t piece[PIECE * 8];
    struct axes a = axes_of(e);
    size_t size = (size_t)weights_element_bytes(e->tensor.type);
    uint64_t span = e->tensor.count ? span_of(&a) : 0, to;
    bool plain = is_plain(&a);
    int err = w->format->begin(w->file, e->storage, e->offset * size);
    for (uint64_t at = 0; at < span && !err; at += PIECE) {
        size_t n = MIN(span - at, (uint64_t)PIECE);
        err = w->format->read(w->file, piece, n * size);
        if (err)
            break;
        // The file is read in its own order, forward only: a deflated entry cannot seek.
        if (plain)
            put(ret, at, e->tensor.type, piece, n);
        for (size_t i = 0; i < n && !plain; i++)
            if (place_of(&a, at + i, &to))
                put(ret, to, e->tensor.type, piece + i * size, 1);
    }
    // The checksum counts only if reading went well; the first error wins.
    int end = w->format->end(w->file);
    return err ? err : end;
}

static const struct weights_entry *entry_of(const struct weights_tensor *t) {
    // Every tensor that callers hold is inside an entry of the list.
    return (const struct weights_entry *)((const char *)t - offsetof(struct weights_entry, tensor));
}

int weights_read(struct weights *w, const struct weights_tensor *t, float *ret_values) {
    int err = read_span(w, entry_of(t), put_floats, ret_values);
    for (size_t i = 0; i < t->count && !err; i++)
        if (!isfinite(ret_values[i]))
            err = err_set(ERR_FORMAT, "'%s': element %zu of %s is not finite", w->path, i, t->name);
    return err;
}

int weights_read_integers(struct weights *w, const struct weights_tensor *t, int64_t *ret_values) {
    if (t->type != WEIGHTS_I64)
        BUG("%s is of no integer type", t->name);
    return read_span(w, entry_of(t), put_integers, ret_values);
}
