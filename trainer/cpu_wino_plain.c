// Four lanes, no instructions beyond the baseline.
#define LANES 4
#define ROWS 6
#define OUTER_ROWS 4
#define OUTER_VECTORS 2
#define TARGET
#define FMA(x, y, z) ((x) * (y) + (z))
#define KERNELS cpu_wino_plain
#define NAME "plain"
#include "cpu_wino_simd.h"
