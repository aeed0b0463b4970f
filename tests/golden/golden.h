// golden - cases with known answers: how a case is set up and how an answer is judged.
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
struct judge {
    const char *name, *device, *dtype, *winograd;
    int failures;
    char skip[512]; // why; "" if it is in scope
};

// A kind of case and what judges it; NULL: nothing here does. A list of them ends with a NULL name.
struct golden_kind {
    const char *name;
    void (*run)(struct judge *j, const struct json *c);
};

struct golden_totals {
    int passed, failed, skipped;
    int apart; // of kinds that nothing here judges
};

// Runs all cases of a tree of schema "golden-1"; prints what is skipped and what fails.
void golden_run(const struct judge *how, const struct golden_kind *kinds, const struct json *file,
                struct golden_totals *t);

void case_forward(struct judge *j, const struct json *c); // and backward
void case_training(struct judge *j, const struct json *c);
void case_adam(struct judge *j, const struct json *c);
void case_lr(struct judge *j, const struct json *c);
void case_gan_loss(struct judge *j, const struct json *c);
void case_gradient_penalty(struct judge *j, const struct json *c);
void case_patchnce(struct judge *j, const struct json *c);
void case_init(struct judge *j, const struct json *c);
void case_pool(struct judge *j, const struct json *c);
void case_image(struct judge *j, const struct json *c);
void judge_hash(struct judge *j, const struct json *hash_check);

// Out of scope; printf-like reason.
void judge_skip(struct judge *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A wrong answer: which check, what we got, what it should be.
void judge_fail(struct judge *j, const char *check, double got, double want, double tolerance);
// Anything else that is wrong.
void judge_complain(struct judge *j, const char *format, ...) __attribute__((format(printf, 2, 3)));

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
bool check_tensor(struct judge *j, const char *what, const struct json *check, const double *a,
                  size_t n);
bool check_floats(struct judge *j, const char *what, const struct json *check, const float *a,
                  size_t n);
bool check_scalar(struct judge *j, const char *what, const struct json *check, double value);

#endif
