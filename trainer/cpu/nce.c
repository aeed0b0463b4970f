// Sampling of pixels, and PatchNCE as two matrix products with a softmax between them.
#include "cpu/nce.h"

#include <dnnl.h>
#include <math.h>
#include <string.h>

#include "backend/clones.h"
#include "base/err.h"
#include "base/util.h"

#define UNIT_EPS 1e-7    // backend.h: x / (|x| + 1e-7)
#define DEAD_LOGIT (-10) // backend.h: the logit that replaces the diagonal

// ---- samples ----

// Of one image, border included.
static size_t map_floats(const struct sample_shape *s) {
    return (size_t)(s->h + 2 * s->pad) * (size_t)(s->w + 2 * s->pad) * (size_t)s->c;
}

// Where patch i of image n starts in its map.
static size_t patch_at(const struct sample_shape *s, int n, int i) {
    int id = s->ids[n * s->count + i], whole = s->w + 2 * s->pad;

    // The ids count the bordered map, so they are its pixels directly.
    if (s->border)
        return (size_t)id * (size_t)s->c;
    return (size_t)((id / s->w + s->pad) * whole + id % s->w + s->pad) * (size_t)s->c;
}

int cpu_sample_forward(struct device *d, const struct sample_shape *s, const void *x, void *ret_y) {
    size_t c = (size_t)s->c;
    const float *map = x;
    float *y = ret_y;

    for (int n = 0; n < s->n; n++)
        for (int i = 0; i < s->count; i++)
            memcpy(y + (size_t)(n * s->count + i) * c,
                   map + (size_t)n * map_floats(s) + patch_at(s, n, i), c * sizeof(float));
    return ERR_OK;
}

int cpu_sample_backward(struct device *d, const struct sample_shape *s, const void *dy,
                        bool accumulate, void *ret_dx) {
    const float *gradient = dy;
    float *dx = ret_dx;
    int c = s->c;

#pragma omp parallel for
    // One thread for each image: its ids may repeat, and sums to one pixel must not race.
    for (int n = 0; n < s->n; n++) {
        float *map = dx + (size_t)n * map_floats(s);
        if (!accumulate)
            memset(map, 0, map_floats(s) * sizeof *map);
        for (int i = 0; i < s->count; i++) {
            const float *g = gradient + (size_t)(n * s->count + i) * (size_t)c;
            float *pixel = map + patch_at(s, n, i);
            for (int k = 0; k < c; k++)
                pixel[k] += g[k];
        }
    }
    return ERR_OK;
}

// ---- PatchNCE ----

// One set of patches that are each other's negatives.
struct group {
    int count, dim;
    double temperature;
    double weight;                       // of each patch's loss in the total
    float *logits, *unit_q, *unit_k, *d; // scratch: [count,count], then [count,dim] each
};

// Logits become gradients in place, so no second square matrix is needed.
static size_t group_floats(int count, int dim) {
    return (size_t)count * (size_t)count + 3 * (size_t)count * (size_t)dim;
}

static int group_count(const struct nce_args *s) {
    return s->all ? s->n * s->patches : s->patches;
}

size_t cpu_nce_workspace_bytes(struct device *d, const struct nce_args *args) {
    return group_floats(group_count(args), args->dim) * sizeof(float);
}

