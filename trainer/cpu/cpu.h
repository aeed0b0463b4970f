// cpu - the CPU's device, its packed weights and its convolutions, for the files of cpu/ alone.
#ifndef BACKEND_CPU_H
#define BACKEND_CPU_H

#include <dnnl.h>
#include <dnnl_debug.h>

#include "backend/backend.h"
#include "cpu/conv_direct.h"
#include "cpu/conv_narrow.h"
#include "cpu/wino.h"

// The CPU as a device. One thread issues its ops; OpenMP's threads share the work of each.
struct cpu_device {
    struct device base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int threads;
    bool keeps_packed;           // keeps packed copies of weights; else each use makes its own
    bool winograd;               // Winograd's kernels may be chosen
    int tile;                    // 2, 4: F(2x2), F(4x4) where possible; 0: the faster of both
    struct device_values values; // of the section that is open
};

// Returns `err` from the calling function if oneDNN fails.
#define DNN(err, call)                                                                             \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success)                                                               \
            return err_set(err, "oneDNN: %s: %s", #call, dnnl_status2str(status_));                \
    } while (0)

// A copy of a weight tensor in the layout of a kernel.
struct packed {
    enum packing {
        PACKED_DNNL,
        PACKED_WINO_FORWARD,
        PACKED_WINO_BACKWARD,
        PACKED_NARROW_OUTPUT,
        PACKED_NARROW_INPUT
    } packing;
    void *data; // NULL: it is not kept
    size_t bytes;
    // PACKED_DNNL:
    dnnl_memory_desc_t desc;
    dnnl_memory_t memory;
    dnnl_primitive_t reorder; // from the master
    // The others; of wino, c, k and m count, of narrow, all but n, h and w.
    struct cpu_wino wino;
    struct cpu_narrow narrow;
};

// Everything derived from one filter. Convolutions of all shapes with that filter share it.
struct device_weights {
    struct cpu_device *device;
    const float *master;
    int64_t dims[4];
    dnnl_memory_t memory; // the master, as oneDNN sees it; NULL until it is needed
    int n_packed;
    struct packed *packed;
};

// The index in w->packed of the copy with this packing, which is added if it is new.
int cpu_packed_dnnl(struct device_weights *w, const struct conv_shape *s,
                    const dnnl_memory_desc_t *desc, int *ret_index);
// These two cannot fail: they describe the copy and allocate it if copies are kept.
int cpu_packed_wino(struct device_weights *w, const struct cpu_wino *s, enum packing packing);
int cpu_packed_narrow(struct device_weights *w, const struct cpu_narrow *s, enum packing packing);

// The copy itself. A kept one is valid after a refresh. Otherwise it is made now, from the master,
// in `scratch` of cpu_packed_scratch bytes, aligned to 64, and overwrites the one before. Index -1
// needs no bytes.
size_t cpu_packed_scratch(const struct device_weights *w, int index);
int cpu_packed_use(const struct device_weights *w, int index, void *scratch,
                   const float **ret_data);

// oneDNN's [k,c,r,r]. In the master of a transposed convolution, c and k are exchanged in memory.
int cpu_master_desc(const struct conv_shape *s, dnnl_memory_desc_t *ret_desc);

// A oneDNN reorder as an object that is made once and run often. ERR_DEVICE, ERR_DEVICE_LOST.
int cpu_reorder_new(dnnl_engine_t engine, const dnnl_memory_desc_t *from,
                    const dnnl_memory_desc_t *to, dnnl_primitive_t *ret_reorder);
int cpu_reorder_run(const struct cpu_device *d, dnnl_primitive_t reorder, dnnl_memory_t from,
                    dnnl_memory_t to);

// The kernel of a pass of a convolution.
enum kernel {
    KERNEL_NONE,   // the pass is not wanted
    KERNEL_DNNL,   // oneDNN
    KERNEL_WINO,   // cpu/wino.h
    KERNEL_NARROW, // cpu/conv_narrow.h
    KERNEL_DIRECT, // cpu/conv_direct.h
};

// Each pass is chosen apart: one convolution may use three different kernels.
struct kernels {
    enum kernel forward, backward_data, backward_weights;
};

// The passes of a convolution that oneDNN computes.
struct dnnl_conv;
int cpu_dnnl_conv_new(struct device_weights *w, const struct conv_shape *shape,
                      const struct kernels *kernels, struct dnnl_conv **ret_conv);
// Accepts NULL and a half-made object.
void cpu_dnnl_conv_free(struct dnnl_conv *c);
// Bytes of a workspace that serves either pass.
size_t cpu_dnnl_conv_bytes(const struct dnnl_conv *c);
// oneDNN's names of the passes; "-" for a pass of another kernel.
void cpu_dnnl_conv_names(const struct dnnl_conv *c, const char *ret_names[2]);
// As conv_forward and conv_backward of struct backend, for the passes that are oneDNN's.
int cpu_dnnl_conv_forward(struct dnnl_conv *c, const void *x, const float *bias, void *ret_y,
                          void *workspace);
int cpu_dnnl_conv_data(struct dnnl_conv *c, const struct conv_gradients *t, void *workspace);

// The passes that kernels of this room compute.
// wino, narrow and filter are valid where a pass has that kernel. n is 0 in the others.
struct own_conv {
    struct device_weights *weights;
    struct conv_shape shape;
    struct kernels kernels;
    struct cpu_wino wino;
    struct cpu_narrow narrow;
    struct cpu_filter filter;
    int packed_forward, packed_data; // of weights; -1: none, as with Winograd if none are kept
};

// Chooses the kernel of each pass (KERNEL_DNNL: oneDNN computes it) and prepares our own.
void cpu_own_conv_init(struct own_conv *c, struct device_weights *w, const struct conv_shape *s,
                       bool backward);
// Bytes of workspace: scratch of the kernels, then packed weights that are not kept.
size_t cpu_own_conv_bytes(const struct own_conv *c);
// To be called only if kernels.forward is not KERNEL_DNNL.
int cpu_own_conv_forward(const struct own_conv *c, const void *x, const float *bias, void *ret_y,
                         void *workspace);
// Computes those gradients that are ours and wanted.
int cpu_own_conv_backward(const struct own_conv *c, const struct conv_gradients *t,
                          void *workspace);

// The convolution entries of struct backend, see there.
struct device_weights *cpu_weights_new(struct device *d, const float *master,
                                       const int64_t dims[4]);
void cpu_weights_free(struct device_weights *w);
int cpu_weights_refresh(struct device *d, struct device_weights *const *weights, int count);
size_t cpu_weights_bytes(const struct device_weights *w);
int cpu_conv_new(struct device_weights *w, const struct conv_shape *shape, bool backward,
                 struct device_conv **ret_conv);
void cpu_conv_free(struct device_conv *c);
size_t cpu_conv_workspace_bytes(const struct device_conv *c);
void cpu_conv_describe(const struct device_conv *c, char *ret_text, size_t size);
int cpu_conv_forward(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                     void *workspace);
int cpu_conv_backward(struct device_conv *c, const struct conv_gradients *t, void *workspace);

#endif
