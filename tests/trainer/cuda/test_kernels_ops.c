// CUDA's output layers, losses, images and patches, on the host; see trainer/cuda/kernel_test.h.
// The judges are formulas in double. For resampling, the loss of patches and norms' tangents they
// are the CPU's ops, which compute in double and have tests of their own.
#include "trainer/cuda/kernel_test.h"

#include "base/err.h"

#include "cpu/loss.h"
#include "cpu/nce.h"
#include "cpu/resample.h"
#include "cpu/tangent.h"
#include "trainer/oracle/ops.h"

static const enum cuda_element elements[] = {CUDA_F32, CUDA_BF16};

#define CHECK(check)                                                                               \
    do {                                                                                           \
        for (unsigned e_ = 0; e_ < COUNT(elements); e_++)                                          \
            check(elements[e_]);                                                                   \
    } while (0)

// A case's operands; what each check needs of them.
struct ops {
    struct rig rig;
    struct tensor *a, *b, *c, *d, *out, *out2, *param, *loss;
    double *ret_loss;
    union {
        struct norm_shape norm;
        struct concat_shape concat;
        struct mix_shape mix;
        struct gan_args gan;
        struct resample_shape resample;
        struct sample_shape sample;
        struct nce_args nce;
        struct tensor_shape tensor;
    };
    struct grad_sum dy;
    struct norm_affine affine;
    enum activation act;
    bool accumulate, bytes;
    int n, count;
    double scale;
};

static void open_ops(struct ops *o, enum cuda_element element) {
    memset(o, 0, sizeof *o);
    rig_init(&o->rig, element, &LIMITS[0]);
    succeed(cudaHostAlloc((void **)&o->ret_loss, sizeof(double), cudaHostAllocMapped));
}

static void close_ops(struct ops *o) {
    succeed(cudaFreeHost(o->ret_loss));
    rig_fini(&o->rig);
}

static struct tensor *in(struct ops *o, size_t pixels, int c) {
    return tensor_in(&o->rig, ELEMENTS, pixels, c);
}

static struct tensor *out(struct ops *o, size_t pixels, int c) {
    return tensor_out(&o->rig, ELEMENTS, pixels, c);
}

// The numbers of the judge as floats, and back.
static float *floats(const struct tensor *t) {
    size_t count = t->pixels * (size_t)t->c;
    float *f = xcalloc(count + 1, sizeof *f);

    for (size_t i = 0; i < count; i++)
        f[i] = (float)t->d[i];
    return f;
}

static void take_floats(struct tensor *t, float *f) {
    for (size_t i = 0; i < t->pixels * (size_t)t->c; i++)
        t->d[i] = f[i];
    free(f);
}

// tanh

static cudaError_t run_tanh(struct rig *r, void *context) {
    struct ops *o = context;
    cudaError_t error = cuda_tanh_forward(&r->launch, &o->norm, o->a->memory, o->out->memory);

    return error ? error
                 : cuda_tanh_backward(&r->launch, &o->norm, o->b->memory, &o->dy, o->out2->memory);
}

static void check_tanh(enum cuda_element element) {
    for (int c = 1; c < 22; c += 4) {
        struct norm_shape s = {.n = 4, .h = 5, .w = 3, .c = c};
        struct ops o;
        open_ops(&o, element);
        o.norm = s;
        o.a = in(&o, 60, c);
        o.b = in(&o, 60, c); // y of the backward
        o.c = in(&o, 30, c);
        o.d = in(&o, (size_t)2 * 9 * 7, c);
        o.out = out(&o, 60, c);
        o.out2 = out(&o, 60, c);
        // None for the last picture.
        o.dy = (struct grad_sum){2, {{o.c->memory, 0, 0, 2}, {o.d->memory, 2, 1, 2}}};
        run_in_all_orders(&o.rig, run_tanh, NULL, &o);
        for (size_t i = 0; i < 60 * (size_t)c; i++)
            o.out->d[i] = tanh(o.a->d[i]);
        ref_fold(&s, o.c->d, 0, 0, 2, o.out2->d);
        ref_fold(&s, o.d->d, 2, 1, 2, o.out2->d);
        for (size_t i = 0; i < 60 * (size_t)c; i++)
            o.out2->d[i] *= 1 - o.b->d[i] * o.b->d[i];
        tensor_check(o.out, bound_of(&o.rig, false), "tanh");
        tensor_check(o.out2, bound_of(&o.rig, false), "tanh's dx");
        close_ops(&o);
    }
}

static void tanh_is_the_definition(void **state) {
    CHECK(check_tanh);
}

