// backend_cpu - what the CPU backend's files share. Private to them.
#ifndef BACKEND_CPU_H
#define BACKEND_CPU_H

#include <dnnl.h>
#include <dnnl_debug.h>

#include "backend.h"

struct cpu_device {
    struct device base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    bool winograd; // may choose it
    int tile;      // 2 or 4: F(2x2) or F(4x4) wherever possible; 0: what is faster
};

// Returns `err` from the calling function if oneDNN fails.
#define DNN(err, call)                                                                             \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success)                                                               \
            return err_set(err, "oneDNN: %s: %s", #call, dnnl_status2str(status_));                \
    } while (0)

// The convolution entries of struct backend, see there.
struct device_weights *cpu_weights_new(struct device *d, const float *master,
                                       const int64_t dims[4]);
void cpu_weights_free(struct device_weights *w);
int cpu_weights_refresh(struct device_weights *w);
size_t cpu_weights_bytes(const struct device_weights *w);
int cpu_conv_new(struct device_weights *w, const struct conv_shape *shape, bool backward,
                 struct device_conv **ret_conv);
void cpu_conv_free(struct device_conv *c);
size_t cpu_conv_workspace_bytes(const struct device_conv *c);
void cpu_conv_describe(const struct device_conv *c, char *ret_text, size_t size);
int cpu_conv_forward(struct device_conv *c, const float *x, const float *bias, float *ret_y,
                     void *workspace);
int cpu_conv_backward(struct device_conv *c, const struct conv_gradients *t, void *workspace);

#endif
