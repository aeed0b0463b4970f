// Four lanes, no instructions beyond the baseline.
#define LANES 4
#define ROWS 6
#define OUTER_ROWS 4
#define OUTER_VECTORS 2
#define TARGET
// Two roundings, so bits differ from those of the other instruction sets.
#define FMA(x, y, z) ((x) * (y) + (z))
#include "cpu/simd_product.h"
#include "cpu/simd_wino.h"

const struct cpu_kernels cpu_kernels_plain = {"plain",  LANES,    ROWS,    TABLE(2),
                                              TABLE(3), TABLE(4), product, outer};
