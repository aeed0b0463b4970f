// Convolutions by oneDNN: maps are NHWC, and weights have the packing that oneDNN chooses.
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/cpu.h"

// One of a convolution's three passes.
struct pass {
    dnnl_primitive_t primitive;
    dnnl_memory_t scratch;
    size_t scratch_bytes;
    const char *kernel; // oneDNN's name; static
    bool one_thread;    // runs on one
};

// Passes that are not oneDNN's have no primitive.
struct dnnl_conv {
    struct device_weights *weights;
    struct conv_shape shape;
    struct pass forward, backward_data;
    int packed_forward, packed_backward; // indices into weights->packed, -1: none
    dnnl_memory_t x, y, bias;            // their data is set at each run
};

// Memory without data of its own.
static int memory_new(const struct cpu_device *d, const dnnl_memory_desc_t *desc,
                      dnnl_memory_t *ret_memory) {
    DNN(ERR_DEVICE, dnnl_memory_create(ret_memory, desc, d->engine, DNNL_MEMORY_NONE));
    return ERR_OK;
}

struct descs {
    dnnl_memory_desc_t x, w, bias, y;
    dnnl_dims_t stride, pad_left, pad_right;
};

static int describe(const struct conv_shape *s, struct descs *ret) {
    int h, w;

    conv_output_size(s, &h, &w);
    // oneDNN counts dimensions as NCHW. The tag says that memory is NHWC.
    dnnl_dims_t x = {s->n, s->c, s->h, s->w}, y = {s->n, s->k, h, w};
    dnnl_dims_t weights = {s->k, s->c, s->r, s->r}, bias = {s->k};

    for (int i = 0; i < 2; i++) {
        int in = i ? s->w : s->h, out = i ? w : h;
        ret->stride[i] = s->stride;
        ret->pad_left[i] = s->pad;
        // On the right just enough that oneDNN arrives at our output's size.
        ret->pad_right[i] = s->transposed ? s->pad - s->out_pad
                                          : MAX(0, (out - 1) * s->stride + s->r - in - s->pad);
    }
    DNN(ERR_DEVICE, dnnl_memory_desc_init_by_tag(&ret->x, 4, x, dnnl_f32, dnnl_nhwc));
    DNN(ERR_DEVICE, dnnl_memory_desc_init_by_tag(&ret->y, 4, y, dnnl_f32, dnnl_nhwc));
    DNN(ERR_DEVICE,
        dnnl_memory_desc_init_by_tag(&ret->w, 4, weights, dnnl_f32, dnnl_format_tag_any));
    DNN(ERR_DEVICE, dnnl_memory_desc_init_by_tag(&ret->bias, 1, bias, dnnl_f32, dnnl_a));
    return ERR_OK;
}

// The two op descriptors, plain or transposed. oneDNN keeps both kinds in one struct.
enum direction { FORWARD, BACKWARD_DATA };

static int op_desc(const struct conv_shape *s, const struct descs *d, enum direction direction,
                   dnnl_convolution_desc_t *ret_desc) {
    const dnnl_memory_desc_t *bias = s->bias ? &d->bias : NULL;
    dnnl_alg_kind_t alg = s->transposed ? dnnl_deconvolution_direct : dnnl_convolution_direct;
    dnnl_prop_kind_t prop = dnnl_forward_training;

    switch (direction) {
    case FORWARD:
        DNN(ERR_DEVICE, (s->transposed ? dnnl_deconvolution_forward_desc_init
                                       : dnnl_convolution_forward_desc_init)(
                            ret_desc, prop, alg, &d->x, &d->w, bias, &d->y, d->stride, d->pad_left,
                            d->pad_right));
        break;
    case BACKWARD_DATA:
        DNN(ERR_DEVICE,
            (s->transposed ? dnnl_deconvolution_backward_data_desc_init
                           : dnnl_convolution_backward_data_desc_init)(
                ret_desc, alg, &d->x, &d->w, &d->y, d->stride, d->pad_left, d->pad_right));
        break;
    }
    return ERR_OK;
}

// oneDNN's matrix products choose how to divide sums by the number of threads, so that bits would
// depend on it: they get one. The other kernels of these two passes divide outputs.
static int wants_one_thread(dnnl_primitive_desc_t desc, bool *ret_one) {
    const char *name;

    DNN(ERR_DEVICE, dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name));
    *ret_one = strstr(name, "gemm") != NULL;
    return ERR_OK;
}

