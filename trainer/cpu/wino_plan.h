// wino_plan - what cpu/wino.c and cpu/wino_filters.c share. Private to them.
#ifndef CPU_WINO_PLAN_H
#define CPU_WINO_PLAN_H

#include "cpu/simd.h"
#include "cpu/wino.h"

// Points of one tile lie apart by a multiple of the cache's way size without this.
#define CPU_WINO_SKEW 80

// Floats of a panel that a thread transforms when it is needed: at all points in the second-level
// cache, at one in the first. From point to point:
#define CPU_WINO_PART 4096
#define CPU_WINO_PART_POINT (CPU_WINO_PART + CPU_WINO_SKEW)

struct cpu_wino_plan {
    const struct cpu_wino *s;
    const struct cpu_kernels *kernels;
    const struct cpu_wino_transforms *f;
    int r, a, points;             // sides of filter and input tile
    int rows, cols, tiles, chunk; // tiles: rows * cols of each picture
    int c_blocks, k_blocks;       // vectors
    ptrdiff_t block;              // floats between channel blocks of V, Z and products
    ptrdiff_t v_point, z_point;   // floats between points
    int blocks_out, blocks_in;    // of the filter gradient
};

struct cpu_wino_plan cpu_wino_plan_of(const struct cpu_wino *s);
int cpu_wino_ceil(int a, int b);

// The filters for each direction, [outputs][inputs][taps] by strides.
struct cpu_wino_panel cpu_wino_forward_filters(const struct cpu_wino_plan *p, const float *w);
struct cpu_wino_panel cpu_wino_backward_filters(const struct cpu_wino_plan *p, const float *w);

// out = in x U at every point; `outputs` and `inputs` are channels. Without `u` it is made of
// `filters`, by parts: `parts` has points * CPU_WINO_PART_POINT for each thread.
struct cpu_wino_matrix {
    const float *in, *u;
    float *out, *parts;
    ptrdiff_t in_point, out_point;
    int outputs, inputs;
    struct cpu_wino_panel filters;
};

// For `count` tiles; called by all threads of a team.
void cpu_wino_multiply(const struct cpu_wino_plan *p, int count, const struct cpu_wino_matrix *x);

#endif