static double dot_product(int dim, const float *a, const float *b) {
    double sum = 0;

    for (int i = 0; i < dim; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void make_unit(const struct group *g, const float *x, float *ret_unit) {
    size_t dim = (size_t)g->dim;

#pragma omp parallel for
    for (int i = 0; i < g->count; i++) {
        const float *row = x + (size_t)i * dim;
        // As the reference: the eps is added to the length and not under the root.
        double scale = 1 / (sqrt(dot_product(g->dim, row, row)) + UNIT_EPS);
        for (size_t k = 0; k < dim; k++)
            ret_unit[(size_t)i * dim + k] = (float)(row[k] * scale);
    }
}

// From d loss / d unit to d loss / d x, for unit = x / (|x| + eps).
static void unit_backward(const struct group *g, const float *x, const float *d, float *ret_dx) {
    size_t dim = (size_t)g->dim;

#pragma omp parallel for
    for (int i = 0; i < g->count; i++) {
        const float *row = x + (size_t)i * dim, *grad = d + (size_t)i * dim;
        double length = sqrt(dot_product(g->dim, row, row)), scale = 1 / (length + UNIT_EPS);
        // d unit / dx = scale - x x' scale^2 / |x|. A zero vector has no direction, so along is 0.
        double along = length > 0 ? dot_product(g->dim, row, grad) * scale * scale / length : 0;
        for (size_t k = 0; k < dim; k++)
            ret_dx[(size_t)i * dim + k] = (float)(grad[k] * scale - row[k] * along);
    }
}

// The logits of patch i become d total / d (q_i k_j). Returns the loss of the patch.
static double patch_loss(const struct group *g, int i) {
    float *row = g->logits + (size_t)i * (size_t)g->count;
    // The largest logit is taken off first, so that no power overflows.
    double top = DEAD_LOGIT, sum, t = g->temperature, own = row[i];

    for (int j = 0; j < g->count; j++)
        top = fmax(top, row[j]);
    sum = exp((DEAD_LOGIT - top) / t);
    for (int j = 0; j < g->count; j++)
        sum += exp((row[j] - top) / t);
    for (int j = 0; j < g->count; j++)
        // Softmax less the one-hot target: the derivative of cross-entropy by the logits.
        row[j] = (float)(g->weight / t * (exp((row[j] - top) / t) / sum - (j == i)));
    return log(sum) + (top - own) / t;
}

static void multiply(char transposed, int rows, int columns, int inner, const float *a,
                     const float *b, float *ret) {
    // oneDNN's products are row-major: a leading dimension is the length of a stored row.
    int ldb = transposed == 'T' ? inner : columns;

    if (dnnl_sgemm('N', transposed, rows, columns, inner, 1, a, inner, b, ldb, 0, ret, columns) !=
        dnnl_success)
        BUG("product %dx%dx%d", rows, columns, inner);
}

static double group_loss(const struct group *g, const float *q, const float *k, float *ret_dq,
                         float *ret_each) {
    double sum = 0;

    make_unit(g, q, g->unit_q);
    make_unit(g, k, g->unit_k);
    multiply('T', g->count, g->count, g->dim, g->unit_q, g->unit_k, g->logits);
    for (int i = 0; i < g->count; i++) {
        double loss = patch_loss(g, i);
        sum += loss;
        if (ret_each)
            ret_each[i] = (float)loss;
    }
    // d loss / d unit_q. The keys are constant, so the other product is not needed.
    multiply('N', g->count, g->dim, g->count, g->logits, g->unit_k, g->d);
    unit_backward(g, q, g->d, ret_dq);
    return sum * g->weight;
}

int cpu_nce(struct device *d, const struct nce_args *args, const void *q, const void *k,
            void *ret_dq, float *ret_each, double *ret_loss, void *workspace) {
    int count = group_count(args), total = args->n * args->patches;
    size_t rows = (size_t)count * (size_t)args->dim;
    struct group g = {.count = count,
                      .dim = args->dim,
                      .temperature = args->temperature,
                      .weight = args->scale / total,
                      .logits = workspace};
    const float *queries = q, *keys = k;
    float *dq = ret_dq;
    double sum = 0;

    g.unit_q = g.logits + (size_t)count * (size_t)count;
    g.unit_k = g.unit_q + rows;
    g.d = g.unit_k + rows;
    // One image at a time or the whole batch. The groups share the scratch.
    for (int first = 0; first < total; first += count) {
        size_t at = (size_t)first * (size_t)args->dim;
        sum += group_loss(&g, queries + at, keys + at, dq + at, ret_each ? ret_each + first : NULL);
    }
    if (ret_loss)
        *ret_loss = args->accumulate ? *ret_loss + sum : sum;
    return ERR_OK;
}
