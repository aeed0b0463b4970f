// wino_plan - what cpu/wino.c and cpu/wino_filters.c share. Private to them.
#ifndef CPU_WINO_PLAN_H
#define CPU_WINO_PLAN_H

#include "cpu/simd.h"
#include "cpu/wino.h"

// Points of one tile lie apart by a multiple of the cache's way size without this.
#define CPU_WINO_SKEW 80

// Inputs that are taken together: a panel of so many, two vectors wide, stays in the first-level
// cache while all tiles pass by, and at all points in the second-level one.
#define CPU_WINO_PART 128

struct cpu_wino_plan {
    const struct cpu_wino *s;
    const struct cpu_kernels *kernels;
    const struct cpu_wino_transforms *f;
    int r, a, points;             // sides of filter and input tile
    int rows, cols, tiles, chunk; // tiles: rows * cols of each picture
    int panel;                    // tiles of a panel
    bool few;                     // filters outweigh the tiles
    int c_blocks, k_blocks;       // vectors
    ptrdiff_t block;              // floats from channel block to channel block
    ptrdiff_t v_panel, z_panel;   // floats from panel to panel
    ptrdiff_t v_point, z_point;   // floats from point to point
    ptrdiff_t du_point, part_point;
};

struct cpu_wino_plan cpu_wino_plan_of(const struct cpu_wino *s);
int cpu_wino_ceil(int a, int b);

// Where a tile of a transformed tensor lies from its point's beginning.
static inline ptrdiff_t cpu_wino_tile_at(const struct cpu_wino_plan *p, ptrdiff_t panel, int tile) {
    return tile / p->panel * panel + (ptrdiff_t)(tile % p->panel) * p->kernels->lanes;
}

// The filters for each direction, [outputs][inputs][taps] by strides.
struct cpu_wino_panel cpu_wino_forward_filters(const struct cpu_wino_plan *p, const float *w);
struct cpu_wino_panel cpu_wino_backward_filters(const struct cpu_wino_plan *p, const float *w);

// Transforms all of them; called by all threads of a team.
void cpu_wino_transform_filters(const struct cpu_wino_plan *p, const struct cpu_wino_panel *all,
                                float *ret_u);

// out = in x U at every point; `outputs` and `inputs` are channels. Without `u` it is made of
// `filters` by parts, for few tiles: `parts` has points * part_point for each thread.
struct cpu_wino_matrix {
    const float *in, *u;
    float *out, *parts;
    ptrdiff_t in_point, in_panel, out_point, out_panel;
    int outputs, inputs;
    struct cpu_wino_panel filters;
};

// For `count` tiles; called by all threads of a team.
void cpu_wino_multiply(const struct cpu_wino_plan *p, int count, const struct cpu_wino_matrix *x);

#endif
