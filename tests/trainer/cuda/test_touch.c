// The memory that the ops of a tape read and write, on the emulated GPU. graph/order.c states it
// for each op, and the order of the streams follows from that alone. Here each op runs twice; the
// second time all memory is poisoned that it is not said to touch.
#include "trainer/cuda/rig.h"

#include "graph/tape.h"
#include "models/recipe.h"

#define SIZES ((struct sizes){2, 24, 24})
#define POISON 0xff // a NaN in float and bfloat16

// All kinds of ops, pix2pix's critic with its penalty too.
static struct config_trainer wide_options_of(const char *model) {
    struct config_trainer o = options_of(model);

    o.dtype = "bf16";
    o.shapes = 1;
    o.no_antialias = o.no_antialias_up = false;
    if (strcmp(model, "pix2pix") == 0) {
        o.gan_mode = "wgangp";
        o.lambda_gp = 10;
    }
    return o;
}

// Copies of the arena: before an op, behind it, behind it with the poison. touched[i]: byte i may
// be read, and with WRITTEN be written.
enum { TOUCHED = 1, WRITTEN = 2 };
struct trial {
    struct model *model;
    const struct graph *graph;
    size_t bytes;
    uint8_t *before, *behind, *touched;
};

static struct trial trial_of(struct model *m) {
    size_t bytes = graph_arena_bytes(m->tape->graph);

    return (struct trial){.model = m,
                          .graph = m->tape->graph,
                          .bytes = bytes,
                          .before = xmalloc(bytes),
                          .behind = xmalloc(bytes),
                          .touched = xmalloc(bytes)};
}

static void trial_fini(struct trial *t) {
    free(t->before);
    free(t->behind);
    free(t->touched);
}

static void touch(struct trial *t, const struct op *op) {
    struct graph_span spans[GRAPH_SPANS];
    int n = graph_spans(t->graph, op, spans);
    size_t workspace = t->graph->workspace_bytes;

    memset(t->touched, 0, t->bytes);
    memset(t->touched + ((uint8_t *)graph_workspace(t->graph, t->before, op) - t->before),
           TOUCHED | WRITTEN, workspace);
    for (int i = 0; i < n; i++)
        for (size_t k = spans[i].begin; spans[i].in_arena && k < spans[i].end; k++)
            t->touched[k] |= TOUCHED | (spans[i].write ? WRITTEN : 0);
}

static void run(const struct trial *t, const struct op *op) {
    assert_int_equal(graph_run_op(t->graph, t->model->arena, op), ERR_OK);
    assert_int_equal(device_wait(t->model->device), ERR_OK);
}

// Running statistics take part in what they become: with a second run they would be others.
static bool runs_twice(const struct op *op) {
    return strcmp(op->kind->name, "norm") != 0 || op->norm.shape.norm != NORM_BATCH;
}

static void assert_only_these_are_written(const struct trial *t, const struct op *op, int number) {
    const uint8_t *now = t->behind;

    for (size_t k = 0; k < t->bytes; k++)
        if (now[k] != t->before[k] && !(t->touched[k] & WRITTEN))
            fail_msg("op %d, %s, writes byte %zu, which it does not say", number, op->kind->name,
                     k);
}

static void assert_only_these_are_read(const struct trial *t, const struct op *op, int number) {
    uint8_t *arena = t->model->arena;

    for (size_t k = 0; k < t->bytes; k++)
        arena[k] = t->touched[k] ? t->before[k] : POISON;
    run(t, op);
    for (size_t k = 0; k < t->graph->workspace_offset; k++)
        if (arena[k] != (t->touched[k] ? t->behind[k] : POISON))
            fail_msg("op %d, %s: byte %zu depends on memory that it does not say it reads", number,
                     op->kind->name, k);
}

static void look_at(struct trial *t, int number) {
    const struct op *op = &t->graph->ops[number];

    memcpy(t->before, t->model->arena, t->bytes);
    touch(t, op);
    run(t, op);
    memcpy(t->behind, t->model->arena, t->bytes);
    assert_only_these_are_written(t, op, number);
    if (!runs_twice(op))
        return;
    assert_only_these_are_read(t, op, number);
    memcpy(t->model->arena, t->behind, t->bytes);
}

static void ops_touch_what_they_say(const char *model) {
    struct config_trainer o = wide_options_of(model);
    struct model *m = open_model(&o);

    train(m, &o, SIZES, 0); // so that there is something in the tensors
    struct trial t = trial_of(m);
    for (int i = 0; i < t.graph->n_ops; i++)
        look_at(&t, i);
    print_message("%s: %d ops, %zu KiB\n", model, t.graph->n_ops, t.bytes >> 10);
    trial_fini(&t);
    model_free(m);
}

static void ops_of_cycle_gan_touch_what_they_say(void **state) {
    ops_touch_what_they_say("cycle_gan");
}

static void ops_of_pix2pix_touch_what_they_say(void **state) {
    ops_touch_what_they_say("pix2pix");
}

static void ops_of_cut_touch_what_they_say(void **state) {
    ops_touch_what_they_say("cut");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_of_cycle_gan_touch_what_they_say),
        cmocka_unit_test(ops_of_pix2pix_touch_what_they_say),
        cmocka_unit_test(ops_of_cut_touch_what_they_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
