// meter - how much memory the program has taken, libraries included. For one test program: it puts
// itself in front of malloc, or asks the address sanitizer to tell. Threads are not counted apart.
#ifndef METER_H
#define METER_H

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct meter { _Atomic int64_t now, peak; } meter;

static void meter_took(int64_t bytes) {
    int64_t now = meter.now += bytes;
    if (now > meter.peak)
        meter.peak = now;
}

#ifdef __SANITIZE_ADDRESS__

size_t __sanitizer_get_allocated_size(const volatile void *p);
int __sanitizer_install_malloc_and_free_hooks(void (*took)(const volatile void *, size_t),
                                              void (*gave)(const volatile void *));

static void on_malloc(const volatile void *p, size_t size) {
    meter_took((int64_t)size);
}

static void on_free(const volatile void *p) {
    if (p)
        meter.now -= (int64_t)__sanitizer_get_allocated_size(p);
}

static void meter_start(void) {
    (void)__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free); // 0 only if called often
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static void *counted(void *p) {
    if (p)
        meter_took((int64_t)malloc_usable_size(p));
    return p;
}

static void uncount(void *p) {
    if (p)
        meter.now -= (int64_t)malloc_usable_size(p);
}

void *malloc(size_t size) {
    return counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    return counted(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size) {
    int64_t before = old ? (int64_t)malloc_usable_size(old) : 0;
    void *p = __libc_realloc(old, size);
    if (p || !size)
        meter.now -= before;
    return counted(p);
}

void *memalign(size_t alignment, size_t size) {
    return counted(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size) {
    *ret = memalign(alignment, size);
    return *ret ? 0 : 12; // ENOMEM
}

void free(void *p) {
    uncount(p);
    __libc_free(p);
}

static void meter_start(void) {
}

#endif

// From here on the peak is counted.
static int64_t meter_reset(void) {
    int64_t now = meter.now;
    meter.peak = now;
    return now;
}

#endif
