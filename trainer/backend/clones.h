// clones - one C source, several instruction sets, chosen when it is called.
//
//   CPU_CLONED(void, row_add, (int count, const float *x, float *y), (count, x, y)) {
//       for (int i = 0; i < count; i++)
//           y[i] += x[i];
//   }
//
// defines a static function that the compiler has vectorized for AVX-512, AVX2 and the baseline;
// each call takes what instructions_best says. It is for leaf loops over channels: no OpenMP inside
// (the outlined body would not be compiled again). Since nothing is contracted or reordered
// (-ffp-contract=off), all sets give the same bits. GCC's target_clones does the same, but decides
// before main, where no limit can be set and no test can look at the others.
#ifndef CPU_SIMD_H
#define CPU_SIMD_H

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
