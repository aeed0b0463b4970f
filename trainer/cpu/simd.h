// simd - the vector code of the convolutions, once per instruction set. For cpu_wino,
// cpu_filter and cpu_narrow only.
//
// Transformed tensors of cpu_wino ("points") hold L = `lanes` channels innermost, one vector:
//
//   V, Z, products   [a*a][tiles / R][channels / L][R][L]    strides: point, panel, block, L
//   U                [a*a][outputs / 2L][inputs][2L]         a panel of two vectors per input
//
// channels rounded up to L (to 2L where they are a panel's columns), the excess zero. R, at most
// `rows`, are the tiles that the product takes at once: it reads a panel from its beginning to its
// end.
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

// A tile's part of a picture [..., c]: of its side, rows from row0 to rows and columns from col0 to
// cols exist. data is where row 0, column 0 would be.
struct cpu_wino_patch {
    float *data;
    ptrdiff_t row; // floats from row to row
    int c, rows, cols, row0, col0;
};

// One tile's place in a transformed tensor.
struct cpu_wino_points {
    float *data;
    ptrdiff_t point, block; // floats from point to point, from channel block to block
};

// The edges of an input gradient's tile that overlap a tile which has been written.
struct cpu_wino_overlap {
    bool left, above, below;
};

// Filters seen as [outputs][inputs][taps] with strides, and where their panel goes.
struct cpu_wino_panel {
    const float *w;
    ptrdiff_t output, input; // floats
    int outputs, inputs;     // that exist: outputs of this panel, inputs in all
    float *u;                // this panel, [a*a] points apart by `point`
    ptrdiff_t point;
};

// out (+)= in x panel: `tiles` rows of blocks * L inputs, a panel [blocks * L][2L], two vectors a
// row. out and panel aligned to vectors.
// The inner kernel of Winograd's forward pass and input gradient, and of narrow convolutions.
struct cpu_product {
    int tiles, blocks;
    const float *in, *panel;
    float *out;
    ptrdiff_t in_tile, in_block, out_tile, out_block; // floats between rows, between vectors
    ptrdiff_t in_ahead; // so far behind `in` lies what the next product reads, 0: unknown
    const float *later; // what is read soon: so many cache lines of it per block
    int later_lines;
    bool add;
};

// out [rows][vectors * L] (+)= sum over tiles of z[tile][row] * v[tile][vectors * L]
// Rows are made in groups: L of them, rounded up, are read from z and written to out. Row i of z
// is at (i / L) * z_block + i % L. Of each `group` tiles one follows another by z_tile and
// v_tile; groups do by z_group and v_group. out is aligned to vectors.
// The inner kernel of all filter gradients.
struct cpu_outer {
    int tiles, group, rows, vectors;
    const float *z, *v;
    float *out;
    ptrdiff_t z_tile, z_block, z_group, v_tile, v_block, v_group, out_row; // floats
    bool add;
    // What is read soon: so many cache lines of each are asked for in the block at hand.
    const float *later_z, *later_v;
    int later_lines;
};

// The linear maps of Winograd's algorithm for one tile size, L channels at a time.
struct cpu_wino_transforms {
    void (*input)(const struct cpu_wino_patch *d, const struct cpu_wino_points *ret_v);
    void (*grad)(const struct cpu_wino_patch *dy, const struct cpu_wino_points *ret_z);
    void (*output)(const struct cpu_wino_points *products, const struct cpu_wino_patch *ret_y);
    void (*input_grad)(const struct cpu_wino_points *products, struct cpu_wino_overlap written,
                       const struct cpu_wino_patch *ret_dx);
    void (*filter)(const struct cpu_wino_panel *p);
    // du [a*a][L], points apart by `point`, to `count` filters, one after the other
    void (*filter_grad)(const float *du, ptrdiff_t point, int count, bool add, float *ret_dw);
};

// One table for each instruction set. All have the same functions and differ in lanes and rows.
struct cpu_kernels {
    const char *name;
    int lanes, rows;                       // rows: tiles that `product` takes at once
    struct cpu_wino_transforms f2, f3, f4; // by m
    void (*product)(const struct cpu_product *p);
    void (*outer)(const struct cpu_outer *p);
};

// The best that this machine runs.
// It is that of instructions_best (base/instructions.h), so a limit there holds here.
const struct cpu_kernels *cpu_kernels(void);

// Each is defined by its simd_<instruction set>.c.
extern const struct cpu_kernels cpu_kernels_plain;
#if defined(__x86_64__)
extern const struct cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512;
#endif

#endif
