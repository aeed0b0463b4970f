// golden - cases with known answers: how a case is set up and how an answer is checked.
//
// A file of schema "golden-1" holds cases; weights and inputs are made by a hash, so that a case is
// only a few numbers. Each kind of case has a function in one of the golden_*.c.
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "golden/json.h"

// The judgement of one case.
struct golden_case {
    const char *name, *device, *dtype, *winograd;
    int failures;
    char skip[512]; // why; "" if it is in scope
};

// A kind of case and the function that checks it; NULL: it is skipped. A list of them ends with a
// NULL name.
struct golden_kind {
    const char *name;
    void (*run)(struct golden_case *j, const struct json *c);
};

struct golden_totals {
    int passed, failed, skipped;
    int apart; // of kinds that are skipped
};

// Runs all cases of a tree of schema "golden-1"; prints what is skipped and what fails.
void golden_run(const struct golden_case *how, const struct golden_kind *kinds,
                const struct json *file, struct golden_totals *t);

void case_forward(struct golden_case *j, const struct json *c); // and backward
void case_training(struct golden_case *j, const struct json *c);
void case_adam(struct golden_case *j, const struct json *c);
void case_lr(struct golden_case *j, const struct json *c);
void case_gan_loss(struct golden_case *j, const struct json *c);
void case_gradient_penalty(struct golden_case *j, const struct json *c);
void case_patchnce(struct golden_case *j, const struct json *c);
void case_init(struct golden_case *j, const struct json *c);
void case_pool(struct golden_case *j, const struct json *c);
void case_image(struct golden_case *j, const struct json *c);
void case_hash(struct golden_case *j, const struct json *hash_check);

// Out of scope; printf-like reason.
void golden_skip(struct golden_case *j, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// A wrong answer: which check, what we got, what it should be.
void golden_fail(struct golden_case *j, const char *check, double got, double want,
                 double tolerance);
// Anything else that is wrong.
void golden_complain(struct golden_case *j, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The fill rule: H(j,i), and V(j,i,scale,offset).
uint32_t golden_hash(uint32_t index, uint32_t i);
float golden_value(uint32_t index, uint32_t i, double scale, double offset);
void golden_fill(float *ret, size_t count, uint32_t index, double scale);
// Picture data V(index) of [n,c,h,w], stored as [n,h,w,c].
void golden_fill_pictures(float *ret, const int nchw[4], uint32_t index);
// [n,h,w,c] as doubles in [n,c,h,w].
void golden_to_nchw(const float *x, const int nchw[4], double *ret);

// The checks of a case; each returns whether the answer is right and has complained if not.
// `what` names the quantity.
bool check_tensor(struct golden_case *j, const char *what, const struct json *check,
                  const double *a, size_t n);
bool check_floats(struct golden_case *j, const char *what, const struct json *check, const float *a,
                  size_t n);
bool check_scalar(struct golden_case *j, const char *what, const struct json *check, double value);

#endif
