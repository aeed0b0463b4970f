// PatchNCE: Park et al. 2020 (arXiv:2007.15651), equation 3; backend.h has the formula. In turn:
// unit vectors, logits (a product), softmax and loss, d loss / d unit (a product), d loss / d q.
// Products are in float on the plain cores: some ten million operations an image, on patches that
// stay in the cache.
#include "cuda/kernels/kernel.h"

enum { THREADS = 256, WARPS = THREADS / 32, TILE = 64, INNER = 16 };
// Added to a vector's length, and the logit that stands for the diagonal.
#define UNIT_EPS 1e-7f
#define DEAD_LOGIT (-10.0f)

// Workspace, in this order: terms [rows] in double; then floats: unit vectors of q and of k and d
// loss / d unit q, [rows,C] each, and logits [groups,count,count].
struct nce_kernel_args {
    int rows, count, channels, groups; // rows: of all pictures; count: of a group; channels: C
    float temperature;
    double weight; // of each row's loss in the total
    bool accumulate;
    const void *q, *k;
    void *dq;
    float *unit_q, *unit_k, *d, *logits, *each;
    double *terms, *loss;
    unsigned *done; // the stream's scratch
};

// With xor every lane gets the same sum in the same order.
INLINE float warp_sum(float x) {
#pragma unroll
    for (int by = 16; by > 0; by /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

INLINE float warp_max(float x) {
#pragma unroll
    for (int by = 16; by > 0; by /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, by));
    return x;
}

// The length of a row. The whole warp calls it, and every lane gets it.
INLINE float length_of(const void *x, int row, int channels, bool bf16) {
    float sum = 0;

    for (int i = (int)threadIdx.x % 32; i < channels; i += 32) {
        float v = fetch1(x, (size_t)row * channels + i, bf16);
        sum += v * v;
    }
    return sqrtf(warp_sum(sum));
}

// A warp scales a row to x / (|x| + eps): the rows of q come first, then those of k.
INLINE void unit(const struct nce_kernel_args &a, const bool bf16) {
    int row = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32;
    const void *from = row < a.rows ? a.q : a.k;
    float *to = row < a.rows ? a.unit_q : a.unit_k;

    if (row >= 2 * a.rows)
        return;
    row %= a.rows;
    float scale = 1 / (length_of(from, row, a.channels, bf16) + UNIT_EPS);
    for (int i = (int)threadIdx.x % 32; i < a.channels; i += 32) {
        size_t at = (size_t)row * a.channels + i;
        to[at] = scale * fetch1(from, at, bf16);
    }
}
KERNEL(unit, THREADS, nce_kernel_args)

struct product_args {
    int rows, columns, inner; // of one matrix
    bool transposed;          // b is [columns,inner], else [inner,columns]
    size_t a_stride, b_stride, c_stride;
    const float *a, *b; // a [rows,inner]
    float *c;           // [rows,columns]
};

// A block computes a tile of 64 x 64 of c, of matrix blockIdx.z. A thread has 4 x 4 numbers of it,
// 16 rows and 16 columns apart, so that a warp reads neighbouring words.
INLINE void product(const struct product_args &p) {
    // One column more than a tile: threads that write a column hit different banks.
    __shared__ float of_a[INNER][TILE + 1], of_b[INNER][TILE + 1];
    const float *a = p.a + blockIdx.z * p.a_stride, *b = p.b + blockIdx.z * p.b_stride;
    int row0 = (int)blockIdx.y * TILE, column0 = (int)blockIdx.x * TILE;
    int x = (int)threadIdx.x % 16, y = (int)threadIdx.x / 16;
    float sum[4][4] = {{0}};

    for (int k0 = 0; k0 < p.inner; k0 += INNER) {
        for (int i = (int)threadIdx.x; i < TILE * INNER; i += THREADS) {
            // Neighbouring threads read neighbouring numbers of a and b, transposed or not.
            int k = i % INNER, m = i / INNER, column = p.transposed ? m : i % TILE;
            int bk = p.transposed ? k : i / TILE;
            bool a_is = row0 + m < p.rows && k0 + k < p.inner;
            bool b_is = column0 + column < p.columns && k0 + bk < p.inner;
            size_t at = p.transposed ? (size_t)(column0 + column) * p.inner + k0 + bk
                                     : (size_t)(k0 + bk) * p.columns + column0 + column;
            of_a[k][m] = a_is ? a[(size_t)(row0 + m) * p.inner + k0 + k] : 0;
            of_b[bk][column] = b_is ? b[at] : 0;
        }
        // The tiles are complete here.
        __syncthreads();
#pragma unroll
        for (int k = 0; k < INNER; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sum[i][j] += of_a[k][y + 16 * i] * of_b[k][x + 16 * j];
        // No thread may still read them when the next ones are loaded.
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int row = row0 + y + 16 * i, column = column0 + x + 16 * j;
            if (row < p.rows && column < p.columns)
                p.c[blockIdx.z * p.c_stride + (size_t)row * p.columns + column] = sum[i][j];
        }
}
KERNEL_PLAIN(product, THREADS, product_args)

// A warp turns a row's logits into d total / d logit and its term of the loss. The last block adds
// up the terms.
INLINE void softmax(const struct nce_kernel_args &a) {
    __shared__ double sums[WARPS];
    __shared__ int last;
    int row = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    double total = 0;

    if (row < a.rows) {
        int own_at = row % a.count;
        // The diagonal's logit takes part in the maximum: with it the sum is at least 1.
        float *logits = a.logits + (size_t)row * a.count, top = DEAD_LOGIT, sum = 0;
        float own = logits[own_at], scale = (float)(a.weight / a.temperature);
        for (int j = lane; j < a.count; j += 32)
            top = fmaxf(top, logits[j]);
        top = warp_max(top);
        for (int j = lane; j < a.count; j += 32)
            sum += expf((logits[j] - top) / a.temperature);
        sum = warp_sum(sum) + expf((DEAD_LOGIT - top) / a.temperature);
        for (int j = lane; j < a.count; j += 32)
            // The gradient of cross entropy: softmax minus 1 at the own patch. The diagonal's share
            // is constant.
            logits[j] = scale * (expf((logits[j] - top) / a.temperature) / sum - (j == own_at));
        if (lane == 0) {
            float term = logf(sum) + (top - own) / a.temperature;
            a.terms[row] = term;
            if (a.each)
                a.each[row] = term;
        }
    }
    if (!is_last_block(a.done, gridDim.x, &last))
        return;
    for (int i = (int)threadIdx.x; i < a.rows; i += THREADS)
        // Past the L1 cache: other blocks wrote them.
        total += __ldcg(a.terms + i);
    total = block_sum(sums, total);
    if (threadIdx.x == 0 && a.loss)
        *a.loss = a.weight * total + (a.accumulate ? *a.loss : 0);
}
KERNEL_PLAIN(softmax, THREADS, nce_kernel_args)

// A warp goes from d loss / d unit to d loss / d q. For unit = q / (|q| + eps) that is d / (|q| +
// eps) - q (d q) / ((|q| + eps)^2 |q|).
INLINE void unit_gradient(const struct nce_kernel_args &a, const bool bf16) {
    int row = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;

    if (row >= a.rows)
        return;
    const float *d = a.d + (size_t)row * a.channels;
    size_t at = (size_t)row * a.channels;
    float length = length_of(a.q, row, a.channels, bf16), scale = 1 / (length + UNIT_EPS),
          along = 0;
    for (int i = lane; i < a.channels; i += 32)
        along += d[i] * fetch1(a.q, at + i, bf16);
    along = warp_sum(along);
    // For q = 0 the second term is 0, and the division undefined.
    along = length > 0 ? along * scale * scale / length : 0;
    for (int g = lane; g < a.channels / 8; g += 32) {
        float v[8];
        fetch8(a.q, at / 8 + g, bf16, v);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = d[g * 8 + k] * scale - v[k] * along;
        write8(a.dq, at / 8 + g, bf16, v);
    }
}
KERNEL(unit_gradient, THREADS, nce_kernel_args)

// `all` makes one group of all rows; else each image is a group of its own.
static struct nce_kernel_args args_of(const struct nce_args *s, void *workspace) {
    struct nce_kernel_args a;
    size_t vectors;

    memset(&a, 0, sizeof a);
    a.rows = s->n * s->patches;
    a.count = s->all ? a.rows : s->patches;
    a.groups = a.rows / a.count;
    a.channels = cuda_channels(s->dim);
    a.temperature = (float)s->temperature;
    a.weight = s->scale / a.rows;
    a.accumulate = s->accumulate;
    vectors = (size_t)a.rows * (size_t)a.channels;
    // Doubles first, as they need the alignment.
    a.terms = (double *)workspace;
    a.unit_q = (float *)(a.terms + a.rows);
    a.unit_k = a.unit_q + vectors;
    a.d = a.unit_k + vectors;
    a.logits = a.d + vectors;
    return a;
}

size_t cuda_nce_workspace_bytes(const struct cuda_launch *l, const struct nce_args *args) {
    struct nce_kernel_args a = args_of(args, NULL);

    return (size_t)a.rows * sizeof(double) +
           (3 * (size_t)a.rows * (size_t)a.channels + (size_t)a.rows * (size_t)a.count) *
               sizeof(float);
}

static cudaError_t launch_product(const struct cuda_launch *l, int matrices,
                                  const struct product_args *p) {
    struct product_args args = *p;

    args.a_stride = (size_t)p->rows * p->inner;
    args.b_stride = (size_t)p->inner * p->columns;
    args.c_stride = (size_t)p->rows * p->columns;
    return LAUNCH_PLAIN(l, product,
                        dim3(blocks_for(p->columns, TILE), blocks_for(p->rows, TILE), matrices),
                        THREADS, 0, args);
}

cudaError_t cuda_nce(const struct cuda_launch *l, const struct nce_args *args, const void *q,
                     const void *k, void *ret_dq, float *ret_each, double *ret_loss,
                     void *workspace) {
    struct nce_kernel_args a = args_of(args, workspace);
    struct product_args logits = {a.count, a.count, a.channels, true,     0,
                                  0,       0,       a.unit_q,   a.unit_k, a.logits};
    struct product_args d = {a.count, a.channels, a.count, false, 0, 0, 0, a.logits, a.unit_k, a.d};
    cudaError_t error;

    if (!takes_pixels(2 * (size_t)a.rows, a.channels) || a.groups > 65535) // the grid's z
        return cudaErrorInvalidValue;
    a.q = q;
    a.k = k;
    a.dq = ret_dq;
    a.each = ret_each;
    a.loss = ret_loss;
    a.done = (unsigned *)l->scratch;
    // The five kernels run in the order of the stream; each reads what the one before wrote.
    error = LAUNCH(l, unit, blocks_for(2 * (size_t)a.rows, WARPS), THREADS, 0, a);
    if (!error)
        error = launch_product(l, a.groups, &logits);
    if (!error)
        error = LAUNCH_PLAIN(l, softmax, blocks_for(a.rows, WARPS), THREADS, 0, a);
    if (!error)
        error = launch_product(l, a.groups, &d);
    if (!error)
        error = LAUNCH(l, unit_gradient, blocks_for(a.rows, WARPS), THREADS, 0, a);
    return error;
}
