// The CPU backend: oneDNN's convolutions (cpu/conv.c) and our own loops for the rest.
#include "cpu/cpu.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/host.h"
#include "cpu/loss.h"
#include "cpu/norm.h"
#include "cpu/open.h"
#include "cpu/tangent.h"

static struct cpu_norm cpu_shape(const struct norm_shape *s) {
    static const enum cpu_norm_kind kinds[] = {
        [NORM_NONE] = CPU_NORM_NONE,
        [NORM_INSTANCE] = CPU_NORM_INSTANCE,
        [NORM_BATCH] = CPU_NORM_BATCH,
        [NORM_RUNNING] = CPU_NORM_RUNNING,
    };

    return (struct cpu_norm){
        .n = s->n,
        .h = s->h,
        .w = s->w,
        .c = s->c,
        .kind = kinds[s->norm],
        .act = s->act == ACT_RELU    ? CPU_ACT_RELU
               : s->act == ACT_LEAKY ? CPU_ACT_LEAKY
                                     : CPU_ACT_NONE,
        .pad = s->pad,
    };
}

static size_t norm_workspace_bytes(struct device *d, const struct norm_shape *s) {
    struct cpu_norm shape = cpu_shape(s);

    return cpu_norm_work_doubles(&shape) * sizeof(double);
}

static struct cpu_norm_saved cpu_saved(const struct norm_shape *s, const void *x, float *stats,
                                       const struct norm_affine *affine) {
    struct cpu_norm_saved saved = {.x = x, .mean = stats};

    if (s->norm != NORM_NONE)
        saved.rstd = stats + (size_t)(affine ? 1 : s->n) * (size_t)s->c;
    if (affine) {
        saved.weight = affine->weight;
        saved.bias = affine->bias;
        saved.running_mean = affine->running_mean;
        saved.running_var = affine->running_var;
    }
    return saved;
}

static struct cpu_dropout cpu_draws(const struct device *d, const struct norm_dropout *dropout) {
    const struct device_values *values = &((const struct cpu_device *)d)->values;

    return (struct cpu_dropout){values->seed, values->step << 24 | dropout->op};
}

static int norm_forward(struct device *d, const struct norm_shape *s, const struct norm_tensors *t,
                        void *workspace) {
    struct cpu_norm shape = cpu_shape(s);
    struct cpu_norm_saved saved = cpu_saved(s, t->x, t->ret_stats, t->affine);
    struct cpu_dropout dropout;

    if (t->dropout) {
        dropout = cpu_draws(d, t->dropout);
        saved.dropout = &dropout;
    }
    cpu_norm_forward(&shape, &saved, (struct cpu_padded){t->skip, s->skip_pad}, workspace,
                     t->ret_y);
    return ERR_OK;
}

// The parts that cover picture `first`, from that picture on, and in *ret_n for how many pictures
// this set of parts stays the same.
static struct cpu_norm_grads parts_from(const struct norm_shape *s, const struct grad_sum *dy,
                                        int first, int *ret_n) {
    struct cpu_norm_grads grads = {0};
    int end = s->n;

    for (int i = 0; i < dy->count; i++) {
        const struct grad_part *p = &dy->part[i];
        size_t picture = (size_t)(s->h + 2 * p->pad) * (size_t)(s->w + 2 * p->pad) * (size_t)s->c;
        if (first < p->first) {
            end = MIN(end, p->first);
        } else if (first < p->first + p->n) {
            end = MIN(end, p->first + p->n);
            grads.grad[grads.count++] = (struct cpu_padded){
                (const float *)p->data + (size_t)(first - p->first) * picture, p->pad};
        }
    }
    *ret_n = end - first;
    return grads;
}

