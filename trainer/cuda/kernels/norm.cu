// How the kernels of the norms divide their work, and what they share on the host.
#include "cuda/kernels/norm.h"

cudaError_t norm_resident_check(const void *f32, const void *bf16) {
    const void *kernels[] = {f32, bf16};

    for (int i = 0; i < 2; i++) {
        struct cudaFuncAttributes a;
        cudaError_t error = cudaFuncGetAttributes(&a, kernels[i]);
        if (error)
            return error;
        // The resident kernels ask for all shared memory that a block may have. Static shared
        // memory counts too, and their launch would fail.
        if (a.sharedSizeBytes)
            return cudaErrorInvalidValue;
    }
    return cudaSuccess;
}

cudaError_t cuda_kernels_check(void) {
    cudaError_t error = norm_forward_check();

    return error ? error : norm_backward_check();
}

// The kernels' own struct: they get it by value.
struct norm_parts norm_parts_of(const struct grad_sum *dy) {
    struct norm_parts p;

    memset(&p, 0, sizeof p);
    p.count = dy->count;
    for (int i = 0; i < dy->count; i++) {
        p.part[i].data = dy->part[i].data;
        p.part[i].pad = dy->part[i].pad;
        p.part[i].first = dy->part[i].first;
        p.part[i].n = dy->part[i].n;
    }
    return p;
}

// 8 pixels a thread; more where that would make too many tiles of an image.
struct norm_tiles norm_tiles_of(const struct norm_shape *s) {
    enum { PIXELS_A_THREAD = 8, TILES_MAX = 256 };
    int pixels = s->h * s->w;
    struct norm_tiles t;

    t.tiling = tiling_of(cuda_channels(s->c) / 8, NORM_GROUPS, NORM_THREADS);
    t.pixels = HOST_MAX(t.tiling.lanes * PIXELS_A_THREAD, (pixels + TILES_MAX - 1) / TILES_MAX);
    t.count = (pixels + t.pixels - 1) / t.pixels;
    return t;
}

// Divides the channels for kernels that hold their pixels in shared memory. More groups side by
// side make longer accesses, fewer make more blocks. It takes the most groups that leave two blocks
// for each processor, where both fit it. They overlap: one loads while the other sums.
//
// Otherwise it takes `least` groups, which fill a read of 32 bytes. Fewer are taken only if half of
// the processors would have no block; so few images stay in the cache.
//
// Registers (97 to 110 a thread) allow two blocks of NORM_THREADS a processor, or one of
// NORM_RESIDENT_THREADS. The larger one is for a block that has a processor for itself.
struct norm_resident norm_resident_of(const struct cuda_launch *l, const struct norm_shape *s,
                                      int slabs) {
    enum { RESERVED = 1024 }; // bytes of shared memory that CUDA takes for each block
    size_t pixels = (size_t)s->h * (size_t)s->w, limit = l->limits->shared_bytes;
    size_t group = pixels * 8 * cuda_element_bytes(l->element) * (size_t)slabs;
    int groups = cuda_channels(s->c) / 8, least = NORM_GROUPS_LEAST(l->element);
    struct norm_resident r;

    memset(&r, 0, sizeof r);
    // From the longest accesses to the shortest; the first that is good enough ends the search.
    for (int side = 8; side >= 1; side /= 2) {
        struct tiling t = tiling_of(groups, side, NORM_THREADS);
        long blocks = (long)s->n * t.chunks;
        size_t held = (size_t)t.groups * group;
        bool two = 2 * (held + SUM_FLOATS(NORM_THREADS) * sizeof(float)) + RESERVED <= limit;
        bool fills = two && blocks >= 2L * l->limits->processors;
        bool idles = 2 * blocks <= l->limits->processors;
        // More threads help only if each has more than 8 pixels otherwise.
        bool large = pixels * (size_t)t.groups > 8 * NORM_THREADS;
        int threads = large && !fills ? NORM_RESIDENT_THREADS : NORM_THREADS;
        size_t bytes = held + SUM_FLOATS(threads) * sizeof(float);
        if (bytes > limit || (!fills && side > least) || (idles && side > 1))
            continue;
        r.tiling = tiling_of(groups, side, threads);
        r.threads = threads;
        r.shared_bytes = bytes;
        break;
    }
    return r;
}

struct norm_layer norm_layer_of(const struct norm_shape *s, const struct norm_affine *affine,
                                const float *stats, const struct cuda_dropout *dropout) {
    struct norm_layer a;

    memset(&a, 0, sizeof a);
    a.n = s->n;
    a.h = s->h;
    a.w = s->w;
    a.c = s->c;
    a.groups = cuda_channels(s->c) / 8;
    a.act = s->act;
    // stats is [2,n,c] or [2,c]: the means, then 1 / standard deviation.
    if (s->norm != NORM_NONE) {
        a.per_picture = s->norm == NORM_INSTANCE;
        a.mean = stats;
        a.rstd = stats + (size_t)(a.per_picture ? s->n : 1) * (size_t)s->c;
    }
    if (affine) {
        a.weight = affine->weight;
        a.bias = affine->bias;
    }
    a.drops = dropout != NULL;
    if (dropout)
        a.dropout = *dropout;
    return a;
}

// Enough for forward or backward. None where both take one pass, or have no sums.
size_t cuda_norm_workspace_bytes(const struct cuda_launch *l, const struct norm_shape *s) {
    if (s->norm == NORM_NONE || (s->norm == NORM_INSTANCE && norm_resident_of(l, s, 1).threads))
        return 0;
    return (norm_partial_floats(s) + (size_t)s->n * 2 * (size_t)cuda_channels(s->c)) *
           sizeof(float);
}