// Biases

static cudaError_t run_bias(struct rig *r, void *context) {
    struct ops *o = context;
    const struct tensor *x = o->a;
    cudaError_t error =
        cuda_bias(&r->launch, x->pixels, x->c, o->act, o->param->memory, x->memory, o->out->memory);

    return error ? error
                 : cuda_bias_gradient(&r->launch, x->pixels, x->c, false, x->memory,
                                      o->out2->memory, r->workspace);
}

static void check_bias(enum cuda_element element) {
    static const struct {
        size_t pixels;
        int c;
    } shapes[] = {{1, 1}, {700, 3}, {1, 520}, {5003, 64}, {333, 264}, {70000, 8}};

    for (unsigned i = 0; i < COUNT(shapes); i++) {
        int c = shapes[i].c;
        struct ops o;
        open_ops(&o, element);
        o.act = (enum activation)(i % 3);
        o.a = in(&o, shapes[i].pixels, c);
        o.param = tensor_in(&o.rig, FLOATS, 1, c);
        o.out = out(&o, shapes[i].pixels, c);
        o.out2 = tensor_out(&o.rig, FLOATS, 1, c);
        rig_workspace(&o.rig, cuda_bias_gradient_bytes(&o.rig.launch, shapes[i].pixels, c));
        run_in_all_orders(&o.rig, run_bias, NULL, &o);
        for (size_t k = 0; k < shapes[i].pixels * (size_t)c; k++) {
            double z = o.a->d[k] + o.param->d[k % (size_t)c];
            o.out->d[k] = z > 0 || o.act == ACT_NONE ? z : o.act == ACT_LEAKY ? 0.2 * z : 0;
            o.out2->d[k % (size_t)c] += o.a->d[k];
        }
        tensor_check(o.out, bound_of(&o.rig, false), "bias");
        tensor_check(o.out2, 2e-5, "bias gradient"); // sums near zero of up to 70000 numbers
        for (int k = 0; k < c; k++)
            o.out2->d[k] *= 2;
        succeed(cuda_bias_gradient(&o.rig.launch, shapes[i].pixels, c, true, o.a->memory,
                                   o.out2->memory, o.rig.workspace));
        tensor_check(o.out2, 2e-5, "added bias gradient");
        succeed(cuda_bias(&o.rig.launch, shapes[i].pixels, c, o.act, o.param->memory, o.a->memory,
                          o.a->memory)); // in place
        assert_memory_equal(o.a->memory, o.out->memory, o.out->bytes);
        close_ops(&o);
    }
}

static void bias_is_the_definition(void **state) {
    CHECK(check_bias);
}

// Concats and mixes

static cudaError_t run_concat(struct rig *r, void *context) {
    struct ops *o = context;
    struct concat_gradients t = {o->c->memory, o->d->memory, o->out2->memory,
                                 o->b->saved ? o->b->memory : NULL};
    cudaError_t error =
        cuda_concat_forward(&r->launch, &o->concat, o->a->memory, o->param->memory, o->out->memory);

    return error ? error : cuda_concat_backward(&r->launch, &o->concat, &t);
}

static void check_concat_of(enum cuda_element element, int c_a, int c_b, enum activation act) {
    size_t pixels = 35;
    int c = c_a + c_b;
    struct ops o;

    open_ops(&o, element);
    o.concat = (struct concat_shape){pixels, c_a, c_b, act};
    o.a = in(&o, pixels, c_a);
    o.param = in(&o, pixels, c_b);
    o.c = in(&o, pixels, c); // y of the backward
    o.d = in(&o, pixels, c);
    o.out = out(&o, pixels, c);
    o.out2 = out(&o, pixels, c_a);
    o.b = out(&o, pixels, c_b);
    run_in_all_orders(&o.rig, run_concat, NULL, &o);
    for (size_t i = 0; i < pixels * (size_t)c; i++) {
        size_t p = i / (size_t)c, k = i % (size_t)c, in_b = k - (size_t)c_a;
        bool is_a = k < (size_t)c_a;
        double x = is_a ? o.a->d[p * (size_t)c_a + k] : o.param->d[p * (size_t)c_b + in_b];
        double g = act == ACT_NONE || o.c->d[i] > 0 ? o.d->d[i] : 0;
        o.out->d[i] = act == ACT_NONE || x > 0 ? x : 0;
        *(is_a ? &o.out2->d[p * (size_t)c_a + k] : &o.b->d[p * (size_t)c_b + in_b]) = g;
    }
    tensor_check(o.out, 0, "concat");
    tensor_check(o.out2, 0, "concat's da");
    tensor_check(o.b, 0, "concat's db");
    memset(o.out2->memory, 0xff, o.out2->bytes);
    free(o.b->saved);
    o.b->saved = NULL; // not wanted
    succeed(run_concat(&o.rig, &o));
    tensor_check(o.out2, 0, "concat's da alone");
    close_ops(&o);
}

