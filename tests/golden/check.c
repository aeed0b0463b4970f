// The fill rule, JSON fields and the comparison of tensors.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "golden/golden.h"

void golden_skip(struct golden_case *j, const char *format, ...) {
    va_list args;

    va_start(args, format);
    (void)vsnprintf(j->skip, sizeof j->skip, format, args); // cut if long
    va_end(args);
}

void golden_fail(struct golden_case *j, const char *check, double got, double want,
                 double tolerance) {
    j->failures++;
    printf("FAIL %s: %s: got %.9g, want %.9g, tolerance %.3g\n", j->name, check, got, want,
           tolerance);
}

void golden_complain(struct golden_case *j, const char *format, ...) {
    va_list args;

    j->failures++;
    printf("FAIL %s: ", j->name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

uint32_t golden_hash(uint32_t index, uint32_t i) {
    uint32_t h = (i + 1) * 2654435761u + (index + 1) * 2246822519u;

    h ^= h >> 15;
    h *= 2246822507u;
    h ^= h >> 13;
    h *= 3266489909u;
    return h ^ h >> 16;
}

float golden_value(uint32_t index, uint32_t i, double scale, double offset) {
    return (float)(offset + (2 * (double)golden_hash(index, i) / 4294967296.0 - 1) * scale);
}

void golden_fill(float *ret, size_t count, uint32_t index, double scale) {
    for (size_t i = 0; i < count; i++)
        ret[i] = golden_value(index, (uint32_t)i, scale, 0);
}

void golden_fill_pictures(float *ret, const int s[4], uint32_t index) {
    size_t i = 0;

    for (int n = 0; n < s[0]; n++)
        for (int c = 0; c < s[1]; c++)
            for (int p = 0; p < s[2] * s[3]; p++)
                ret[((size_t)n * (size_t)(s[2] * s[3]) + (size_t)p) * (size_t)s[1] + (size_t)c] =
                    golden_value(index, (uint32_t)i++, 1, 0);
}

void golden_to_nchw(const float *x, const int s[4], double *ret) {
    size_t i = 0;

    for (int n = 0; n < s[0]; n++)
        for (int c = 0; c < s[1]; c++)
            for (int p = 0; p < s[2] * s[3]; p++)
                ret[i++] =
                    x[((size_t)n * (size_t)(s[2] * s[3]) + (size_t)p) * (size_t)s[1] + (size_t)c];
}

// One figure of a check; `field` is its key, e.g. "abssum".
static bool figure(struct golden_case *j, const char *what, const char *field, double got,
                   double want, double tolerance) {
    char text[256];

    if (fabs(got - want) <= tolerance) // false for NaN
        return true;
    (void)snprintf(text, sizeof text, "%s %s", what, field);
    golden_fail(j, text, got, want, tolerance);
    return false;
}

static size_t shape_count(const struct json *check) {
    const struct json *shape = json_get(check, "shape");
    size_t count = 1;

    for (int i = 0; i < json_count(shape); i++)
        count *= (size_t)json_int_at(shape, i);
    return count;
}

static bool check_values(struct golden_case *j, const char *what, const struct json *check,
                         const double *a, size_t n) {
    const struct json *idx = json_get(check, "idx"), *val = json_get(check, "val");
    double tolerance = json_number(check, "tol_val", NAN);
    bool right = true;

    for (int k = 0; k < json_count(idx); k++) {
        char field[32];
        size_t i = (size_t)json_int_at(idx, k);
        (void)snprintf(field, sizeof field, "[%zu]", i);
        right &= i < n && figure(j, what, field, a[i], json_number_at(val, k), tolerance);
    }
    return right;
}

bool check_tensor(struct golden_case *j, const char *what, const struct json *check,
                  const double *a, size_t n) {
    double sum = 0, abssum = 0, squares = 0, proj = 0;
    double rms = json_number(check, "tol_rms", NAN), root = sqrt((double)n);
    bool right = true;

    if (shape_count(check) != n) {
        golden_complain(j, "%s: %zu elements, the file has %zu", what, n, shape_count(check));
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        sum += a[i];
        abssum += fabs(a[i]);
        squares += a[i] * a[i];
        proj += a[i] * (double)golden_value(4242, (uint32_t)i, 1, 0);
    }
    right &= figure(j, what, "sum", sum, json_number(check, "sum", NAN), (double)n * rms);
    right &= figure(j, what, "abssum", abssum, json_number(check, "abssum", NAN), (double)n * rms);
    right &= figure(j, what, "l2", sqrt(squares), json_number(check, "l2", NAN), root * rms);
    right &= figure(j, what, "proj", proj, json_number(check, "proj", NAN), 4 * root * rms);
    return check_values(j, what, check, a, n) && right;
}

bool check_floats(struct golden_case *j, const char *what, const struct json *check, const float *a,
                  size_t n) {
    double *copy = xcalloc(n + 1, sizeof *copy);
    bool right;

    for (size_t i = 0; i < n; i++)
        copy[i] = a[i];
    right = check_tensor(j, what, check, copy, n);
    free(copy);
    return right;
}

bool check_scalar(struct golden_case *j, const char *what, const struct json *check, double value) {
    return figure(j, what, "value", value, json_number(check, "value", NAN),
                  json_number(check, "tol", NAN));
}
