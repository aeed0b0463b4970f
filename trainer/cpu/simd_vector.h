// simd_vector - vectors of LANES floats, for one cpu/simd_<instruction set>.c, which defines
//
//   LANES          floats of a vector           ROWS            tiles of a product kernel
//   TARGET         function attribute           OUTER_ROWS      rows and vectors of an outer
//   kernel; FMA(x, y, z)   x * y + z                    OUTER_VECTORS     OUTER_ROWS divides LANES
//   LOAD_SOME      load_some for 0 <= count <= LANES, where one instruction does it; may be left
//   out
//
// and includes cpu/simd_wino.h and cpu/simd_product.h, which include this. Vector types are
// compiled for the target of the function that uses them, so every function has TARGET, and helpers
// are inlined.
#ifndef CPU_VECTOR_H
#define CPU_VECTOR_H

#include <string.h>

#include "base/util.h"
#include "cpu/simd.h"

// vec is aligned to its size. vec_anywhere is for rows that begin at any float.
typedef float vec __attribute__((vector_size(LANES * 4), may_alias));
typedef float vec_anywhere __attribute__((vector_size(LANES * 4), may_alias, aligned(4)));

// f(lane, x) of each lane, for a constant.
#define LANES_4_(f, at, x) f(at, x), f(at + 1, x), f(at + 2, x), f(at + 3, x)
#define LANES_8_(f, at, x) LANES_4_(f, at, x), LANES_4_(f, at + 4, x)
#if LANES == 16
#define EACH_LANE(f, x) LANES_8_(f, 0, x), LANES_8_(f, 8, x)
#elif LANES == 8
#define EACH_LANE(f, x) LANES_8_(f, 0, x)
#else
#define EACH_LANE(f, x) LANES_4_(f, 0, x)
#endif

// Helpers take pointers to vectors. Only inlined they leave these in registers.
#define INLINE TARGET static inline __attribute__((always_inline))
enum { PANEL = 2 * LANES, LINE = 16 }; // LINE: floats of a cache line

// gcc folds a load into each FMA that uses it, which loads the value several times over.
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

// In all lanes; subtracting +0 changes no value.
#define BROADCAST(x) ((x) - (vec){0})

// The first `count` lanes from memory, the rest 0.
INLINE void load_some(const float *x, int count, vec *ret) {
    if (count >= LANES) {
        *ret = *(const vec_anywhere *)x;
        return;
    }
    float lanes[LANES] = {0};
    for (int i = 0; i < count; i++)
        lanes[i] = x[i];
    memcpy(ret, lanes, sizeof lanes);
}

#ifndef LOAD_SOME
#define LOAD_SOME load_some
#endif

// The first `count` lanes to memory. The floats behind them are not touched.
INLINE void store_some(const vec *v, int count, float *x) {
    if (count >= LANES) {
        *(vec_anywhere *)x = *v;
        return;
    }
    float lanes[LANES];
    memcpy(lanes, v, sizeof lanes);
    for (int i = 0; i < count; i++)
        x[i] = lanes[i];
}

#endif
