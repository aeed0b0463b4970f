// bench_vips - libvips for bench_loader, found while it runs, so that building needs none of it.
#ifndef BENCH_VIPS_H
#define BENCH_VIPS_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/util.h"

struct vips {
    int (*jpegload_buffer)(void *bytes, size_t size, void **ret, ...);
    int (*resize)(void *in, void **ret, double scale, ...);
    int (*crop)(void *in, void **ret, int x, int y, int w, int h, ...);
    void *(*write_to_memory)(void *in, size_t *ret_size);
    int (*get_width)(const void *in);
    int (*get_height)(const void *in);
    void (*unref)(void *object);
    void (*free)(void *bytes);
};

enum { VIPS_CUBIC = 2 }; // VipsKernel

static void *vips_symbol(void *library, const char *name, bool *ok) {
    void *symbol = dlsym(library, name);
    *ok &= symbol != NULL;
    return symbol;
}

// False where libvips is not installed. One thread, no cache of operations.
static bool vips_find(struct vips *v) {
    void *lib = dlopen("libvips.so.42", RTLD_NOW | RTLD_GLOBAL);
    bool ok = true;
    if (!lib)
        return false;
    int (*init)(const char *) = vips_symbol(lib, "vips_init", &ok);
    void (*concurrency)(int) = vips_symbol(lib, "vips_concurrency_set", &ok);
    void (*cache)(int) = vips_symbol(lib, "vips_cache_set_max", &ok);
    v->jpegload_buffer = vips_symbol(lib, "vips_jpegload_buffer", &ok);
    v->resize = vips_symbol(lib, "vips_resize", &ok);
    v->crop = vips_symbol(lib, "vips_crop", &ok);
    v->write_to_memory = vips_symbol(lib, "vips_image_write_to_memory", &ok);
    v->get_width = vips_symbol(lib, "vips_image_get_width", &ok);
    v->get_height = vips_symbol(lib, "vips_image_get_height", &ok);
    v->unref = vips_symbol(lib, "g_object_unref", &ok);
    v->free = vips_symbol(lib, "g_free", &ok);
    if (!ok || init("bench_loader"))
        return false;
    concurrency(1);
    cache(0);
    return true;
}

// Decodes at 1/shrink, resizes to load x load, crops; false if it failed.
static bool vips_picture(const struct vips *v, void *bytes, size_t size, int shrink, int load,
                         int crop) {
    void *in = NULL, *resized = NULL, *cropped = NULL, *pixels = NULL;
    size_t n;
    bool ok = v->jpegload_buffer(bytes, size, &in, "shrink", shrink, NULL) == 0;
    ok = ok && v->resize(in, &resized, (double)load / v->get_width(in), "vscale",
                         (double)load / v->get_height(in), "kernel", VIPS_CUBIC, NULL) == 0;
    ok = ok && v->crop(resized, &cropped, 0, 0, crop, crop, NULL) == 0;
    pixels = ok ? v->write_to_memory(cropped, &n) : NULL;
    ok = pixels && n == (size_t)crop * (size_t)crop * 3;
    v->free(pixels);
    void *objects[] = {cropped, resized, in};
    for (size_t i = 0; i < COUNT(objects); i++)
        if (objects[i])
            v->unref(objects[i]);
    return ok;
}

#endif
