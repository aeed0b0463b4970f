// wino - 3x3 and 4x4 convolutions of stride 1 with fewer multiplications (Winograd's
// algorithm).
//
// x [N,H+r-1-2p,W+r-1-2p,C] -> y [N,H,W,K], r = 3 or 4, p zeros around x (0 if it is padded
// already), any C, K, H, W >= 1; fast when C and K are multiples of 16 and H, W of the tile. All
// tensors float, channels innermost; filters in the master layout [K,C,r,r].
//
// F(m x m, 3 x 3) computes a tile of m x m outputs from a x a inputs, a = m + 2, with a * a
// products instead of 9 m * m: 2.25 times fewer for m = 2, 4 times for m = 4. Source: Lavin and
// Gray 2015, arXiv:1509.09308, section 4, equations 8 to 14 (B, G, A there). Per tile, with V = B^T
// d B, U = G g G^T, Z = A y' A^T and "." elementwise over the a * a points:
//
//   forward            y = A^T [ sum over c of U . V ] A
//   gradient of input  d' = B [ sum over k of U . Z ] B^T, overlapping tiles added
//   gradient of filter g' = G^T [ sum over tiles of V . Z ] G
//
// The last two are transposes of the first: they are exact gradients of it. Rounding errors are
// larger than those of a direct sum: about 2 times for m = 2 and 10 times for the others (relative
// L2 error some 3e-6 at 256 channels).
//
// Runs on the current number of OpenMP threads; the bits depend on the shape and on the instruction
// set (AVX-512, AVX2 with FMA, plain), not on the threads. Nothing is allocated or kept. Buffers
// are best aligned to 64 bytes; `u` and `work` must be.
#ifndef CPU_WINO_H
#define CPU_WINO_H

#include <stdbool.h>
#include <stddef.h>

struct cpu_wino {
    int n, c, k, h, w; // h, w of the output
    int m;             // 2 or 4: filters are 3x3; 3: they are 4x4
    int pad;           // zeros around x, less than r
};

// Filters as a pass wants them. Without `u` it transforms them first: that costs some percent of
// the pass, and with it the bits are the same.
struct cpu_wino_filters {
    const float *w; // [K,C,r,r]; not read if there is `u`
    const float *u; // of cpu_wino_filters_forward or _backward, or NULL
};

// Transformed filters for any number of passes of the same c, k, m (any n, h, w). Forward and
// backward want different layouts; both have this many floats: at m = 4 four times those of the
// filters. The contents may not leave the process: they depend on its instruction set.
size_t cpu_wino_filter_floats(const struct cpu_wino *s);
void cpu_wino_filters_forward(const struct cpu_wino *s, const float *w, float *ret_u);
void cpu_wino_filters_backward(const struct cpu_wino *s, const float *w, float *ret_u);

// Floats of scratch for any pass with up to `threads` OpenMP threads; contents mean nothing between
// calls. filters_kept: all passes have `u`. gradient: there is one that has dw.
size_t cpu_wino_work_floats(const struct cpu_wino *s, int threads, bool filters_kept,
                            bool gradient);

//   ret_y  [N,H,W,K]
void cpu_wino_forward(const struct cpu_wino *s, const float *x, struct cpu_wino_filters filters,
                      float *work, float *ret_y);

// Both gradients at once share the transform of dy.
struct cpu_wino_backward {
    const float *x;                  // [N,H+r-1-2p,W+r-1-2p,C]; read for dw only
    const float *dy;                 // [N,H,W,K]
    struct cpu_wino_filters filters; // read for dx only
    float *dx;                       // like x, its gradient, or NULL
    float *dw;                       // [K,C,r,r] or NULL
    bool add_dw;                     // dw += instead of =
};

void cpu_wino_backward(const struct cpu_wino *s, const struct cpu_wino_backward *b, float *work);

// "avx512", "avx2" or "plain": what this machine runs.
const char *cpu_wino_instructions(void);

#endif