static void check_concat(enum cuda_element element) {
    check_concat_of(element, 3, 3, ACT_NONE);
    check_concat_of(element, 8, 16, ACT_RELU);
    check_concat_of(element, 64, 1, ACT_NONE);
    check_concat_of(element, 3, 20, ACT_RELU);
    check_concat_of(element, 1, 6, ACT_RELU);
}

static void concat_is_the_definition(void **state) {
    CHECK(check_concat);
}

static cudaError_t run_mix(struct rig *r, void *context) {
    struct ops *o = context;
    struct mix_tensors t = {o->param->memory, o->a ? o->a->memory : NULL, o->b->memory,
                            o->c->memory, o->out->memory};

    return cuda_mix(&r->launch, &o->mix, &t);
}

static void check_mix(enum cuda_element element) {
    for (int front = 0; front <= 9; front += 3) {
        struct ops o;
        open_ops(&o, element);
        o.mix = (struct mix_shape){2, 5, 7, front, 3};
        o.param = tensor_in(&o.rig, FLOATS, 1, 2);
        if (front)
            o.a = in(&o, 70, front);
        o.b = in(&o, 70, 3);
        o.c = in(&o, 70, 3);
        o.out = out(&o, 70, front + 3);
        run_in_all_orders(&o.rig, run_mix, NULL, &o);
        for (int i = 0; i < 70 * (front + 3); i++) {
            int p = i / (front + 3), k = i % (front + 3) - front;
            double share = o.param->d[p / 35];
            o.out->d[i] = k < 0 ? o.a->d[p * front + k + front]
                                : share * o.b->d[p * 3 + k] + (1 - share) * o.c->d[p * 3 + k];
        }
        tensor_check(o.out, bound_of(&o.rig, false), "mix");
        close_ops(&o);
    }
}

static void mix_is_the_definition(void **state) {
    CHECK(check_mix);
}

// Losses

static void assert_loss(const struct ops *o, double want, double bound) {
    if (!(fabs(*o->ret_loss - want) <= bound * fmax(1, fabs(want))))
        fail_msg("loss %.9g, not %.9g", *o->ret_loss, want);
}

static cudaError_t run_l1(struct rig *r, void *context) {
    struct ops *o = context;

    *o->ret_loss = NAN;
    return cuda_l1(&r->launch, o->a->pixels, o->a->c, 10, o->a->memory, o->b->memory,
                   o->out->memory, o->ret_loss);
}

static void check_l1(enum cuda_element element) {
    static const struct {
        size_t pixels;
        int c;
    } shapes[] = {{1, 1}, {413, 3}, {16384, 3}, {7, 20}};

    for (unsigned i = 0; i < COUNT(shapes); i++) {
        struct ops o;
        double want;
        open_ops(&o, element);
        o.a = in(&o, shapes[i].pixels, shapes[i].c);
        o.b = in(&o, shapes[i].pixels, shapes[i].c);
        o.out = out(&o, shapes[i].pixels, shapes[i].c);
        tensor_write(o.b, 0, 0, o.a->d[0]); // equal: no gradient
        run_in_all_orders(&o.rig, run_l1, NULL, &o);
        want = ref_l1(shapes[i].pixels * (size_t)shapes[i].c, 10, o.a->d, o.b->d, o.out->d);
        assert_loss(&o, want, 1e-6);
        assert_true(tensor_read(o.out, 0, 0) == 0);
        tensor_check(o.out, bound_of(&o.rig, false), "L1 gradient");
        close_ops(&o);
    }
}

static void l1_is_the_definition(void **state) {
    CHECK(check_l1);
}

static cudaError_t run_gan(struct rig *r, void *context) {
    struct ops *o = context;

    *o->ret_loss = NAN;
    return cuda_gan(&r->launch, &o->gan, o->a->memory, o->out->memory, o->ret_loss);
}

