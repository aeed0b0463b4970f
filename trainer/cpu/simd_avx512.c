// The vector code of the convolutions for AVX-512: 16 floats in a vector, 32 registers.
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 16
#define ROWS 12 // 24 sums, 2 of the panel, 1 broadcast: of 32 registers
#define OUTER_ROWS 8
#define OUTER_VECTORS 3
#define TARGET __attribute__((target("avx512f")))
#define FMA(x, y, z) _mm512_fmadd_ps(x, y, z)
// A masked load does not touch the lanes that it leaves out, not even beyond a page.
#define LOAD_SOME(x, n, v) *(v) = (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), x)
#include "cpu/simd_product.h"
#include "cpu/simd_wino.h"

const struct cpu_kernels cpu_kernels_avx512 = {"avx512", LANES,    ROWS,    TABLE(2),
                                               TABLE(3), TABLE(4), product, outer};
#endif
