// golden - cases with known answers: how a case is set up and how an answer is judged.
//
// A file of schema "golden-1" holds cases; weights and inputs are made by a hash, so that a case is
// only a few numbers. Each kind of case has a function in one of the golden_*.c.
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yajl/yajl_tree.h>

// The judgement of one case.
struct judge {
    const char *name, *device, *winograd;
    int failures;
    char skip[512]; // why; "" if it is in scope
};

void case_forward(struct judge *j, yajl_val c); // and backward
void case_training(struct judge *j, yajl_val c);
void case_adam(struct judge *j, yajl_val c);
void case_lr(struct judge *j, yajl_val c);
void case_gan_loss(struct judge *j, yajl_val c);
void case_gradient_penalty(struct judge *j, yajl_val c);
void case_patchnce(struct judge *j, yajl_val c);
void case_init(struct judge *j, yajl_val c);
void case_pool(struct judge *j, yajl_val c);
void case_image(struct judge *j, yajl_val c);
void judge_hash(struct judge *j, yajl_val hash_check);

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

// Fields of an object: a fallback if absent.
yajl_val json_get(yajl_val object, const char *key);
double json_number(yajl_val object, const char *key, double fallback);
long long json_int(yajl_val object, const char *key, long long fallback);
bool json_bool(yajl_val object, const char *key);
const char *json_text(yajl_val object, const char *key, const char *fallback);
int json_count(yajl_val array); // 0 if it is none
yajl_val json_at(yajl_val array, int i);
double json_number_at(yajl_val array, int i);
long long json_int_at(yajl_val array, int i);
const char *json_text_at(yajl_val array, int i); // "" if it is no text

// The checks of a case; each returns whether the answer is right and has complained if not.
// `what` names the quantity.
bool check_tensor(struct judge *j, const char *what, yajl_val check, const double *a, size_t n);
bool check_floats(struct judge *j, const char *what, yajl_val check, const float *a, size_t n);
bool check_scalar(struct judge *j, const char *what, yajl_val check, double value);

#endif