static void check_gan(enum cuda_element element) {
    for (int i = 0; i < 16; i++) {
        int c = i < 8 ? 1 : 11;
        struct ops o;
        double want;
        open_ops(&o, element);
        o.gan = (struct gan_args){(enum gan_mode)(i / 2 % 4), i % 2, {3, 13, 10, c}, 0.5};
        o.a = in(&o, 390, c);
        for (size_t k = 0; k < 390; k++)
            tensor_write(o.a, k, 0, 20 * o.a->d[k * (size_t)c]);
        o.out = out(&o, 390, c);
        run_in_all_orders(&o.rig, run_gan, NULL, &o);
        want = ref_gan(&o.gan, o.a->d, o.out->d);
        assert_loss(&o, want, 1e-5);
        tensor_check(o.out, bound_of(&o.rig, false), "GAN gradient");
        succeed(cuda_gan(&o.rig.launch, &o.gan, o.a->memory, o.out->memory, NULL));
        close_ops(&o);
    }
}

static void gan_losses_are_the_definition(void **state) {
    CHECK(check_gan);
}

static cudaError_t run_penalty(struct rig *r, void *context) {
    struct ops *o = context;

    *o->ret_loss = NAN;
    return cuda_penalty(&r->launch, 3, o->a->pixels / 3, o->a->c, 10, o->a->memory, o->out->memory,
                        o->ret_loss);
}

static void check_penalty(enum cuda_element element) {
    for (int zero = 0; zero < 2; zero++) {
        struct ops o;
        double want;
        open_ops(&o, element);
        o.a = in(&o, (size_t)3 * 31 * 33, 6);
        for (size_t i = 0; zero && i < (size_t)31 * 33 * 6; i++)
            tensor_write(o.a, i / 6, (int)(i % 6), 0); // a picture without a gradient
        o.out = out(&o, o.a->pixels, 6);
        run_in_all_orders(&o.rig, run_penalty, NULL, &o);
        float *g = floats(o.a), *u = floats(o.out);
        struct penalty_args args = {{3, 1, (int)(o.a->pixels / 3), 6}, 10};
        assert_int_equal(cpu_penalty(NULL, &args, g, u, &want), ERR_OK);
        free(g);
        take_floats(o.out, u);
        assert_loss(&o, want, 1e-5);
        tensor_check(o.out, bound_of(&o.rig, false), "penalty's u");
        close_ops(&o);
    }
}

static void penalty_is_the_definition(void **state) {
    CHECK(check_penalty);
}

// Resampling, flips, patches

static cudaError_t run_resample(struct rig *r, void *context) {
    struct ops *o = context;

    return cuda_resample(&r->launch, &o->resample, o->a->memory, o->out->memory);
}

static void check_resample(enum cuda_element element) {
    for (int i = 0; i < 24; i++) {
        int kind = i % 4, c = i < 12 ? 3 : 40, small_h = 1 + i % 5, small_w = 1 + i % 3 * 5;
        bool up = kind >= 2;
        int big_h = up ? 2 * small_h : 2 * small_h + 1 + (i / 4) % 2;
        int big_w = up ? 2 * small_w : 2 * small_w + 1;
        bool shrinks = kind == 0 || kind == 3;
        struct resample_shape s = {(enum resample_kind)kind,
                                   2,
                                   shrinks ? big_h : small_h,
                                   shrinks ? big_w : small_w,
                                   shrinks ? small_h : big_h,
                                   shrinks ? small_w : big_w,
                                   c};
        struct ops o;
        open_ops(&o, element);
        o.resample = s;
        o.a = in(&o, (size_t)(2 * s.h * s.w), c);
        o.out = out(&o, (size_t)(2 * s.to_h * s.to_w), c);
        run_in_all_orders(&o.rig, run_resample, NULL, &o);
        float *x = floats(o.a), *y = floats(o.out);
        assert_int_equal(cpu_resample(NULL, &s, x, y), ERR_OK);
        free(x);
        take_floats(o.out, y);
        tensor_check(o.out, bound_of(&o.rig, false), "resampled");
        close_ops(&o);
    }
}

static void resampling_is_the_definition(void **state) {
    CHECK(check_resample);
}

static cudaError_t run_flip(struct rig *r, void *context) {
    struct ops *o = context;

    return cuda_flip(&r->launch, &o->tensor, o->param->memory, o->a->memory, o->out->memory);
}

static void check_flip(enum cuda_element element) {
    for (int flip = 0; flip < 2; flip++) {
        struct ops o;
        open_ops(&o, element);
        o.tensor = (struct tensor_shape){2, 5, 33, 11};
        o.param = tensor_in(&o.rig, FLOATS, 1, 1);
        *(int *)o.param->memory = flip;
        o.a = in(&o, 330, 11);
        o.out = out(&o, 330, 11);
        run_in_all_orders(&o.rig, run_flip, NULL, &o);
        for (int i = 0; i < 330 * 11; i++) {
            int line = i / 11 / 33, x = i / 11 % 33;
            o.out->d[i] = o.a->d[(line * 33 + (flip ? 32 - x : x)) * 11 + i % 11];
        }
        tensor_check(o.out, 0, "flipped");
        close_ops(&o);
    }
}

