// Images between host and device, for the CUDA backend.
//
// In: the host copies them into a slot of pinned memory, from a ring. The copy engine moves them to
// the device while ops run. Stream 0 waits for that and unpacks them into the tensor.
//
// Out: a kernel on a stream of its own packs them into device memory, and the copy engine moves
// that. The kernel could write to the host's memory itself and save the packed copy. But 3 numbers
// of 2 bytes a thread are small writes for the bus. Its blocks would also hold multiprocessors for
// as long as the bus takes, which the generators' update needs meanwhile. Packed, the kernel takes
// microseconds and the bus sees one large transfer.
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/cuda.h"

int cuda_ring_open(struct cuda_device *d) {
    for (int i = 0; i < CUDA_RING; i++) {
        CUDA(ERR_DEVICE, cudaEventCreateWithFlags(&d->ring[i].sent, cudaEventDisableTiming));
        CUDA(ERR_DEVICE, cudaEventCreateWithFlags(&d->ring[i].taken, cudaEventDisableTiming));
    }
    return ERR_OK;
}

void cuda_ring_close(struct cuda_device *d) {
    cuda_entry_memory_free(&d->base, d->packed);
    for (int i = 0; i < CUDA_RING; i++) {
        struct cuda_slot *s = &d->ring[i];
        if (s->host)
            (void)cudaFreeHost(s->host); // while closing, failures are ignored
        cuda_entry_memory_free(&d->base, s->device);
        if (s->sent)
            (void)cudaEventDestroy(s->sent);
        if (s->taken)
            (void)cudaEventDestroy(s->taken);
    }
}

// The slot that was used longest ago, except those with prefetched images. There is one: at most
// DEVICE_PREFETCHES of the CUDA_RING slots are prefetched.
static struct cuda_slot *slot_next(struct cuda_device *d) {
    struct cuda_slot *s;

    do {
        s = &d->ring[d->next_slot];
        d->next_slot = (d->next_slot + 1) % CUDA_RING;
    } while (s->ahead);
    return s;
}

// The new memory is made before the old one ends: a failure leaves the slot as it was.
static int slot_grow(struct cuda_device *d, struct cuda_slot *s, size_t bytes) {
    void *host, *memory;

    // The last copy may still read the host's side.
    CUDA(ERR_DEVICE_LOST, cudaEventSynchronize(s->sent));
    int err = cuda_pinned_new(bytes, cudaHostAllocDefault, &host);
    if (err)
        return err;
    err = cuda_entry_memory_new(&d->base, bytes, &memory);
    if (err) {
        (void)cudaFreeHost(host); // it is not used
        return err;
    }
    cuda_entry_memory_free(&d->base, s->device); // waits for its last reader
    if (s->host)
        (void)cudaFreeHost(s->host); // its copy has ended
    s->host = host;
    s->device = memory;
    s->bytes = bytes;
    return ERR_OK;
}

// Grows all slots that are free, so that no later step allocates. Prefetched ones grow at their
// next use.
static int ring_grow(struct cuda_device *d, size_t bytes) {
    int err = ERR_OK;

    for (int i = 0; i < CUDA_RING && !err; i++)
        if (!d->ring[i].ahead && d->ring[i].bytes < bytes)
            err = slot_grow(d, &d->ring[i], bytes);
    return err;
}

// A slot with room for `bytes`. The host may overwrite it: its last copy has ended.
static int slot_take(struct cuda_device *d, size_t bytes, struct cuda_slot **ret) {
    *ret = slot_next(d);
    if (bytes > (*ret)->bytes)
        return ring_grow(d, bytes);
    CUDA(ERR_DEVICE_LOST, cudaEventSynchronize((*ret)->sent));
    return ERR_OK;
}

// Copies a slot to the device, after the kernel that reads its previous images.
static int slot_send(struct cuda_device *d, struct cuda_slot *s, size_t bytes) {
    CUDA(ERR_DEVICE_LOST, cudaStreamWaitEvent(d->in, s->taken, 0));
    CUDA(ERR_DEVICE_LOST,
         cudaMemcpyAsync(s->device, s->host, bytes, cudaMemcpyHostToDevice, d->in));
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(s->sent, d->in));
    return ERR_OK;
}

static cudaError_t unpack(const struct cuda_launch *l, const struct tensor_shape *s,
                          enum pixel_type type, const void *packed, void *ret_tensor) {
    size_t pixels = (size_t)s->n * (size_t)s->h * (size_t)s->w;

    // No default: the compiler reports a kind that is missing here.
    switch (type) {
    case PIXELS_FLOAT:
        return cuda_image_in(l, pixels, s->c, packed, ret_tensor);
    case PIXELS_BYTE:
        return cuda_image_in_u8(l, pixels, s->c, packed, ret_tensor);
    case PIXELS_NATIVE:
        return cuda_picture_scatter(l, pixels, s->c, packed, ret_tensor);
    }
    BUG("picture type %d", (int)type);
}