static int norm_backward(struct device *d, const struct norm_shape *s,
                         const struct norm_gradients *t, void *workspace) {
    struct cpu_norm shape = cpu_shape(s);
    // The statistics are only read.
    struct cpu_norm_saved saved = cpu_saved(s, t->x, (float *)t->stats, t->affine);
    struct cpu_norm_result result = {.dx = t->ret_dx,
                                     .dskip = t->ret_dskip,
                                     .dweight = t->ret_dweight,
                                     .dbias = t->ret_dbias,
                                     .add = t->accumulate};
    struct cpu_norm_grads grads = parts_from(s, &t->dy, 0, &shape.n);
    struct cpu_dropout dropout;

    if (t->dropout) {
        dropout = cpu_draws(d, t->dropout);
        saved.dropout = &dropout;
    }
    if (shape.n != s->n)
        BUG("a norm's gradient has parts for %d of %d pictures", shape.n, s->n);
    cpu_norm_backward(&shape, &saved, &grads, workspace, &result);
    return ERR_OK;
}

static int tanh_forward(struct device *d, const struct norm_shape *s, const void *x, void *ret_y) {
    cpu_tanh((size_t)s->n * (size_t)s->h * (size_t)s->w, s->c, x, NULL, ret_y);
    return ERR_OK;
}

static int tanh_backward(struct device *d, const struct norm_shape *s, const void *y,
                         const struct grad_sum *dy, void *ret_dx, void *workspace) {
    struct cpu_norm shape = cpu_shape(s);
    const float *of = y;
    size_t picture = (size_t)s->h * (size_t)s->w * (size_t)s->c;

    for (int first = 0; first < s->n; first += shape.n) {
        struct cpu_norm_grads grads = parts_from(s, dy, first, &shape.n);
        struct cpu_norm_result result = {.dx = (float *)ret_dx + (size_t)first * picture};
        if (grads.count == 0)
            memset(result.dx, 0, (size_t)shape.n * picture * sizeof(float));
        else
            cpu_tanh_backward(&shape, of + (size_t)first * picture, &grads, workspace, &result);
    }
    return ERR_OK;
}

static int concat_forward(struct device *d, const struct concat_shape *s, const void *a,
                          const void *b, void *ret_y) {
    const float *from_a = a, *from_b = b;
    float *y = ret_y;
    int c = s->c_a + s->c_b;

#pragma omp parallel for schedule(static)
    for (size_t p = 0; p < s->pixels; p++)
        for (int k = 0; k < c; k++) {
            float x = k < s->c_a ? from_a[p * (size_t)s->c_a + (size_t)k]
                                 : from_b[p * (size_t)s->c_b + (size_t)(k - s->c_a)];
            y[p * (size_t)c + (size_t)k] = x > 0 || s->act == ACT_NONE ? x : 0;
        }
    return ERR_OK;
}

static int concat_backward(struct device *d, const struct concat_shape *s,
                           const struct concat_gradients *t) {
    const float *y = t->y, *dy = t->dy;
    float *da = t->ret_da, *db = t->ret_db;
    int c = s->c_a + s->c_b;

#pragma omp parallel for schedule(static)
    for (size_t p = 0; p < s->pixels; p++)
        for (int k = 0; k < c; k++) {
            size_t i = p * (size_t)c + (size_t)k;
            float g = y[i] > 0 || s->act == ACT_NONE ? dy[i] : 0;
            if (k < s->c_a && da)
                da[p * (size_t)s->c_a + (size_t)k] = g;
            else if (k >= s->c_a && db)
                db[p * (size_t)s->c_b + (size_t)(k - s->c_a)] = g;
        }
    return ERR_OK;
}