static void flip_is_the_definition(void **state) {
    CHECK(check_flip);
}

static cudaError_t run_sample(struct rig *r, void *context) {
    struct ops *o = context;
    cudaError_t error = cuda_sample_forward(&r->launch, &o->sample, o->a->memory, o->out->memory);

    return error ? error
                 : cuda_sample_backward(&r->launch, &o->sample, o->b->memory, o->accumulate,
                                        o->out2->memory);
}

static void restore_sample(struct rig *r, void *context) {
    struct ops *o = context;

    if (o->accumulate)
        memcpy(o->out2->memory, o->c->memory, o->c->bytes);
}

static void check_sample_of(enum cuda_element element, bool border, bool accumulate, int c) {
    int h = 6, w = 5, pad = 2, count = 40, *ids;
    int whole = (w + 2 * pad) * (h + 2 * pad), ids_n = border ? whole : w * h;
    struct ops o;

    open_ops(&o, element);
    succeed(cudaHostAlloc((void **)&ids, sizeof(int) * 2 * 40, cudaHostAllocMapped));
    for (int i = 0; i < 2 * count; i++) // with many repeats
        ids[i] = (int)rng_below(9, RNG_TEST, (uint64_t)i, 0, (uint64_t)ids_n) / 3 * 3;
    o.sample = (struct sample_shape){2, h, w, c, pad, count, border, ids};
    o.accumulate = accumulate;
    o.a = in(&o, (size_t)(2 * whole), c);
    o.b = in(&o, (size_t)(2 * count), c);
    o.c = in(&o, (size_t)(2 * whole), c); // what dx is added to
    o.out = out(&o, (size_t)(2 * count), c);
    o.out2 = out(&o, (size_t)(2 * whole), c);
    run_in_all_orders(&o.rig, run_sample, restore_sample, &o);
    if (accumulate)
        memcpy(o.out2->d, o.c->d, sizeof(double) * (size_t)(2 * whole * c));
    for (int i = 0; i < 2 * count * c; i++) {
        int patch = i / c, id = ids[patch];
        int pixel = border ? id : (id / w + pad) * (w + 2 * pad) + id % w + pad;
        int at = (patch / count * whole + pixel) * c + i % c;
        o.out->d[i] = o.a->d[at];
        o.out2->d[at] += o.b->d[i];
    }
    tensor_check(o.out, 0, "sample");
    tensor_check(o.out2, bound_of(&o.rig, false), "sample's dx");
    succeed(cudaFreeHost(ids));
    close_ops(&o);
}

static void check_sample(enum cuda_element element) {
    for (int i = 0; i < 8; i++)
        check_sample_of(element, i & 1, i & 2, i & 4 ? 20 : 3);
}

static void samples_are_the_definition(void **state) {
    CHECK(check_sample);
}

static cudaError_t run_nce(struct rig *r, void *context) {
    struct ops *o = context;

    *o->ret_loss = o->nce.accumulate ? 3 : NAN;
    return cuda_nce(&r->launch, &o->nce, o->a->memory, o->b->memory, o->out->memory,
                    o->out2->memory, o->ret_loss, r->workspace);
}

static void check_nce(enum cuda_element element) {
    for (int i = 0; i < 4; i++) {
        int patches = i & 1 ? 70 : 9, dim = i & 1 ? 36 : 100, rows = 2 * patches;
        struct ops o;
        double want;
        open_ops(&o, element);
        o.nce = (struct nce_args){2, patches, dim, 0.07, 1.5, i & 2, i == 3};
        o.a = in(&o, (size_t)rows, dim);
        o.b = in(&o, (size_t)rows, dim);
        for (int k = 0; i == 2 && k < dim; k++)
            tensor_write(o.a, 1, k, 0); // a patch without a length; its gradient is 1e7
        o.out = out(&o, (size_t)rows, dim);
        o.out2 = tensor_out(&o.rig, FLOATS, (size_t)rows, 1);
        rig_workspace(&o.rig, cuda_nce_workspace_bytes(&o.rig.launch, &o.nce));
        run_in_all_orders(&o.rig, run_nce, NULL, &o);
        struct nce_args judge = {2, patches, dim, 0.07, 1.5, i & 2, false};
        float *q = floats(o.a), *k = floats(o.b), *dq = floats(o.out), *each = floats(o.out2);
        void *work = xaligned(cpu_nce_workspace_bytes(NULL, &judge));
        assert_int_equal(cpu_nce(NULL, &judge, q, k, dq, each, &want, work), ERR_OK);
        take_floats(o.out, dq);
        take_floats(o.out2, each);
        assert_loss(&o, want + (i == 3 ? 3 : 0), 1e-5);
        tensor_check(o.out, bound_of(&o.rig, true), "NCE gradient");
        tensor_check(o.out2, 1e-5, "NCE terms");
        free(q);
        free(k);
        free(work);
        close_ops(&o);
    }
}

