#include "cpu_kernels.h"

const struct cpu_kernels *cpu_kernels(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return &cpu_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &cpu_kernels_avx2;
#endif
    return &cpu_kernels_plain;
}
