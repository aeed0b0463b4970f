// Losses and the ops of the gradient penalty.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "gpu/gpu_bench.h"
#include "trainer/oracle/heads.h"
#include "trainer/oracle/ops.h"

static void drop_all(struct bench *b, int count, struct operand **all) {
    for (int i = 0; i < count; i++)
        operand_drop(b, all[i]);
}

static void check_l1(struct bench *b, struct tensor_shape s) {
    struct operand a = operand_in(b, s, 0), c = operand_in(b, s, 0), grad = operand_out(b, s, 0);
    struct l1_args args = {s, 10};
    double *loss = bench_loss(b), want;

    for (size_t i = 0; i < a.count; i += 7) // equal: no gradient
        c.host[i] = a.host[i];
    operand_send(b, &c);
    bench_must(b->d->backend->l1(b->d, &args, a.memory, c.memory, grad.memory, loss));
    want = ref_l1(a.count, args.scale, a.host, c.host, grad.host);
    gpu_row(b->g, b->mode->dtype, "L1 %dx%dx%dx%d", s.n, s.h, s.w, s.c);
    gpu_value(b->g, "loss", bench_loss_error(b, loss, want), GPU_FLOATS);
    gpu_value(b->g, "gradient", operand_error(b, &grad), b->mode->op);
    operand_poison(b, &grad);
    bench_must(b->d->backend->l1(b->d, &args, a.memory, c.memory, grad.memory, NULL));
    gpu_value(b->g, "alone", operand_error(b, &grad), b->mode->op);
    gpu_row_end(b->g);
    drop_all(b, 3, (struct operand *[]){&a, &c, &grad});
}

static void check_gan(struct bench *b, enum gan_mode mode, bool real, struct tensor_shape s) {
    static const char *const names[] = {"lsgan", "vanilla", "wgangp", "nonsaturating"};
    struct gan_args args = {mode, real, s, 0.5};
    struct operand x = operand_in(b, s, 0), grad = operand_out(b, s, 0);
    double *loss = bench_loss(b), want;

    for (size_t i = 0; i < x.count; i += 3) // far out, where exp would overflow or vanish
        x.host[i] *= i % 2 ? 20 : 200;
    operand_send(b, &x);
    bench_must(b->d->backend->gan(b->d, &args, x.memory, grad.memory, loss));
    want = ref_gan(&args, x.host, grad.host);
    gpu_row(b->g, b->mode->dtype, "GAN %s, %s, %dx%dx%dx%d", names[mode], real ? "real" : "fake",
            s.n, s.h, s.w, s.c);
    gpu_value(b->g, "loss", bench_loss_error(b, loss, want), GPU_FLOATS);
    gpu_value(b->g, "gradient", operand_error(b, &grad), b->mode->op);
    operand_poison(b, &grad);
    bench_must(b->d->backend->gan(b->d, &args, x.memory, grad.memory, NULL));
    gpu_value(b->g, "alone", operand_error(b, &grad), b->mode->op);
    gpu_row_end(b->g);
    drop_all(b, 2, (struct operand *[]){&x, &grad});
}

static void check_penalty(struct bench *b, struct tensor_shape s) {
    struct penalty_args args = {s, 10};
    struct operand g = operand_in(b, s, 0), u = operand_out(b, s, 0);
    double *loss = bench_loss(b), want;

    bench_must(b->d->backend->penalty(b->d, &args, g.memory, u.memory, loss));
    want = ref_penalty(s.n, g.count / (size_t)s.n, args.scale, g.host, u.host);
    gpu_row(b->g, b->mode->dtype, "gradient penalty %dx%dx%dx%d", s.n, s.h, s.w, s.c);
    gpu_value(b->g, "loss", bench_loss_error(b, loss, want), GPU_FLOATS);
    gpu_value(b->g, "u", operand_error(b, &u), b->mode->op);
    gpu_row_end(b->g);
    drop_all(b, 2, (struct operand *[]){&g, &u});
}

// As many pictures as the kernel has places for, and one more: a refusal, the device goes on.
static void check_large_batch(struct bench *b) {
    struct tensor_shape s = {1025, 3, 2, 6};
    struct penalty_args args = {s, 10};
    struct operand g = operand_in(b, s, 0), u = operand_out(b, s, 0);
    int err = b->d->backend->penalty(b->d, &args, g.memory, u.memory, NULL);

    gpu_row(b->g, b->mode->dtype, "gradient penalty of %d pictures", s.n);
    gpu_value(b->g, "refused", err == ERR_LIMIT ? 0 : NAN, 0);
    gpu_row_end(b->g);
    drop_all(b, 2, (struct operand *[]){&g, &u});
    s.n = 1024;
    check_penalty(b, s);
}