static int new_desc(const struct dnnl_conv *c, const dnnl_convolution_desc_t *op,
                    dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *ret_desc) {
    dnnl_primitive_attr_t attr;

    // We give the scratch: the training step allocates nothing.
    DNN(ERR_DEVICE, dnnl_primitive_attr_create(&attr));
    dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(ret_desc, op, attr, c->weights->device->engine, hint);
    dnnl_primitive_attr_destroy(attr);
    DNN(ERR_DEVICE, status);
    return ERR_OK;
}

static int pass_desc(const struct dnnl_conv *c, const struct descs *d, enum direction direction,
                     dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *ret_desc) {
    dnnl_convolution_desc_t op;
    bool one = false;
    int err = op_desc(&c->shape, d, direction, &op);

    if (!err)
        err = new_desc(c, &op, hint, ret_desc);
    if (!err)
        err = wants_one_thread(*ret_desc, &one);
    if (!err && one) {
        // The plan and its scratch are made anew for one thread.
        int threads = omp_get_max_threads();
        dnnl_primitive_desc_destroy(*ret_desc);
        *ret_desc = NULL;
        omp_set_num_threads(1);
        err = new_desc(c, &op, hint, ret_desc);
        omp_set_num_threads(threads);
    }
    return err;
}

static int pass_init(const struct dnnl_conv *c, dnnl_primitive_desc_t desc, struct pass *p) {
    // Lent by the descriptor. memory_new copies it.
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);

    DNN(ERR_DEVICE, dnnl_primitive_create(&p->primitive, desc));
    DNN(ERR_DEVICE, dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &p->kernel));
    p->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    int err = wants_one_thread(desc, &p->one_thread);
    return err ? err : memory_new(c->weights->device, scratch, &p->scratch);
}

// Forward and backward may want different packings of the same weights, so each has an index.
static int forward_init(struct dnnl_conv *c, dnnl_primitive_desc_t desc) {
    int err = pass_init(c, desc, &c->forward);

    if (err)
        return err;
    return cpu_packed_dnnl(c->weights, &c->shape,
                           dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
                           &c->packed_forward);
}

static int backward_data_init(struct dnnl_conv *c, const struct descs *d,
                              dnnl_primitive_desc_t hint) {
    dnnl_primitive_desc_t desc = NULL;
    int err = pass_desc(c, d, BACKWARD_DATA, hint, &desc);

    if (!err)
        err = pass_init(c, desc, &c->backward_data);
    if (!err)
        err = cpu_packed_dnnl(c->weights, &c->shape,
                              dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
                              &c->packed_backward);
    dnnl_primitive_desc_destroy(desc);
    return err;
}

static int maps_init(struct dnnl_conv *c, const struct descs *d) {
    const struct cpu_device *device = c->weights->device;
    // x and y serve as their own gradients too: shape and layout are equal.
    int err = memory_new(device, &d->x, &c->x);

    if (!err)
        err = memory_new(device, &d->y, &c->y);
    if (!err)
        err = memory_new(device, &d->bias, &c->bias);
    return err;
}

static int conv_init(struct dnnl_conv *c, const struct kernels *kernels) {
    dnnl_primitive_desc_t forward = NULL; // the gradients need it, even without a forward pass here
    struct descs d;
    int err = describe(&c->shape, &d);

    if (!err)
        err = maps_init(c, &d);
    if (!err)
        err = pass_desc(c, &d, FORWARD, NULL, &forward);
    if (!err && kernels->forward == KERNEL_DNNL)
        err = forward_init(c, forward);
    if (!err && kernels->backward_data == KERNEL_DNNL)
        err = backward_data_init(c, &d, forward);
    dnnl_primitive_desc_destroy(forward);
    return err;
}

int cpu_dnnl_conv_new(struct device_weights *w, const struct conv_shape *shape,
                      const struct kernels *kernels, struct dnnl_conv **ret_conv) {
    struct dnnl_conv *c = xcalloc(1, sizeof *c);
    int err;

    c->weights = w;
    c->shape = *shape;
    c->packed_forward = c->packed_backward = -1;
    // After a failure cpu_dnnl_conv_free takes the half-made convolution.
    err = conv_init(c, kernels);
    if (err) {
        cpu_dnnl_conv_free(c);
        return err;
    }
    *ret_conv = c;
    return ERR_OK;
}

