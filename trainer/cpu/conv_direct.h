// conv_direct - gradient of a filter by direct sums, for any stride, plain or transposed.
//
// Both kinds of convolution pair a small map with a large one:
//
//   large row = small row * stride + tap row - pad, columns alike
//   dw[cs][cl][tap] (+)= sum over pictures and small pixels of small[cs] * large[cl]
//
// For a convolution small is dy and large is x, dw [K,C,r,r]; for a transposed one small is x and
// large is dy, dw [C,K,r,r]: always the master's layout. Large pixels outside count as 0.
//
// All tensors float, channels innermost. Runs on the current number of OpenMP threads; the bits
// depend on the shape and the instruction set, not on the threads. Nothing is allocated or kept.
#ifndef CPU_FILTER_H
#define CPU_FILTER_H

#include <stdbool.h>
#include <stddef.h>

// One shape of either kind; cpu/conv_own.c maps a convolution to it.
struct cpu_filter {
    int n;
    int cs, hs, ws;     // small
    int cl, hl, wl;     // large
    int r, stride, pad; // r <= 7
};

// Floats of scratch: none if cs and cl are multiples of 16; else a padded copy of a picture.
size_t cpu_filter_work_floats(const struct cpu_filter *s);

//   small   [N,hs,ws,cs]
//   large   [N,hl,wl,cl]
//   ret_dw  [cs,cl,r,r]; with `add`, dw += instead of =
void cpu_filter_gradient(const struct cpu_filter *s, const float *small, const float *large,
                         float *work, bool add, float *ret_dw);

// Gradient of a bias: sums[c] (+)= sum over pixels of x [pixels,c], any c, in double.
// The order of a sum is that of the pixels, whatever the number of threads.
void cpu_channel_sums(size_t pixels, int c, const float *x, bool add, float *ret_sums);

#endif
