// conv_narrow - convolutions of stride 1 between many channels and few (the generator's 7x7
// layers).
//
// Their ordinary form wastes most of a vector on the few channels. Here the r columns of the filter
// are beside the few channels, so that a row of the map takes one product with few * r columns:
//
//   q[x][f * r + s] = sum over rows of taps and the many channels          (a matrix product)
//   result[x][f]    = sum over s of q[x shifted by s][f * r + s]           (r shifted additions)
//
// Two convolutions have this form, and their weight gradients a related one:
//
//   narrow output   x [N,h+r-1,w+r-1,many] -> y [N,h,w,few], filter [few,many,r,r]: forward and
//                   gradient of the filter (its input gradient is an ordinary convolution)
//   narrow input    x [N,h+r-1,w+r-1,few] -> y [N,h,w,many], filter [many,few,r,r]: gradients of
//                   input and filter
//
// x is padded already. All tensors float, channels innermost. Runs on the current number of OpenMP
// threads; the bits depend on the shape and the instruction set, not on the threads. Nothing is
// allocated or kept.
#ifndef CPU_NARROW_H
#define CPU_NARROW_H

#include <stdbool.h>
#include <stddef.h>

// The limits keep q in few vectors: 7x7 filters may have up to 4 channels, 3x3 up to 10.
struct cpu_narrow {
    int n;
    int many; // a multiple of 16
    int few;  // few * r <= 32
    int h, w; // of y
    int r;
    // Of an input gradient alone: 0, then the stride is 1 and x is padded already, or x
    // [N,h_x,w_x,few] and what surrounds it.
    int stride, pad, h_x, w_x;
};

// Repacked filters, made once per weight update; they may not leave the process. Aligned to 64
// bytes, like `work`.
size_t cpu_narrow_filter_floats(const struct cpu_narrow *s);
void cpu_narrow_filters_output(const struct cpu_narrow *s, const float *w, float *ret_packed);
void cpu_narrow_filters_input(const struct cpu_narrow *s, const float *w, float *ret_packed);

// Floats of scratch for any of the passes with up to `threads` OpenMP threads.
size_t cpu_narrow_work_floats(const struct cpu_narrow *s, int threads);

// Narrow output, y = conv(x) + bias.
//   packed  of cpu_narrow_filters_output
//   bias    [few] or NULL
void cpu_narrow_forward(const struct cpu_narrow *s, const float *x, const float *packed,
                        const float *bias, float *work, float *ret_y);

// Narrow output: dw [few,many,r,r] = d loss / d filter; with `add`, dw += instead of =.
void cpu_narrow_output_weights(const struct cpu_narrow *s, const float *x, const float *dy,
                               float *work, bool add, float *ret_dw);

// Narrow input: dw [many,few,r,r].
void cpu_narrow_input_weights(const struct cpu_narrow *s, const float *x, const float *dy,
                              float *work, bool add, float *ret_dw);

// Narrow input: dx [N,h+r-1,w+r-1,few], the gradient of the padded input, of dy [N,h,w,many]; with
// a stride [N,h_x,w_x,few], of the input itself.
//   packed  of cpu_narrow_filters_input
void cpu_narrow_backward_data(const struct cpu_narrow *s, const float *dy, const float *packed,
                              float *work, float *ret_dx);

#endif