static void nce_is_the_definition(void **state) {
    CHECK(check_nce);
}

// Norms' tangents

struct tangent_case {
    struct ops ops;
    struct tensor *x, *dx, *g_y, *g_dy, *y, *dy, *gx, *gdx, *weight, *bias, *dweight, *dbias;
};

static cudaError_t run_tangent(struct rig *r, void *context) {
    struct tangent_case *c = context;
    const struct norm_affine *affine = c->weight ? &c->ops.affine : NULL;
    struct tangent_tensors forward = {c->x->memory, c->dx->memory, c->y->memory, c->dy->memory,
                                      affine};
    struct tangent_gradients backward = {.x = c->x->memory,
                                         .dx = c->dx->memory,
                                         .g_y = c->g_y ? c->g_y->memory : NULL,
                                         .g_dy = c->g_dy->memory,
                                         .ret_gx = c->gx ? c->gx->memory : NULL,
                                         .ret_gdx = c->gdx->memory,
                                         .affine = affine,
                                         .ret_dweight = c->weight ? c->dweight->memory : NULL,
                                         .ret_dbias = c->weight ? c->dbias->memory : NULL};
    cudaError_t error = cuda_tangent_forward(&r->launch, &c->ops.norm, &forward);

    return error ? error : cuda_tangent_backward(&r->launch, &c->ops.norm, &backward);
}

static void tangent_case_open(struct tangent_case *c, const struct norm_shape *s,
                              enum cuda_element element, bool all) {
    struct ops *o = &c->ops;
    size_t pixels = (size_t)(s->n * s->h * s->w);

    memset(c, 0, sizeof *c);
    open_ops(o, element);
    o->norm = *s;
    c->x = in(o, pixels, s->c);
    c->dx = in(o, pixels, s->c);
    c->g_dy = in(o, pixels, s->c);
    if (all)
        c->g_y = in(o, pixels, s->c);
    c->y = out(o, pixels, s->c);
    c->dy = out(o, pixels, s->c);
    c->gdx = out(o, pixels, s->c);
    if (all || s->norm != NORM_NONE)
        c->gx = out(o, pixels, s->c);
    if (s->norm == NORM_BATCH) {
        c->weight = tensor_in(&o->rig, FLOATS, 1, s->c);
        c->bias = tensor_in(&o->rig, FLOATS, 1, s->c);
        c->dweight = tensor_out(&o->rig, FLOATS, 1, s->c);
        c->dbias = tensor_out(&o->rig, FLOATS, 1, s->c);
        o->affine = (struct norm_affine){.weight = c->weight->memory, .bias = c->bias->memory};
    }
}

static void judge_tangent(struct tangent_case *c) {
    const struct norm_shape *s = &c->ops.norm;
    float *x = floats(c->x), *dx = floats(c->dx), *g_dy = floats(c->g_dy);
    float *g_y = c->g_y ? floats(c->g_y) : NULL, *y = floats(c->y), *dy = floats(c->dy);
    float *gx = floats(c->gdx), *gdx = floats(c->gdx);
    float *weight = c->weight ? floats(c->weight) : NULL, *bias = c->bias ? floats(c->bias) : NULL;
    float *dweight = c->weight ? floats(c->dweight) : NULL;
    float *dbias = c->weight ? floats(c->dbias) : NULL;
    struct norm_affine affine = {.weight = weight, .bias = bias};
    struct tangent_tensors f = {x, dx, y, dy, weight ? &affine : NULL};
    struct tangent_gradients b = {x, dx, g_y, g_dy, gx, gdx, f.affine, dweight, dbias, false};

    assert_int_equal(cpu_tangent_forward(NULL, s, &f), ERR_OK);
    assert_int_equal(cpu_tangent_backward(NULL, s, &b), ERR_OK);
    take_floats(c->y, y);
    take_floats(c->dy, dy);
    take_floats(c->gdx, gdx);
    if (c->gx)
        take_floats(c->gx, gx);
    if (c->weight) {
        take_floats(c->dweight, dweight);
        take_floats(c->dbias, dbias);
    }
    free(x);
    free(dx);
    free(g_dy);
    free(g_y);
    free(weight);
    free(bias);
}

