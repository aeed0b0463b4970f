// cuda - what the CUDA backend's files share. Private to them.
//
// Streams: DEVICE_STREAMS for ops, one for images from the host, one for images to it. Work outside
// of a section goes to stream 0. A section forks the other streams from stream 0 at its begin and
// joins them at its end. So before and after a section, stream 0 stands for all of them.
#ifndef BACKEND_CUDA_H
#define BACKEND_CUDA_H

#include <cuda_runtime_api.h>

#include "backend/backend.h"
#include "cuda/conv.h"
#include "cuda/error.h"
#include "cuda/kernels/launch.h"

// Slots of pinned memory, and the bytes of the small ones.
#define CUDA_RING 6             // pictures on their way to the device: of two steps, and the pool's
#define CUDA_UPLOADS 32         // small things on their way
#define CUDA_UPLOAD_BYTES 16384 // at most

// An allocation of device memory, in the list of all that the device holds.
struct cuda_block {
    void *memory;
    size_t bytes;
    struct cuda_block *next;
};

// A slot for images on their way in. The host writes `host`, the copy engine moves it to `device`,
// and a kernel unpacks it into the tensor.
struct cuda_slot {
    size_t bytes;
    void *host, *device;     // pinned; where it is copied to
    bool ahead;              // it holds pictures for an image_arrive to come
    cudaEvent_t sent, taken; // the copy has ended; the device has read it
};

// A staging slot for small data on its way in: pinned memory, and the event behind its last copy.
struct cuda_upload {
    void *host;
    cudaEvent_t sent;
};

// The weights of one optimizer, for weights_refresh. It stays until one of its weights is freed,
// because recorded sections contain its addresses.
struct cuda_refresh_table {
    struct device_weights **all; // [count]
    int count;
    unsigned blocks;
    struct cuda_weight *weights; // in the device's memory
    struct cuda_refresh_table *next;
};

// An open GPU. One thread uses it; nothing here is locked.
struct cuda_device {
    struct device base;
    int gpu;        // its number among those that are visible
    char name[300]; // the GPU's
    int driver;     // the newest CUDA that its driver knows, 13000
    enum cuda_math math;
    struct cuda_limits limits;
    struct cuda_convs *convs;
    bool eager; // sections are issued every time

    int stream; // where ops go
    struct cuda_launch launches[DEVICE_STREAMS];
    cudaStream_t in, out;
    cudaEvent_t fork, join[DEVICE_STREAMS], leave;
    cudaEvent_t events[DEVICE_EVENTS];
    cudaEvent_t fences[DEVICE_FENCES][2]; // of stream 0 and of `out`
    bool is_capturing, in_section;

    struct cuda_block *blocks;
    size_t bytes, peak_bytes, total_bytes; // held, most held, the GPU's
    struct cuda_slot ring[CUDA_RING];
    int next_slot;
    void *packed; // pictures on their way out
    size_t packed_bytes;
    struct device_values *values; // of the section that runs, in the device's memory
    void *upload_memory;          // the host's, of all uploads
    struct cuda_upload uploads[CUDA_UPLOADS];
    int next_upload;
    struct cuda_refresh_table *tables;
};

// The master weights of one convolution and their copy in cuDNN's layout. `derived` is allocated by
// the first refresh; until then it is NULL.
struct device_weights {
    struct cuda_device *device;
    const float *master;
    int a, b, r; // [a,b,r,r]
    void *derived;
    size_t bytes;
};

// `base` is the first member, so the two pointers are equal.
static inline struct cuda_device *cuda_of(struct device *d) {
    return (struct cuda_device *)d;
}

// The chosen stream with its scratch, for the launchers in kernels/launch.h.
static inline const struct cuda_launch *cuda_launch_of(const struct cuda_device *d) {
    return &d->launches[d->stream];
}

// The chosen stream; outside of a section it is stream 0.
static inline cudaStream_t cuda_stream_of(const struct cuda_device *d) {
    return d->launches[d->stream].stream;
}

// The error of an allocation for `what`: ERR_LIMIT with the free bytes if memory was short, else
// that of cuda_error. `bytes` 0: the size is not known.
int cuda_memory_error(const struct cuda_device *d, const char *what, size_t bytes,
                      cudaError_t code);

