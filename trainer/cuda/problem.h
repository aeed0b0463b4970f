// problem - one convolution as cuDNN is asked for it, and its name in a plan file.
#ifndef CUDA_PROBLEM_H
#define CUDA_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

// What elements are and how products are taken: bf16 elements; fp32 elements that the tensor cores
// may round to tf32 (10 bits); fp32 elements and products. Sums are fp32 in all three.
enum cuda_math { MATH_BF16, MATH_TF32, MATH_FP32 };

// Of y = conv(x, w): y from x and w, x's gradient from w and y's, w's gradient from x and y's.
enum cuda_pass { PASS_FORWARD, PASS_DATA, PASS_FILTER };

// A plain convolution x [n,h,w,c], filter [k,r,r,c] -> y [n,ho,wo,k], and which of the three is
// wanted of it.
struct cuda_problem {
    enum cuda_pass pass;
    enum cuda_math math;
    int n, c, h, w, k, r, stride, pad;
};

// "bf16", "tf32", "fp32"; false if it is none of them.
const char *cuda_math_name(enum cuda_math math);
bool cuda_math_parse(const char *name, enum cuda_math *ret_math);
size_t cuda_math_bytes(enum cuda_math math);

// Height and width of y.
void cuda_problem_output(const struct cuda_problem *s, int *ret_ho, int *ret_wo);
// Elements of x, filter and y.
void cuda_problem_sizes(const struct cuda_problem *s, size_t ret_sizes[3]);
double cuda_problem_flop(const struct cuda_problem *s);

// "forward bf16 n6 c256 h66 w66 k256 r3 s1 p0", at most CUDA_PROBLEM_TEXT bytes with the 0.
#define CUDA_PROBLEM_TEXT 128
void cuda_problem_print(const struct cuda_problem *s, char ret_text[CUDA_PROBLEM_TEXT]);
// Reads exactly what cuda_problem_print writes; false for anything else and for sizes that no layer
// has.
bool cuda_problem_parse(const char *text, struct cuda_problem *ret_problem);
bool cuda_problem_equal(const struct cuda_problem *a, const struct cuda_problem *b);

#endif