// With `zero` one patch has no length; its gradient is 1e7 times the others'. At temperature 0.07,
// which training takes, the dead term is lost in rounding: it shows at 5.
static void check_nce(struct bench *b, double temperature, int patches, int dim, bool all,
                      bool zero) {
    const struct backend *k = b->d->backend;
    struct nce_args args = {2, patches, dim, temperature, 1.5, all, false};
    struct tensor_shape s = {2, patches, 1, dim};
    struct operand q = operand_in(b, s, 0), keys = operand_in(b, s, 0), dq = operand_out(b, s, 0);
    struct floats each = floats_out(b, (size_t)(2 * patches));
    double *loss = bench_loss(b), want;
    void *workspace;

    if (zero)
        memset(q.host + dim, 0, (size_t)dim * sizeof *q.host);
    operand_send(b, &q);
    workspace = bench_workspace(b, k->nce_workspace_bytes(b->d, &args));
    bench_must(k->nce(b->d, &args, q.memory, keys.memory, dq.memory, each.memory, loss, workspace));
    want = ref_nce(&args, q.host, keys.host, dq.host, each.host);
    gpu_row(b->g, b->mode->dtype, "NCE T %g, %d patches of %d%s%s", temperature, patches, dim,
            all ? ", all" : "", zero ? ", one is zero" : "");
    gpu_value(b->g, "dq", operand_error(b, &dq), b->mode->gradient);
    gpu_value(b->g, "each", floats_error(b, &each), GPU_FLOATS);
    args.accumulate = true; // a second time, to the same loss
    operand_poison(b, &dq);
    bench_must(k->nce(b->d, &args, q.memory, keys.memory, dq.memory, NULL, loss, workspace));
    gpu_value(b->g, "dq again", operand_error(b, &dq), b->mode->gradient);
    gpu_value(b->g, "loss, twice", bench_loss_error(b, loss, 2 * want), GPU_FLOATS);
    gpu_row_end(b->g);
    k->memory_free(b->d, workspace);
    floats_drop(b, &each);
    drop_all(b, 3, (struct operand *[]){&q, &keys, &dq});
}

// ---- a norm with its derivative along a direction ----

struct tangent_case {
    struct operand x, dx, g_y, g_dy, y, dy, gx, gdx;
    struct floats weight, bias, dweight, dbias;
};

static void open_tangent(struct bench *b, struct tangent_case *c, const struct norm_shape *s,
                         bool all) {
    struct tensor_shape t = {s->n, s->h, s->w, s->c};

    *c = (struct tangent_case){.x = operand_in(b, t, 0),
                               .dx = operand_in(b, t, 0),
                               .g_dy = operand_in(b, t, 0),
                               .y = operand_out(b, t, 0),
                               .dy = operand_out(b, t, 0),
                               .gx = operand_out(b, t, 0),
                               .gdx = operand_out(b, t, 0)};
    if (all)
        c->g_y = operand_in(b, t, 0);
    if (s->norm == NORM_BATCH) {
        c->weight = floats_in(b, (size_t)s->c);
        c->bias = floats_in(b, (size_t)s->c);
        c->dweight = floats_out(b, (size_t)s->c);
        c->dbias = floats_out(b, (size_t)s->c);
        c->dweight.least = c->dbias.least = sqrt((double)c->x.pixels / 10);
    }
}

static void tangent_parameters(struct bench *b, struct tangent_case *c, const char *dweight,
                               const char *dbias) {
    gpu_value(b->g, dweight, floats_error(b, &c->dweight), GPU_FLOATS);
    gpu_value(b->g, dbias, floats_error(b, &c->dbias), GPU_FLOATS);
}