static void check_tangent(enum cuda_element element) {
    for (int i = 0; i < 18; i++) {
        struct norm_shape s = {.n = 2,
                               .h = 9 + i,
                               .w = i % 3 ? 17 : 121, // more than one block where there are no sums
                               .c = i % 2 ? 20 : 6,
                               .norm = (enum norm_kind)(i % 3),
                               .act = (enum activation)(i / 3 % 3)};
        struct tangent_case c;
        tangent_case_open(&c, &s, element, i >= 9);
        run_in_all_orders(&c.ops.rig, run_tangent, NULL, &c);
        judge_tangent(&c);
        tensor_check(c.y, bound_of(&c.ops.rig, false), "tangent y");
        tensor_check(c.dy, bound_of(&c.ops.rig, false), "tangent dy");
        tensor_check(c.gdx, bound_of(&c.ops.rig, true), "tangent gdx");
        if (c.gx)
            tensor_check(c.gx, bound_of(&c.ops.rig, true), "tangent gx");
        if (c.weight) {
            tensor_check(c.dweight, 1e-5, "tangent dweight");
            if (c.g_y) // else zero
                tensor_check(c.dbias, 1e-5, "tangent dbias");
        }
        close_ops(&c.ops);
    }
}

static void tangent_norms_are_the_definition(void **state) {
    CHECK(check_tangent);
}

// Pictures

static cudaError_t run_picture(struct rig *r, void *context) {
    struct ops *o = context;
    cudaError_t error =
        (o->bytes
             ? cuda_image_in_u8(&r->launch, o->a->pixels, o->a->c, o->a->memory, o->out->memory)
             : cuda_image_in(&r->launch, o->a->pixels, o->a->c, o->a->memory, o->out->memory));

    return error ? error
                 : cuda_image_out(&r->launch, o->out->pixels, o->out->c, o->out->memory,
                                  o->out2->memory);
}

static void check_picture(enum cuda_element element) {
    static const int channels[] = {3, 1, 6, 20};

    for (int i = 0; i < 8; i++) {
        int c = channels[i / 2];
        struct ops o;
        open_ops(&o, element);
        o.bytes = i % 2;
        o.a = tensor_in(&o.rig, o.bytes ? BYTES : FLOATS, 257, c);
        for (int k = 0; o.bytes && k < 257 * c; k++)
            tensor_write(o.a, (size_t)(k / c), k % c, k % 256);
        o.out = out(&o, 257, c);
        o.out2 = tensor_out(&o.rig, FLOATS, 257, c);
        run_in_all_orders(&o.rig, run_picture, NULL, &o);
        for (int k = 0; k < 257 * c; k++) {
            float exact = ((float)o.a->d[k] / 255.0f - 0.5f) / 0.5f;
            o.out->d[k] = o.bytes ? exact : o.a->d[k];
            o.out2->d[k] = tensor_read(o.out, (size_t)(k / c), k % c);
        }
        tensor_check(o.out, element == CUDA_F32 ? 0 : 5e-3, "tensor of pictures");
        tensor_check(o.out2, 0, "pictures of a tensor");
        close_ops(&o);
    }
}

static void pictures_go_in_and_out(void **state) {
    CHECK(check_picture);
}

// ---- shapes that are refused ----

// The least that is refused and the most that is not: groups of a tensor, pictures.
static const struct tensor_shape taken[] = {{1, 65535, 32767, 8}, {65535, 181, 181, 5}},
                                 refused[] = {{1, 65536, 32768, 8}, {65536, 1, 1, 8},
                                              {2, 65535, 32767, 9}, {1, 65536, 65536, 1},
                                              {0, 4, 4, 8},         {1, 0, 4, 8}};

#define WANT(want, call)                                                                           \
    do {                                                                                           \
        cudaError_t got_ = (call);                                                                 \
        if (got_ != (want))                                                                        \
            fail_msg("%s [%d,%d,%d,%d]: %s", #call, s->n, s->h, s->w, s->c,                        \
                     cudaGetErrorString(got_));                                                    \
    } while (0)

