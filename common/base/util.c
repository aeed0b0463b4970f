// util - allocation that ends the process when memory is gone, clocks, and small helpers.
#include "base/util.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *checked(void *p, size_t size) {
    if (!p) {
        (void)fprintf(stderr, "out of memory: %zu bytes asked for\n", size);
        // Not abort: lack of memory is no bug, and a core file would be as large as the process.
        exit(1);
    }
    return p;
}

void *xmalloc(size_t size) {
    // malloc(0) may return NULL, which would look like a failure.
    return checked(malloc(size ? size : 1), size);
}

void *xcalloc(size_t count, size_t size) {
    return checked(calloc(count ? count : 1, size ? size : 1), size);
}

void *xrealloc(void *old, size_t size) {
    return checked(realloc(old, size ? size : 1), size);
}

char *xstrdup(const char *text) {
    return checked(strdup(text), strlen(text));
}

char *xasprintf(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return checked(n < 0 ? NULL : text, 0);
}

void *xaligned(size_t size) {
    // 64 bytes: a cache line, and the alignment of AVX-512 loads.
    size_t rounded = (size + 63) / 64 * 64;
    void *p = checked(aligned_alloc(64, rounded ? rounded : 64), rounded);
    memset(p, 0, rounded);
    return p;
}

static int64_t clock_us(clockid_t clock) {
    struct timespec t;
    (void)clock_gettime(clock, &t); // cannot fail for these two clocks
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t now_us(void) {
    return clock_us(CLOCK_MONOTONIC);
}

int64_t wall_us(void) {
    return clock_us(CLOCK_REALTIME);
}

_Bool text_copy(char *ret, size_t size, const char *text) {
    size_t n = strnlen(text, size - 1);
    memcpy(ret, text, n);
    ret[n] = 0;
    return text[n] == 0;
}

int core_count(void) {
    cpu_set_t set;
    // The cores that this process may use, which containers restrict.
    return sched_getaffinity(0, sizeof set, &set) ? 1 : MAX(1, CPU_COUNT(&set));
}
