#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define ROWS 6 // 12 sums, 2 of the panel, 1 broadcast: of 16 registers
#define OUTER_ROWS 4
#define OUTER_VECTORS 3
#define TARGET __attribute__((target("avx2,fma")))
#define FMA(x, y, z) _mm256_fmadd_ps(x, y, z)
#define KERNELS cpu_wino_avx2
#define NAME "avx2"
#include "cpu_wino_simd.h"
#endif
