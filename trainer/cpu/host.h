// host - what memory, order and streams are on the CPU: nearly nothing. The entries of
// struct backend, see there.
#ifndef BACKEND_CPU_HOST_H
#define BACKEND_CPU_HOST_H

#include "backend/backend.h"

void cpu_host_describe(struct device *d, char *ret_text, size_t size);
int cpu_host_memory_new(struct device *d, size_t bytes, void **ret_memory);
void cpu_host_memory_free(struct device *d, void *memory);
size_t cpu_host_memory_peak(struct device *d);
int cpu_host_copy(struct device *d, void *to, const void *from, size_t bytes);
int cpu_host_image_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                      const void *pictures, void *ret_tensor);
int cpu_host_images_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                       const void *const *pictures, void *ret_tensor);
int cpu_host_image_prefetch(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                            const void *pictures, int *ret_ahead);
int cpu_host_image_arrive(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                          int ahead, void *ret_tensor);
int cpu_host_image_out(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                       const void *tensor, void *ret_shared);
int cpu_host_fence(struct device *d, enum device_fence fence);
int cpu_host_section_new(struct device *d, struct device_section **ret_section);
void cpu_host_section_free(struct device_section *section);
int cpu_host_section_begin(struct device_section *section, const struct device_values *values,
                           bool *ret_issue);
int cpu_host_section_end(struct device_section *section);
void cpu_host_section_drop(struct device_section *section);
void cpu_host_stream_choose(struct device *d, int stream);
int cpu_host_event_record(struct device *d, int event);
int cpu_host_plans_save(struct device *d, const char *path);

#endif
