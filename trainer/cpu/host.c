// Every op has ended when its call returns, and all memory is the host's.
#include "cpu/host.h"

#include <stdlib.h>
#include <string.h>

#include "backend/memory.h"
#include "backend/pixels.h"
#include "base/err.h"
#include "base/util.h"
#include "cpu/cpu.h"

struct device_section {
    struct cpu_device *device;
};

void cpu_host_describe(struct device *d, char *ret_text, size_t size) {
    (void)text_copy(ret_text, size, "the host's processor"); // may be cut
}

// Less is not worth looking: the system gives memory that it has not, and kills who uses it.
#define ASKED_FROM ((size_t)1 << 20)

int cpu_host_memory_new(struct device *d, size_t bytes, void **ret_memory) {
    size_t available = bytes < ASKED_FROM ? 0 : memory_available();
    char text[16];

    if (available && bytes > available)
        return err_set(ERR_LIMIT, "%s are free", memory_text(available, text));
    *ret_memory = xaligned(bytes);
    return ERR_OK;
}

void cpu_host_memory_free(struct device *d, void *memory) {
    free(memory);
}

size_t cpu_host_memory_peak(struct device *d) {
    return 0;
}

int cpu_host_copy(struct device *d, void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return ERR_OK;
}

static size_t count_of(const struct tensor_shape *s) {
    return (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
}

int cpu_host_image_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                      const void *pictures, void *ret_tensor) {
    if (type == PIXELS_BYTE)
        pixels_to_floats(pictures, count_of(s), ret_tensor);
    else
        memcpy(ret_tensor, pictures, count_of(s) * sizeof(float));
    return ERR_OK;
}

int cpu_host_images_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                       const void *const *pictures, void *ret_tensor) {
    struct tensor_shape one = {1, s->h, s->w, s->c};
    for (int i = 0; i < s->n; i++)
        (void)cpu_host_image_in(d, &one, type, pictures[i], // cannot fail
                                (float *)ret_tensor + (size_t)i * count_of(&one));
    return ERR_OK;
}

int cpu_host_image_prefetch(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                            const void *pictures, int *ret_ahead) {
    *ret_ahead = -1;
    return ERR_OK;
}

int cpu_host_image_arrive(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                          int ahead, void *ret_tensor) {
    BUG("no pictures travel on the CPU");
}

int cpu_host_image_out(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                       const void *tensor, void *ret_shared) {
    memcpy(ret_shared, tensor, count_of(s) * sizeof(float));
    return ERR_OK;
}

int cpu_host_fence(struct device *d, enum device_fence fence) {
    return ERR_OK;
}

int cpu_host_section_new(struct device *d, struct device_section **ret_section) {
    *ret_section = xcalloc(1, sizeof **ret_section);
    (*ret_section)->device = (struct cpu_device *)d;
    return ERR_OK;
}

void cpu_host_section_free(struct device_section *section) {
    free(section);
}

int cpu_host_section_begin(struct device_section *section, const struct device_values *values,
                           bool *ret_issue) {
    section->device->values = *values;
    *ret_issue = true;
    return ERR_OK;
}

int cpu_host_section_end(struct device_section *section) {
    return ERR_OK;
}

void cpu_host_section_drop(struct device_section *section) {
}

void cpu_host_stream_choose(struct device *d, int stream) {
}

int cpu_host_event_record(struct device *d, int event) {
    return ERR_OK;
}

int cpu_host_plans_save(struct device *d, const char *path) {
    BUG("the CPU has no plans");
}