// The entries of struct backend, with the contracts in backend/backend.h, by file. cuda/memory.c:
//
// Page-locked memory of the host, with the flags of cudaHostAlloc; cudaFreeHost frees it. Fails
// with ERR_LIMIT, ERR_DEVICE.
int cuda_pinned_new(size_t bytes, unsigned flags, void **ret_memory);
// Entries of struct backend. memory_new adds a block to the device's list, memory_free removes it,
// and `bytes` counts them.
int cuda_entry_memory_new(struct device *d, size_t bytes, void **ret_memory);
void cuda_entry_memory_free(struct device *d, void *memory);
int cuda_entry_shared_new(struct device *d, size_t bytes, void **ret_memory);
void cuda_entry_shared_free(struct device *d, void *memory);
size_t cuda_entry_memory_peak(struct device *d);
int cuda_entry_copy_in(struct device *d, void *to, const void *from, size_t bytes);
int cuda_entry_copy_out(struct device *d, void *to, const void *from, size_t bytes);
int cuda_entry_copy(struct device *d, void *to, const void *from, size_t bytes);
// Copies at most CUDA_UPLOAD_BYTES to the device, in the order of stream 0. The source has been
// read on return. Waits only if all slots are in flight.
int cuda_upload_send(struct cuda_device *d, void *to, const void *from, size_t bytes);
// The staging slots. close accepts what is half open.
int cuda_uploads_open(struct cuda_device *d);
void cuda_uploads_close(struct cuda_device *d);

// cuda/picture.c. The ring's slots get memory when images first need it; close accepts what is half
// open.
int cuda_ring_open(struct cuda_device *d);
void cuda_ring_close(struct cuda_device *d);
// Images use stream 0 and the streams `in` and `out`. The memory of slots grows with the largest
// batch, and stays until the device closes.
int cuda_entry_image_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                        const void *pictures, void *ret_tensor);
int cuda_entry_images_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                         const void *const *pictures, void *ret_tensor);
int cuda_entry_image_prefetch(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                              const void *pictures, int *ret_ahead);
int cuda_entry_image_arrive(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                            int ahead, void *ret_tensor);
int cuda_entry_image_out(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                         const void *tensor, void *ret_shared);

// cuda/section.c:
// A section's state is in its own struct; the device only knows whether one is open, and whether it
// is being captured.
int cuda_entry_fence_set(struct device *d, enum device_fence fence);
int cuda_entry_fence_wait(struct device *d, enum device_fence fence);
int cuda_entry_section_new(struct device *d, struct device_section **ret_section);
void cuda_entry_section_free(struct device_section *section);
int cuda_entry_section_begin(struct device_section *section, const struct device_values *values,
                             bool *ret_issue);
int cuda_entry_section_end(struct device_section *section);
void cuda_entry_section_drop(struct device_section *section);
void cuda_entry_stream_choose(struct device *d, int stream);
int cuda_entry_event_record(struct device *d, int event);
int cuda_entry_event_wait(struct device *d, int event);
// Makes streams, events, scratch, values and staging slots. Before everything else on the device:
// all other calls need a stream. close accepts what is half open.
int cuda_streams_open(struct cuda_device *d);
void cuda_streams_close(struct cuda_device *d);

// cuda/weights.c:
// Weights allocate on the first refresh, which therefore comes before any capture.
struct device_weights *cuda_entry_weights_new(struct device *d, const float *master,
                                              const int64_t dims[4]);
void cuda_entry_weights_free(struct device_weights *w);
int cuda_entry_weights_refresh(struct device *d, struct device_weights *const *weights, int count);
size_t cuda_entry_weights_bytes(const struct device_weights *w);

// cuda/conv_ops.c:
// A convolution has up to three problems, one for each pass, and uses the derived copy of its
// weights.
int cuda_entry_conv_new(struct device_weights *w, const struct conv_shape *shape, bool backward,
                        struct device_conv **ret_conv);
void cuda_entry_conv_free(struct device_conv *c);
size_t cuda_entry_conv_workspace_bytes(const struct device_conv *c);
int cuda_entry_plans_save(struct device *d, const char *path);
void cuda_entry_conv_describe(const struct device_conv *c, char *ret_text, size_t size);
int cuda_entry_conv_forward(struct device_conv *c, const void *x, const float *bias, void *ret_y,
                            void *workspace);
int cuda_entry_conv_backward(struct device_conv *c, const struct conv_gradients *t,
                             void *workspace);

// cuda/ops.c, all other ops: fills in their entries.
void cuda_entries(struct backend *b);

#endif
