// The CUDA backend's ops that are one call of a launcher each.
#include "base/err.h"
#include "cuda/cuda.h"

// Every op's result. A failed launch means that the device is lost, unless cuda_error knows better.
static int issued(const char *op, cudaError_t code) {
    return code == cudaSuccess ? ERR_OK : cuda_error(ERR_DEVICE_LOST, op, code);
}

static const struct cuda_launch *launch(struct device *d) {
    return cuda_launch_of(cuda_of(d));
}

static size_t pixels_of(const struct tensor_shape *s) {
    return (size_t)s->n * (size_t)s->h * (size_t)s->w;
}

// A recorded section does not call again, so the kernel gets the addresses of seed and step.
static const struct cuda_dropout *dropout(struct device *d, const struct norm_dropout *dropout,
                                          struct cuda_dropout *ret) {
    // Addresses in device memory, which the host must not read.
    const struct device_values *values = cuda_of(d)->values;

    if (!dropout)
        return NULL;
    *ret = (struct cuda_dropout){&values->seed, &values->step, dropout->op};
    return ret;
}

static size_t norm_workspace_bytes(struct device *d, const struct norm_shape *s) {
    return cuda_norm_workspace_bytes(launch(d), s);
}

static int norm_forward(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                        void *workspace) {
    struct cuda_dropout draws;

    return issued("norm",
                  cuda_norm_forward(launch(d), s, t, dropout(d, t->dropout, &draws), workspace));
}

static int norm_backward(struct device *d, const struct norm_shape *s,
                         const struct norm_gradients *t, void *workspace) {
    struct cuda_dropout draws;

    return issued("norm's gradient",
                  cuda_norm_backward(launch(d), s, t, dropout(d, t->dropout, &draws), workspace));
}

static int tanh_forward(struct device *d, const struct norm_shape *s, const void *x, void *ret_y) {
    return issued("tanh", cuda_tanh_forward(launch(d), s, x, ret_y));
}

// The CPU needs the workspace, this backend does not.
static int tanh_backward(struct device *d, const struct norm_shape *s, const void *y,
                         const struct grad_sum *dy, void *ret_dx, void *workspace) {
    return issued("tanh's gradient", cuda_tanh_backward(launch(d), s, y, dy, ret_dx));
}

static int concat_forward(struct device *d, const struct concat_shape *s, const void *a,
                          const void *b, void *ret_y) {
    return issued("concat", cuda_concat_forward(launch(d), s, a, b, ret_y));
}

static int concat_backward(struct device *d, const struct concat_shape *s,
                           const struct concat_gradients *t) {
    return issued("concat's gradient", cuda_concat_backward(launch(d), s, t));
}

static int l1(struct device *d, const struct l1_args *args, const void *a, const void *b,
              void *ret_grad, double *ret_loss) {
    return issued("L1", cuda_l1(launch(d), pixels_of(&args->shape), args->shape.c, args->scale, a,
                                b, ret_grad, ret_loss));
}

static int gan(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
               double *ret_loss) {
    return issued("GAN loss", cuda_gan(launch(d), args, x, ret_grad, ret_loss));
}

static int tangent_forward(struct device *d, const struct norm_shape *s,
                           const struct tangent_tensors *t) {
    return issued("norm's tangent", cuda_tangent_forward(launch(d), s, t));
}

static int tangent_backward(struct device *d, const struct norm_shape *s,
                            const struct tangent_gradients *t) {
    return issued("norm's tangent gradient", cuda_tangent_backward(launch(d), s, t));
}

static int penalty(struct device *d, const struct penalty_args *args, const void *g, void *ret_u,
                   double *ret_loss) {
    const struct tensor_shape *s = &args->shape;

    return issued("penalty", cuda_penalty(launch(d), s->n, (size_t)s->h * (size_t)s->w, s->c,
                                          args->scale, g, ret_u, ret_loss));
}

static int mix(struct device *d, const struct mix_shape *s, const struct mix_tensors *t) {
    return issued("mix", cuda_mix(launch(d), s, t));
}

static int resample(struct device *d, const struct resample_shape *s, const void *x, void *ret_y) {
    return issued("resample", cuda_resample(launch(d), s, x, ret_y));
}

static int flip(struct device *d, const struct tensor_shape *s, const int *flipped, const void *x,
                void *ret_y) {
    return issued("flip", cuda_flip(launch(d), s, flipped, x, ret_y));
}

static int sample_forward(struct device *d, const struct sample_shape *s, const void *x,
                          void *ret_y) {
    return issued("sample", cuda_sample_forward(launch(d), s, x, ret_y));
}

static int sample_backward(struct device *d, const struct sample_shape *s, const void *dy,
                           bool accumulate, void *ret_dx) {
    return issued("sample's gradient", cuda_sample_backward(launch(d), s, dy, accumulate, ret_dx));
}

static size_t nce_workspace_bytes(struct device *d, const struct nce_args *args) {
    return cuda_nce_workspace_bytes(launch(d), args);
}

static int nce(struct device *d, const struct nce_args *args, const void *q, const void *k,
               void *ret_dq, float *ret_each, double *ret_loss, void *workspace) {
    return issued("NCE", cuda_nce(launch(d), args, q, k, ret_dq, ret_each, ret_loss, workspace));
}

static int adam(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v) {
    const struct device_values *values = cuda_of(d)->values;
    struct cuda_adam a = {.count = args->count,
                          .beta1 = args->beta1,
                          .beta2 = args->beta2,
                          // Addresses again: the values of a recorded step change.
                          .lr = &values->lr,
                          .t = &values->t,
                          .ret_bad = args->ret_bad};

    return issued("Adam", cuda_adam(launch(d), &a, g, p, m, v));
}

static int blend(struct device *d, size_t count, double a, const float *x, double b, float *y) {
    return issued("an average of weights or gradients",
                  cuda_blend(launch(d), count, (float)a, x, (float)b, y));
}

static int all_finite(struct device *d, size_t count, const float *x, int *ret_bad) {
    return issued("the look for numbers that are not finite",
                  cuda_finite(launch(d), count, x, ret_bad));
}

// Here and not in cuda.c, so that the functions above stay private to this file.
void cuda_entries(struct backend *b) {
    b->norm_forward = norm_forward;
    b->norm_backward = norm_backward;
    b->tanh_forward = tanh_forward;
    b->tanh_backward = tanh_backward;
    b->norm_workspace_bytes = norm_workspace_bytes;
    b->concat_forward = concat_forward;
    b->concat_backward = concat_backward;
    b->l1 = l1;
    b->gan = gan;
    b->tangent_forward = tangent_forward;
    b->tangent_backward = tangent_backward;
    b->penalty = penalty;
    b->mix = mix;
    b->resample = resample;
    b->flip = flip;
    b->sample_forward = sample_forward;
    b->sample_backward = sample_backward;
    b->nce_workspace_bytes = nce_workspace_bytes;
    b->nce = nce;
    b->adam = adam;
    b->blend = blend;
    b->finite = all_finite;
}