// Kernels are only counted: no memory is touched.
static void all_say(const struct cuda_launch *l, const struct tensor_shape *s, cudaError_t want) {
    size_t pixels = (size_t)s->n * (size_t)s->h * (size_t)s->w;
    struct norm_shape norm = {.n = s->n, .h = s->h, .w = s->w, .c = s->c};
    struct resample_shape same = {RESAMPLE_BLUR, s->n, s->h, s->w, (s->h + 1) / 2, s->w, s->c};
    struct sample_shape sample = {.n = s->n, .h = s->h, .w = s->w, .c = s->c, .count = 4};
    struct mix_shape mix = {.n = s->n, .h = s->h, .w = s->w, .c = s->c};
    struct gan_args gan = {.shape = *s};
    struct grad_sum none = {0};

    WANT(want, cuda_norm_forward(l, &norm, &(struct norm_tensors){0}, NULL, NULL));
    WANT(want, cuda_norm_backward(l, &norm, &(struct norm_gradients){0}, NULL, NULL));
    WANT(want, cuda_tanh_forward(l, &norm, NULL, NULL));
    WANT(want, cuda_tanh_backward(l, &norm, NULL, &none, NULL));
    WANT(want, cuda_tangent_forward(l, &norm, &(struct tangent_tensors){0}));
    WANT(want, cuda_tangent_backward(l, &norm, &(struct tangent_gradients){0}));
    WANT(want, cuda_mix(l, &mix, &(struct mix_tensors){0}));
    WANT(want, cuda_gan(l, &gan, NULL, NULL, NULL));
    WANT(want, cuda_flip(l, s, NULL, NULL, NULL));
    WANT(want, cuda_resample(l, &same, NULL, NULL));
    WANT(want, cuda_sample_forward(l, &sample, NULL, NULL));
    WANT(want, cuda_sample_backward(l, &sample, NULL, true, NULL));
    if (s->n == 65536 || s->w == 0)
        return; // pixels know no pictures
    WANT(want, cuda_bias(l, pixels, s->c, ACT_NONE, NULL, NULL, NULL));
    WANT(want, cuda_bias_gradient(l, pixels, s->c, false, NULL, NULL, NULL));
    WANT(want, cuda_concat_forward(l, &(struct concat_shape){pixels, s->c, 0, ACT_NONE}, NULL, NULL,
                                   NULL));
    WANT(want, cuda_concat_backward(l, &(struct concat_shape){pixels, s->c, 0, ACT_NONE},
                                    &(struct concat_gradients){0}));
    WANT(want, cuda_l1(l, pixels, s->c, 1, NULL, NULL, NULL, NULL));
    WANT(want, cuda_image_in(l, pixels, s->c, NULL, NULL));
    WANT(want, cuda_image_in_u8(l, pixels, s->c, NULL, NULL));
    WANT(want, cuda_image_out(l, pixels, s->c, NULL, NULL));
    WANT(want, cuda_picture_scatter(l, pixels, s->c, NULL, NULL));
    WANT(want, cuda_picture_gather(l, pixels, s->c, NULL, NULL));
}

static void penalty_says(const struct cuda_launch *l, int n, cudaError_t want) {
    struct tensor_shape shape = {n, 1, 9, 3}, *s = &shape;

    WANT(want, cuda_penalty(l, n, 9, 3, 1, NULL, NULL, NULL));
}

static void shapes_beyond_the_limits_are_refused(void **state) {
    struct rig rig;

    rig_init(&rig, CUDA_F32, &LIMITS[0]);
    cuda_host_machine("idle");
    for (unsigned i = 0; i < COUNT(taken); i++)
        all_say(&rig.launch, &taken[i], cudaSuccess);
    for (unsigned i = 0; i < COUNT(refused); i++)
        all_say(&rig.launch, &refused[i], cudaErrorInvalidValue);
    penalty_says(&rig.launch, 1024, cudaSuccess);
    penalty_says(&rig.launch, 1025, cudaErrorInvalidValue);
    cuda_host_machine(NULL);
    rig_fini(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tanh_is_the_definition),
        cmocka_unit_test(bias_is_the_definition),
        cmocka_unit_test(concat_is_the_definition),
        cmocka_unit_test(mix_is_the_definition),
        cmocka_unit_test(l1_is_the_definition),
        cmocka_unit_test(gan_losses_are_the_definition),
        cmocka_unit_test(penalty_is_the_definition),
        cmocka_unit_test(resampling_is_the_definition),
        cmocka_unit_test(flip_is_the_definition),
        cmocka_unit_test(samples_are_the_definition),
        cmocka_unit_test(nce_is_the_definition),
        cmocka_unit_test(tangent_norms_are_the_definition),
        cmocka_unit_test(pictures_go_in_and_out),
        cmocka_unit_test(shapes_beyond_the_limits_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