static void run_tangent(struct bench *b, struct tangent_case *c, const struct norm_shape *s) {
    const struct backend *k = b->d->backend;
    struct norm_affine values = {.weight = c->weight.memory, .bias = c->bias.memory};
    const struct norm_affine *affine = s->norm == NORM_BATCH ? &values : NULL;
    // Without a norm, what x gets of dy is nothing: not wanted then.
    bool wants_gx = c->g_y.memory || s->norm != NORM_NONE;
    struct tangent_tensors f = {c->x.memory, c->dx.memory, c->y.memory, c->dy.memory, affine};
    struct tangent_gradients r = {.x = c->x.memory,
                                  .dx = c->dx.memory,
                                  .g_y = c->g_y.memory,
                                  .g_dy = c->g_dy.memory,
                                  .ret_gx = wants_gx ? c->gx.memory : NULL,
                                  .ret_gdx = c->gdx.memory,
                                  .affine = affine,
                                  .ret_dweight = c->dweight.memory,
                                  .ret_dbias = c->dbias.memory};

    bench_must(k->tangent_forward(b->d, s, &f));
    bench_must(k->tangent_backward(b->d, s, &r));
    ref_tangent(s, &(struct ref_tangent){.x = c->x.host,
                                         .dx = c->dx.host,
                                         .g_y = c->g_y.host,
                                         .g_dy = c->g_dy.host,
                                         .weight = c->weight.host,
                                         .bias = c->bias.host,
                                         .y = c->y.host,
                                         .dy = c->dy.host,
                                         .gx = c->gx.host,
                                         .gdx = c->gdx.host,
                                         .dweight = c->dweight.host,
                                         .dbias = c->dbias.host});
    gpu_value(b->g, "y", operand_error(b, &c->y), b->mode->op);
    gpu_value(b->g, "dy", operand_error(b, &c->dy), b->mode->op);
    gpu_value(b->g, "gdx", operand_error(b, &c->gdx), b->mode->gradient);
    if (wants_gx)
        gpu_value(b->g, "gx", operand_error(b, &c->gx), b->mode->gradient);
    if (!affine)
        return;
    tangent_parameters(b, c, "dw", "db");
    r.accumulate = true;
    bench_must(k->tangent_backward(b->d, s, &r));
    for (int i = 0; i < s->c; i++) {
        c->dweight.host[i] *= 2;
        c->dbias.host[i] *= 2;
    }
    tangent_parameters(b, c, "+dw", "+db");
}

static void check_tangent(struct bench *b, const struct norm_shape *s, bool all) {
    static const char *const kinds[] = {"no norm", "instance", "batch"};
    static const char *const acts[] = {"", " relu", " leaky"};
    struct tangent_case c;

    open_tangent(b, &c, s, all);
    gpu_row(b->g, b->mode->dtype, "tangent %s%s %dx%dx%dx%d%s", kinds[s->norm], acts[s->act], s->n,
            s->h, s->w, s->c, all ? ", of y too" : "");
    run_tangent(b, &c, s);
    gpu_row_end(b->g);
    drop_all(b, 8, (struct operand *[]){&c.x, &c.dx, &c.g_y, &c.g_dy, &c.y, &c.dy, &c.gx, &c.gdx});
    floats_drop(b, &c.weight);
    floats_drop(b, &c.bias);
    floats_drop(b, &c.dweight);
    floats_drop(b, &c.dbias);
}

void gpu_losses(struct bench *b) {
    bool small = b->g->small;

    check_l1(b, (struct tensor_shape){2, 30, 29, 3});
    check_l1(b, (struct tensor_shape){1, 7, 1, 20});
    for (int i = 0; i < 8; i++)
        check_gan(b, (enum gan_mode)(i / 2), i % 2,
                  (struct tensor_shape){3, 13, 10, i < 4 ? 1 : 11});
    check_penalty(b, (struct tensor_shape){3, 31, 33, 6});
    check_large_batch(b);
    check_nce(b, 0.07, 9, 100, false, false);
    check_nce(b, 0.07, 70, 36, true, false);
    check_nce(b, 5, 9, 100, false, false);
    check_nce(b, 0.07, 9, 100, true, true);
    for (int i = 0; i < 18; i++)
        check_tangent(b,
                      &(struct norm_shape){.n = 2,
                                           .h = 9 + i,
                                           .w = 17,
                                           .c = i % 2 ? 20 : 6,
                                           .norm = (enum norm_kind)(i % 3),
                                           .act = (enum activation)(i / 3 % 3)},
                      i >= 9);
    if (small)
        return;
    check_l1(b, (struct tensor_shape){2, 256, 256, 3});
    check_gan(b, GAN_LSGAN, true, (struct tensor_shape){16, 30, 30, 1});
    check_nce(b, 0.07, 256, 256, false, false);
    check_tangent(b, &(struct norm_shape){2, 31, 31, 256, 0, 0, NORM_INSTANCE, ACT_LEAKY}, true);
    check_tangent(b, &(struct norm_shape){2, 128, 128, 64, 0, 0, NORM_NONE, ACT_LEAKY}, true);
    check_tangent(b, &(struct norm_shape){1024, 7, 7, 128, 0, 0, NORM_INSTANCE, ACT_LEAKY}, true);
}
