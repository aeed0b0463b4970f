// Chooses the vector code by the best instruction set, which PIPELINE_INSTRUCTIONS can limit.
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
