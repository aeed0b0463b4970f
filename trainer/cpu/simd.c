// Chooses the vector code anew at each call, so that tests can limit the instruction set.
#include "cpu/simd.h"

#include "base/instructions.h"

const struct cpu_kernels *cpu_kernels(void) {
#if defined(__x86_64__)
    if (instructions_best() == INSTRUCTIONS_AVX512)
        return &cpu_kernels_avx512;
    if (instructions_best() == INSTRUCTIONS_AVX2)
        return &cpu_kernels_avx2;
#endif
    return &cpu_kernels_plain;
}
