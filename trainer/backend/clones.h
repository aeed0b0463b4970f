// clones - one C function compiled for several instruction sets, chosen at each call.
//
//   CPU_CLONED(void, row_add, (int count, const float *x, float *y), (count, x, y)) {
//       for (int i = 0; i < count; i++)
//           y[i] += x[i];
//   }
//
// defines a static function, vectorized for AVX-512, AVX2 and the baseline. Each call takes the set
// of instructions_best. It is for leaf loops over channels. OpenMP inside is not possible: the
// compiler outlines such a body and does not clone it. All sets give the same bits, because the
// compiler neither contracts nor reorders (-ffp-contract=off). GCC's target_clones chooses before
// main, so no limit could be set, and no test could run the other sets.
#ifndef CLONES_H
#define CLONES_H

#include "base/instructions.h"

#if defined(__x86_64__)
#define CPU_CLONED(type, name, parameters, arguments)                                              \
    static inline __attribute__((always_inline)) type name##_body parameters;                      \
    __attribute__((target("avx512f"))) static type name##_avx512 parameters {                      \
        return name##_body arguments;                                                              \
    }                                                                                              \
    __attribute__((target("avx2"))) static type name##_avx2 parameters {                           \
        return name##_body arguments;                                                              \
    }                                                                                              \
    static type name##_plain parameters {                                                          \
        return name##_body arguments;                                                              \
    }                                                                                              \
    static type name parameters {                                                                  \
        enum instructions best = instructions_best();                                              \
        return best == INSTRUCTIONS_AVX512 ? name##_avx512 arguments                               \
               : best == INSTRUCTIONS_AVX2 ? name##_avx2 arguments                                 \
                                           : name##_plain arguments;                               \
    }                                                                                              \
    static inline __attribute__((always_inline)) type name##_body parameters
#else
#define CPU_CLONED(type, name, parameters, arguments) static type name parameters
#endif

#endif