static size_t count_of(const struct tensor_shape *s) {
    return (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
}

static int keep_loss(double loss, double *ret_loss) {
    if (ret_loss)
        *ret_loss = loss;
    return ERR_OK;
}

static int l1(struct device *d, const struct l1_args *args, const void *a, const void *b,
              void *ret_grad, double *ret_loss) {
    return keep_loss(cpu_l1(count_of(&args->shape), a, b, args->scale, ret_grad), ret_loss);
}

static int gan(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
               double *ret_loss) {
    static const enum cpu_gan modes[] = {
        [GAN_LSGAN] = CPU_GAN_LSGAN,
        [GAN_VANILLA] = CPU_GAN_VANILLA,
        [GAN_WGANGP] = CPU_GAN_WGANGP,
        [GAN_NONSATURATING] = CPU_GAN_NONSATURATING,
    };
    struct cpu_gan_loss loss = {
        .mode = modes[args->mode],
        .target = args->target_real ? CPU_GAN_REAL : CPU_GAN_FAKE,
        .weight = args->scale,
    };

    return keep_loss(cpu_gan_loss(&loss, count_of(&args->shape), x, ret_grad), ret_loss);
}

static int tangent_forward(struct device *d, const struct norm_shape *s,
                           const struct tangent_tensors *t) {
    struct cpu_norm shape = cpu_shape(s);

    struct cpu_tangent_forward dual = {
        .x = t->x, .dx = t->dx, .ret_y = t->ret_y, .ret_dy = t->ret_dy};

    if (t->affine) {
        dual.weight = t->affine->weight;
        dual.bias = t->affine->bias;
    }
    cpu_tangent_forward(&shape, &dual);
    return ERR_OK;
}

static int tangent_backward(struct device *d, const struct norm_shape *s,
                            const struct tangent_gradients *t) {
    struct cpu_norm shape = cpu_shape(s);

    struct cpu_tangent_backward dual = {.x = t->x,
                                        .dx = t->dx,
                                        .g_y = t->g_y,
                                        .g_dy = t->g_dy,
                                        .ret_gx = t->ret_gx,
                                        .ret_gdx = t->ret_gdx,
                                        .ret_dweight = t->ret_dweight,
                                        .ret_dbias = t->ret_dbias,
                                        .accumulate = t->accumulate};

    if (t->affine) {
        dual.weight = t->affine->weight;
        dual.bias = t->affine->bias;
    }
    cpu_tangent_backward(&shape, &dual);
    return ERR_OK;
}

static int penalty(struct device *d, const struct penalty_args *args, const void *g, void *ret_u,
                   double *ret_loss) {
    const struct tensor_shape *s = &args->shape;
    size_t picture = count_of(s) / (size_t)s->n;

    return keep_loss(cpu_penalty(s->n, picture, args->scale, g, ret_u), ret_loss);
}

static int mix(struct device *d, const struct mix_shape *s, const struct mix_tensors *t) {
    size_t c = (size_t)s->c, front = (size_t)s->c_front, pixels = (size_t)s->h * (size_t)s->w;
    const float *a = t->front, *real = t->real, *fake = t->fake;
    float *to = t->ret_y;

    for (size_t p = 0; p < (size_t)s->n * pixels; p++) {
        float share = t->alpha[p / pixels];
        if (front)
            memcpy(to + p * (front + c), a + p * front, front * sizeof *to);
        for (size_t i = 0; i < c; i++)
            to[p * (front + c) + front + i] =
                share * real[p * c + i] + (1 - share) * fake[p * c + i];
    }
    return ERR_OK;
}

static int adam(struct device *d, const struct adam_args *args, const float *g, float *p, float *m,
                float *v) {
    const struct device_values *values = &((struct cpu_device *)d)->values;
    struct cpu_adam a = {
        .lr = values->lr, .beta1 = args->beta1, .beta2 = args->beta2, .eps = 1e-8, .t = values->t};

    if (args->ret_bad && !cpu_all_finite(args->count, g))
        *args->ret_bad = 1;
    cpu_adam(&a, args->count, g, p, m, v);
    return ERR_OK;
}

static int blend(struct device *d, size_t count, double a, const float *x, double b, float *y) {
    cpu_blend(count, (float)a, x, (float)b, y);
    return ERR_OK;
}

static int all_finite(struct device *d, size_t count, const float *x, int *ret_bad) {
    if (!cpu_all_finite(count, x))
        *ret_bad = 1;
    return ERR_OK;
}

static void cpu_close(struct device *d) {
    struct cpu_device *cpu = (struct cpu_device *)d;

    dnnl_stream_destroy(cpu->stream);
    dnnl_engine_destroy(cpu->engine);
    free(cpu);
}

static const struct backend backend = {
    .name = "cpu",
    .close = cpu_close,
    .describe = cpu_host_describe,
    .memory_new = cpu_host_memory_new,
    .memory_free = cpu_host_memory_free,
    .shared_new = cpu_host_memory_new,
    .shared_free = cpu_host_memory_free,
    .memory_peak = cpu_host_memory_peak,
    .copy_in = cpu_host_copy,
    .copy_out = cpu_host_copy,
    .copy = cpu_host_copy,
    .image_in = cpu_host_image_in,
    .images_in = cpu_host_images_in,
    .image_prefetch = cpu_host_image_prefetch,
    .image_arrive = cpu_host_image_arrive,
    .image_out = cpu_host_image_out,
    .fence_set = cpu_host_fence,
    .fence_wait = cpu_host_fence,
    .section_new = cpu_host_section_new,
    .section_free = cpu_host_section_free,
    .section_begin = cpu_host_section_begin,
    .section_end = cpu_host_section_end,
    .section_drop = cpu_host_section_drop,
    .stream_choose = cpu_host_stream_choose,
    .event_record = cpu_host_event_record,
    .event_wait = cpu_host_event_record,
    .weights_new = cpu_weights_new,
    .weights_free = cpu_weights_free,
    .weights_refresh = cpu_weights_refresh,
    .weights_bytes = cpu_weights_bytes,
    .conv_new = cpu_conv_new,
    .conv_free = cpu_conv_free,
    .conv_workspace_bytes = cpu_conv_workspace_bytes,
    .plans_save = cpu_host_plans_save,
    .conv_describe = cpu_conv_describe,
    .conv_forward = cpu_conv_forward,
    .conv_backward = cpu_conv_backward,
    .norm_workspace_bytes = norm_workspace_bytes,
    .norm_forward = norm_forward,
    .norm_backward = norm_backward,
    .tanh_forward = tanh_forward,
    .tanh_backward = tanh_backward,
    .concat_forward = concat_forward,
    .concat_backward = concat_backward,
    .l1 = l1,
    .gan = gan,
    .tangent_forward = tangent_forward,
    .tangent_backward = tangent_backward,
    .penalty = penalty,
    .mix = mix,
    .resample = cpu_entry_resample,
    .flip = cpu_entry_flip,
    .sample_forward = cpu_entry_sample_forward,
    .sample_backward = cpu_entry_sample_backward,
    .nce_workspace_bytes = cpu_entry_nce_workspace_bytes,
    .nce = cpu_entry_nce,
    .adam = adam,
    .blend = blend,
    .finite = all_finite,
};

static int parse_winograd(const char *text, struct cpu_device *cpu) {
    text = text ? text : "auto";
    cpu->winograd = strcmp(text, "off") != 0;
    cpu->tile = strcmp(text, "f2") == 0 ? 2 : strcmp(text, "f4") == 0 ? 4 : 0;
    if (cpu->winograd && cpu->tile == 0 && strcmp(text, "auto") != 0)
        return err_set(ERR_CONFIG, "winograd \"%s\": auto, off, f2 or f4", text);
    return ERR_OK;
}

static int check_dtype(const char *text) {
    if (text && strcmp(text, "auto") != 0 && strcmp(text, "fp32") != 0)
        return err_set(ERR_CONFIG,
                       "dtype = \"%s\": the CPU computes in fp32 alone; set dtype = "
                       "\"auto\" or \"fp32\"",
                       text);
    return ERR_OK;
}

static int open_dnnl(struct cpu_device *cpu) {
    DNN(ERR_DEVICE, dnnl_engine_create(&cpu->engine, dnnl_cpu, 0));
    DNN(ERR_DEVICE, dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags));
    return ERR_OK;
}

int cpu_open(const struct device_options *options, struct device **ret_device) {
    struct cpu_device *cpu = xcalloc(1, sizeof *cpu);
    int err;

    cpu->base = (struct device){.backend = &backend,
                                .dtype = "fp32",
                                .element_bytes = sizeof(float),
                                .channel_step = 1,
                                .streams = 1};
    cpu->keeps_packed = !options->weights_change;
    err = parse_winograd(options->winograd, cpu);
    if (!err)
        err = check_dtype(options->dtype);
    if (err)
        goto fail;
    if (options->threads < 1) {
        err = err_set(ERR_CONFIG, "threads %d: 1 or more", options->threads);
        goto fail;
    }
    cpu->threads = options->threads;
    omp_set_num_threads(cpu->threads);
    err = open_dnnl(cpu);
    if (err)
        goto fail;
    *ret_device = &cpu->base;
    return ERR_OK;

fail:
    cpu_close(&cpu->base); // takes a half-made device
    return err;
}