static void pass_fini(struct pass *p) {
    dnnl_memory_destroy(p->scratch);
    dnnl_primitive_destroy(p->primitive);
}

void cpu_dnnl_conv_free(struct dnnl_conv *c) {
    if (!c)
        return;
    pass_fini(&c->forward);
    pass_fini(&c->backward_data);
    dnnl_memory_destroy(c->bias);
    dnnl_memory_destroy(c->x);
    dnnl_memory_destroy(c->y);
    free(c);
}

static size_t align(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

// The workspace: oneDNN's scratchpad, the weights as it wants them.
static size_t packed_offset(const struct dnnl_conv *c) {
    // The passes of one convolution never run at the same time.
    return align(MAX(c->forward.scratch_bytes, c->backward_data.scratch_bytes));
}

size_t cpu_dnnl_conv_bytes(const struct dnnl_conv *c) {
    return packed_offset(c) + MAX(cpu_packed_scratch(c->weights, c->packed_forward),
                                  cpu_packed_scratch(c->weights, c->packed_backward));
}

void cpu_dnnl_conv_names(const struct dnnl_conv *c, const char *ret_names[2]) {
    const struct pass *passes[] = {&c->forward, &c->backward_data};

    for (int i = 0; i < 2; i++)
        ret_names[i] = passes[i]->kernel ? passes[i]->kernel : "-";
}

static int set_data(dnnl_memory_t memory, const void *data) {
    DNN(ERR_DEVICE_LOST, dnnl_memory_set_data_handle(memory, (void *)data));
    return ERR_OK;
}

static int set_maps(struct dnnl_conv *c, const float *x, const float *y, const float *bias) {
    int err = set_data(c->x, x);

    if (err)
        return err;
    // Handles change with every call, because tensors of the arena share memory.
    err = set_data(c->y, y);
    if (err)
        return err;
    return set_data(c->bias, bias);
}

static int pass_run(struct dnnl_conv *c, struct pass *p, const dnnl_exec_arg_t args[3],
                    void *workspace) {
    dnnl_exec_arg_t all[5] = {args[0], args[1], args[2]};
    int count = 3;
    int err = set_data(p->scratch, workspace);

    if (err)
        return err;
    // Only the forward pass has a bias. Its gradient is a sum of our own.
    if (c->shape.bias && p == &c->forward)
        all[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, c->bias};
    all[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, p->scratch};
    // oneDNN plans for the number of threads at hand, so plan and run need the same number.
    int threads = omp_get_max_threads();
    if (p->one_thread)
        omp_set_num_threads(1);
    dnnl_status_t status =
        dnnl_primitive_execute(p->primitive, c->weights->device->stream, count, all);
    omp_set_num_threads(threads);
    DNN(ERR_DEVICE_LOST, status);
    return ERR_OK;
}

static int use_packed(const struct dnnl_conv *c, int packed, void *workspace) {
    const float *data; // oneDNN's memory knows it

    return cpu_packed_use(c->weights, packed, (char *)workspace + packed_offset(c), &data);
}

int cpu_dnnl_conv_forward(struct dnnl_conv *c, const void *x, const float *bias, void *ret_y,
                          void *workspace) {
    dnnl_exec_arg_t args[3] = {
        {DNNL_ARG_SRC, c->x},
        {DNNL_ARG_WEIGHTS, c->weights->packed[c->packed_forward].memory},
        {DNNL_ARG_DST, c->y},
    };
    int err = use_packed(c, c->packed_forward, workspace);

    if (!err)
        err = set_maps(c, x, ret_y, bias);
    return err ? err : pass_run(c, &c->forward, args, workspace);
}

int cpu_dnnl_conv_data(struct dnnl_conv *c, const struct conv_gradients *t, void *workspace) {
    dnnl_exec_arg_t args[3] = {
        {DNNL_ARG_DIFF_SRC, c->x},
        {DNNL_ARG_WEIGHTS, c->weights->packed[c->packed_backward].memory},
        {DNNL_ARG_DIFF_DST, c->y},
    };
    int err = use_packed(c, c->packed_backward, workspace);

    if (!err)
        err = set_maps(c, t->ret_dx, t->dy, NULL);
    return err ? err : pass_run(c, &c->backward_data, args, workspace);
}
