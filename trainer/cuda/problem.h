// problem - one convolution as cuDNN is asked for it, and its name in a plan file.
#ifndef CUDA_PROBLEM_H
#define CUDA_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

// Elements and products; sums are fp32 in all three.
//   MATH_BF16  bfloat16 elements
//   MATH_TF32  fp32 elements; tensor cores may round them to tf32 (10 bits of mantissa)
//   MATH_FP32  fp32 elements and products
enum cuda_math { MATH_BF16, MATH_TF32, MATH_FP32 };

// The three passes of y = conv(x, w).
//   PASS_FORWARD  y from x and w
//   PASS_DATA     x's gradient from w and y's
//   PASS_FILTER   w's gradient from x and y's
enum cuda_pass { PASS_FORWARD, PASS_DATA, PASS_FILTER };

// One pass of a plain convolution of x [n,h,w,c] with a filter [k,r,r,c] to y [n,ho,wo,k]. Channels
// are stored ones. `pad` is zeros on every side; a reflection border counts in h and w.
struct cuda_problem {
    enum cuda_pass pass;
    enum cuda_math math;
    int n, c, h, w, k, r, stride, pad;
};

// "bf16", "tf32", "fp32"; false if it is none of them.
const char *cuda_math_name(enum cuda_math math);
bool cuda_math_parse(const char *name, enum cuda_math *ret_math);
// Bytes of an element.
size_t cuda_math_bytes(enum cuda_math math);

// Height and width of y.
void cuda_problem_output(const struct cuda_problem *s, int *ret_ho, int *ret_wo);
// Elements of x, filter and y.
void cuda_problem_sizes(const struct cuda_problem *s, size_t ret_sizes[3]);
// Floating point operations of the pass, a product and its sum counted as two.
double cuda_problem_flop(const struct cuda_problem *s);

// "forward bf16 n6 c256 h66 w66 k256 r3 s1 p0", at most CUDA_PROBLEM_TEXT bytes with the 0.
#define CUDA_PROBLEM_TEXT 128
void cuda_problem_print(const struct cuda_problem *s, char ret_text[CUDA_PROBLEM_TEXT]);
// Reads exactly what cuda_problem_print writes; false for anything else and for sizes that no layer
// has.
bool cuda_problem_parse(const char *text, struct cuda_problem *ret_problem);
// Whether all fields agree.
bool cuda_problem_equal(const struct cuda_problem *a, const struct cuda_problem *b);

#endif
