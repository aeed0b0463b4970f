// Problems: their sizes, and their text in plan files and error messages.
#include "cuda/problem.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"

// In the order of the enums. Plan files contain these names: they must not change.
static const char *const maths[] = {"bf16", "tf32", "fp32"};
static const char *const passes[] = {"forward", "data", "filter"};

const char *cuda_math_name(enum cuda_math math) {
    return maths[math];
}

static bool find(const char *const *names, size_t count, const char *name, int *ret) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (int)i;
            return true;
        }
    return false;
}

bool cuda_math_parse(const char *name, enum cuda_math *ret_math) {
    int i;

    if (!find(maths, COUNT(maths), name, &i))
        return false;
    *ret_math = (enum cuda_math)i;
    return true;
}

size_t cuda_math_bytes(enum cuda_math math) {
    return math == MATH_BF16 ? 2 : 4;
}

void cuda_problem_output(const struct cuda_problem *s, int *ret_ho, int *ret_wo) {
    *ret_ho = (s->h + 2 * s->pad - s->r) / s->stride + 1;
    *ret_wo = (s->w + 2 * s->pad - s->r) / s->stride + 1;
}

void cuda_problem_sizes(const struct cuda_problem *s, size_t ret_sizes[3]) {
    int ho, wo;

    cuda_problem_output(s, &ho, &wo);
    ret_sizes[0] = (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
    ret_sizes[1] = (size_t)s->k * (size_t)s->r * (size_t)s->r * (size_t)s->c;
    ret_sizes[2] = (size_t)s->n * (size_t)ho * (size_t)wo * (size_t)s->k;
}

double cuda_problem_flop(const struct cuda_problem *s) {
    size_t sizes[3];

    cuda_problem_sizes(s, sizes);
    // A product and a sum for each output and filter tap; the same for all three passes.
    return 2.0 * (double)sizes[2] * s->c * s->r * s->r;
}

void cuda_problem_print(const struct cuda_problem *s, char ret_text[CUDA_PROBLEM_TEXT]) {
    (void)snprintf(ret_text, CUDA_PROBLEM_TEXT, "%s %s n%d c%d h%d w%d k%d r%d s%d p%d",
                   passes[s->pass], maths[s->math], s->n, s->c, s->h, s->w, s->k, s->r, s->stride,
                   s->pad);
}

// Any file can reach this. The limits keep every product of sizes within an int64_t.
static bool is_possible(const struct cuda_problem *s) {
    return s->n >= 1 && s->n <= 1 << 12 && s->c >= 1 && s->c <= 1 << 14 && s->k >= 1 &&
           s->k <= 1 << 14 && s->h >= 1 && s->h <= 1 << 15 && s->w >= 1 && s->w <= 1 << 15 &&
           s->r >= 1 && s->r <= 64 && s->stride >= 1 && s->stride <= 64 && s->pad >= 0 &&
           s->pad <= 64 && s->h + 2 * s->pad >= s->r && s->w + 2 * s->pad >= s->r;
}

bool cuda_problem_parse(const char *text, struct cuda_problem *ret_problem) {
    char pass[9], math[5], again[CUDA_PROBLEM_TEXT];
    struct cuda_problem s = {0};
    int i, j;

    // Widths bound the buffers; six digits hold every limit of is_possible.
    if (sscanf(text, "%8s %4s n%6d c%6d h%6d w%6d k%6d r%6d s%6d p%6d", pass, math, &s.n, &s.c,
               &s.h, &s.w, &s.k, &s.r, &s.stride, &s.pad) != 10)
        return false;
    if (!find(passes, COUNT(passes), pass, &i) || !find(maths, COUNT(maths), math, &j))
        return false;
    s.pass = (enum cuda_pass)i;
    s.math = (enum cuda_math)j;
    // Printing it again refuses other spellings: spaces, leading zeros, text behind the end.
    cuda_problem_print(&s, again);
    if (strcmp(again, text) != 0 || !is_possible(&s))
        return false;
    *ret_problem = s;
    return true;
}

bool cuda_problem_equal(const struct cuda_problem *a, const struct cuda_problem *b) {
    return a->pass == b->pass && a->math == b->math && a->n == b->n && a->c == b->c &&
           a->h == b->h && a->w == b->w && a->k == b->k && a->r == b->r && a->stride == b->stride &&
           a->pad == b->pad;
}