// Stream 0 waits for the copy, then writes the tensor. `taken` frees the device's side.
static int slot_unpack(struct cuda_device *d, struct cuda_slot *slot, const struct tensor_shape *s,
                       enum pixel_type type, void *ret_tensor) {
    const struct cuda_launch *l = cuda_launch_of(d);

    CUDA(ERR_DEVICE_LOST, cudaStreamWaitEvent(l->stream, slot->sent, 0));
    CUDA(ERR_DEVICE_LOST, unpack(l, s, type, slot->device, ret_tensor));
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(slot->taken, l->stream));
    return ERR_OK;
}

// Fills a slot from `parts` arrays of equal size and starts its copy.
static int send(struct cuda_device *d, const struct tensor_shape *s, enum pixel_type type,
                const void *const *pictures, int parts, struct cuda_slot **ret_slot) {
    size_t bytes = device_image_bytes(&d->base, s, type), each = bytes / (size_t)parts;
    int err = slot_take(d, bytes, ret_slot);

    if (err)
        return err;
    for (int i = 0; i < parts; i++)
        memcpy((char *)(*ret_slot)->host + (size_t)i * each, pictures[i], each);
    return slot_send(d, *ret_slot, bytes);
}

int cuda_entry_image_prefetch(struct device *device, const struct tensor_shape *s,
                              enum pixel_type type, const void *pictures, int *ret_ahead) {
    struct cuda_device *d = cuda_of(device);
    struct cuda_slot *slot;
    int n = 0, err;

    for (int i = 0; i < CUDA_RING; i++)
        n += d->ring[i].ahead;
    // The contract's bound. slot_next relies on it.
    if (n == DEVICE_PREFETCHES)
        BUG("more pictures ahead than %d", DEVICE_PREFETCHES);
    err = send(d, s, type, &pictures, 1, &slot);
    if (err)
        return err;
    slot->ahead = true;
    *ret_ahead = (int)(slot - d->ring);
    return ERR_OK;
}

int cuda_entry_image_arrive(struct device *device, const struct tensor_shape *s,
                            enum pixel_type type, int ahead, void *ret_tensor) {
    struct cuda_device *d = cuda_of(device);

    if (ahead < 0 || ahead >= CUDA_RING || !d->ring[ahead].ahead)
        BUG("no pictures ahead in slot %d", ahead);
    d->ring[ahead].ahead = false;
    return slot_unpack(d, &d->ring[ahead], s, type, ret_tensor);
}

int cuda_entry_image_in(struct device *device, const struct tensor_shape *s, enum pixel_type type,
                        const void *pictures, void *ret_tensor) {
    struct cuda_device *d = cuda_of(device);
    struct cuda_slot *slot;
    int err = send(d, s, type, &pictures, 1, &slot);

    return err ? err : slot_unpack(d, slot, s, type, ret_tensor);
}

int cuda_entry_images_in(struct device *device, const struct tensor_shape *s, enum pixel_type type,
                         const void *const *pictures, void *ret_tensor) {
    struct cuda_device *d = cuda_of(device);
    struct cuda_slot *slot;
    int err = send(d, s, type, pictures, s->n, &slot);

    return err ? err : slot_unpack(d, slot, s, type, ret_tensor);
}

// Grows in the first steps only. The buffer never shrinks.
static int packed_room(struct cuda_device *d, size_t bytes) {
    if (bytes <= d->packed_bytes)
        return ERR_OK;
    cuda_entry_memory_free(&d->base, d->packed); // waits for its last reader
    d->packed = NULL;
    d->packed_bytes = 0;
    int err = cuda_entry_memory_new(&d->base, bytes, &d->packed);
    if (!err)
        d->packed_bytes = bytes;
    return err;
}

static cudaError_t pack(const struct cuda_launch *l, const struct tensor_shape *s,
                        enum pixel_type type, const void *tensor, void *ret_packed) {
    size_t pixels = (size_t)s->n * (size_t)s->h * (size_t)s->w;

    return type == PIXELS_FLOAT ? cuda_image_out(l, pixels, s->c, tensor, ret_packed)
                                : cuda_picture_gather(l, pixels, s->c, tensor, ret_packed);
}

// All images leave in the order of one stream, so they share one packed buffer.
int cuda_entry_image_out(struct device *device, const struct tensor_shape *s, enum pixel_type type,
                         const void *tensor, void *ret_shared) {
    struct cuda_device *d = cuda_of(device);
    struct cuda_launch out = *cuda_launch_of(d);
    size_t bytes = device_image_bytes(device, s, type);
    int err = packed_room(d, bytes);

    if (err)
        return err;
    // The packing kernel runs after the ops that wrote the tensor. The event may be recorded again
    // at once: a wait holds for the record before it.
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(d->leave, out.stream));
    CUDA(ERR_DEVICE_LOST, cudaStreamWaitEvent(d->out, d->leave, 0));
    out.stream = d->out;
    CUDA(ERR_DEVICE_LOST, pack(&out, s, type, tensor, d->packed));
    CUDA(ERR_DEVICE_LOST,
         cudaMemcpyAsync(ret_shared, d->packed, bytes, cudaMemcpyDeviceToHost, d->out));
    return ERR_OK;
}
