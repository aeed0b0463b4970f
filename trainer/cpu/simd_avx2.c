// The vector code of the convolutions for AVX2 with FMA: 8 floats in a vector, 16 registers.
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define ROWS 6 // 12 sums, 2 of the panel, 1 broadcast: of 16 registers
#define OUTER_ROWS 4
#define OUTER_VECTORS 3
#define TARGET __attribute__((target("avx2,fma")))
#define FMA(x, y, z) _mm256_fmadd_ps(x, y, z)
#include "cpu/simd_product.h"
#include "cpu/simd_wino.h"

const struct cpu_kernels cpu_kernels_avx2 = {"avx2",   LANES,    ROWS,    TABLE(2),
                                             TABLE(3), TABLE(4), product, outer};
#endif
