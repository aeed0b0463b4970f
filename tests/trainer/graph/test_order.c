// Streams: whatever order they run in, a training step has the bits of the plain tape. The CPU
// plays a device with streams: its ops are run one after another in random orders that the waits
// allow.
#include "trainer/models/model_test.h"

#include "base/util.h"
#include "graph/tape.h"
#include "models/recipe.h"

#define STEPS 2
#define ORDERS 4 // of each recipe

static struct config_trainer options_of(const char *model) {
    struct config_trainer o = recipe_options(model);

    o.nce_layers = "0,4,8,12";
    o.num_patches = 10;
    o.threads = 1;
    o.shapes = 1;
    return o;
}

#define CASES 9

static struct config_trainer case_of(int i) {
    static const char *const models[CASES] = {"cycle_gan", "cycle_gan", "cycle_gan",
                                              "cycle_gan", "pix2pix",   "pix2pix",
                                              "cut",       "cut",       "cut"};
    struct config_trainer o = options_of(models[i]);

    o.lambda_identity = i == 1 ? 0 : 0.5;
    if (i == 2 || i == 4) { // running statistics and dropout
        o.norm = "batch";
        o.no_dropout = false;
    }
    if (i == 3 || i == 5 || i == 8)
        o.gan_mode = "wgangp";
    if (i == 7) { // FastCUT
        o.nce_idt = false;
        o.flip_equivariance = o.nce_includes_all_negatives_from_minibatch = true;
    }
    return o;
}

#define SIZES ((struct sizes){2, 24, 24})

static struct model *open_with_streams(const struct config_trainer *o,
                                       const struct model_host *host) {
    struct model *m = open_model_with(o, host);

    m->device->streams = DEVICE_STREAMS;
    assert_int_equal(model_shape(m, SIZES.n, SIZES.h, SIZES.w, SIZES.h, SIZES.w), ERR_OK);
    return m;
}

// ---- random orders ----

// A choice below n, by a number that changes.
static int choose(uint64_t seed, uint64_t *number, int n) {
    return (int)rng_below(seed, RNG_TEST, (*number)++, 0, (uint64_t)n);
}

// The next op of a stream in [from, end) that has not been taken; -1: none.
static int next_of_stream(const struct graph *g, const bool *taken, int from, int end, int stream) {
    for (int i = from; i < end; i++)
        if (!taken[i] && g->ops[i].stream == stream)
            return i;
    return -1;
}

static bool may_run(const struct op *op, const bool *taken, bool waits) {
    for (int i = 0; i < op->n_waits && waits; i++)
        if (!taken[op->waits[i]])
            return false;
    return true;
}

static int section_end(const struct graph *g, int from) {
    int end = from;

    while (end < g->n_ops && g->ops[end].section == g->ops[from].section)
        end++;
    return end;
}

// Puts the ops of the tape into an order that a device with streams may run them in. Returns how
// many are not where they were. Without `waits` only each stream's own order is kept.
static int shuffle(struct graph *g, uint64_t seed, bool waits) {
    struct op *ops = xcalloc((size_t)g->n_ops, sizeof *ops);
    bool *taken = xcalloc((size_t)g->n_ops, sizeof *taken);
    uint64_t number = 0;
    int moved = 0, at = 0;

    for (int from = 0; from < g->n_ops; from = section_end(g, from))
        while (at < section_end(g, from)) {
            int stream = choose(seed, &number, DEVICE_STREAMS);
            int i = next_of_stream(g, taken, from, section_end(g, from), stream);
            if (i < 0 || !may_run(&g->ops[i], taken, waits))
                continue;
            taken[i] = true;
            moved += i != at;
            ops[at++] = g->ops[i];
        }
    memcpy(g->ops, ops, (size_t)g->n_ops * sizeof *ops);
    free(ops);
    free(taken);
    return moved;
}

static bool same_parameters(struct model *a, struct model *b) {
    bool same = true;

    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            size_t bytes = p->count * sizeof(float);
            if (p->w)
                same &= memcmp(p->w, q->w, bytes) == 0;
            if (p->m)
                same &= memcmp(p->m, q->m, bytes) == 0 && memcmp(p->v, q->v, bytes) == 0;
        }
    for (int i = 0; i < model_n_losses(a); i++) {
        double x = model_loss(a, i), y = model_loss(b, i);
        same &= memcmp(&x, &y, sizeof x) == 0;
    }
    return same;
}

static struct model *train_plainly(const struct config_trainer *o) {
    struct model *m = open_model(o);

    for (uint64_t i = 0; i < STEPS; i++)
        train(m, o, SIZES, i);
    return m;
}

static struct model *train_shuffled(const struct config_trainer *o, uint64_t seed, bool waits) {
    struct model *m = open_with_streams(o, &usual_host);

    assert_true(shuffle(m->tape->graph, seed, waits) > m->tape->graph->n_ops / 4);
    memset(m->arena, 0xff, m->arena_bytes); // NaN
    m->device->streams = 1;                 // the tape is run as it now lies
    for (uint64_t i = 0; i < STEPS; i++)
        train(m, o, SIZES, i);
    return m;
}

static void every_order_that_the_waits_allow_has_the_bits_of_the_tape(void **state) {
    for (int c = 0; c < CASES; c++) {
        struct config_trainer o = case_of(c);
        struct model *plain = train_plainly(&o);
        for (uint64_t seed = 0; seed < ORDERS; seed++) {
            struct model *m = train_shuffled(&o, seed, true);
            assert_true(same_parameters(plain, m));
            model_free(m);
        }
        model_free(plain);
    }
}

// What the test above would see if ops did not wait.
static void without_waits_the_bits_are_others(void **state) {
    for (int c = 0; c < CASES; c++) {
        struct config_trainer o = case_of(c);
        struct model *plain = train_plainly(&o), *m = train_shuffled(&o, 1, false);
        assert_false(same_parameters(plain, m));
        model_free(m);
        model_free(plain);
    }
}

// ---- every pair ----

// before[i n + k]: op k has ended when op i begins, by streams and waits alone.
static bool *find_order(const struct graph *g) {
    size_t n = (size_t)g->n_ops;
    bool *before = xcalloc(n * n, sizeof *before);

    for (int i = 0; i < g->n_ops; i++) {
        const struct op *op = &g->ops[i];
        for (int k = 0; k < i; k++) {
            bool direct = g->ops[k].section != op->section || g->ops[k].stream == op->stream;
            for (int w = 0; w < op->n_waits; w++)
                direct |= op->waits[w] == k;
            for (size_t j = 0; direct && j < n; j++)
                before[(size_t)i * n + j] |= before[(size_t)k * n + j] || j == (size_t)k;
        }
    }
    return before;
}

static bool conflict(const struct graph *g, int i, int k) {
    struct graph_span a[GRAPH_SPANS], b[GRAPH_SPANS];
    int n_a = graph_spans(g, &g->ops[i], a), n_b = graph_spans(g, &g->ops[k], b);

    for (int x = 0; x < n_a; x++)
        for (int y = 0; y < n_b; y++)
            if (graph_spans_conflict(&a[x], &b[y]))
                return true;
    return false;
}

static void ops_that_touch_the_same_memory_are_ordered(void **state) {
    for (int c = 0; c < CASES; c++) {
        struct config_trainer o = case_of(c);
        struct model *m = open_with_streams(&o, &usual_host);
        const struct graph *g = m->tape->graph;
        bool *before = find_order(g);
        int pairs = 0, waits = 0, used[DEVICE_STREAMS] = {0};
        for (int i = 0; i < g->n_ops; i++) {
            used[g->ops[i].stream]++;
            waits += g->ops[i].n_waits;
            for (int k = 0; k < i; k++)
                if (g->ops[k].stream != g->ops[i].stream && conflict(g, i, k)) {
                    pairs++;
                    assert_true(before[i * g->n_ops + k]);
                }
        }
        for (int l = 0; l < DEVICE_STREAMS; l++)
            assert_true(used[l] > 0);
        assert_true(waits > 0 && waits < pairs); // the others follow from these
        free(before);
        model_free(m);
    }
}

static void an_op_that_is_waited_for_has_an_event_of_its_own(void **state) {
    for (int c = 0; c < CASES; c++) {
        struct config_trainer o = case_of(c);
        struct model *m = open_with_streams(&o, &usual_host);
        const struct graph *g = m->tape->graph;
        for (int i = 0; i < g->n_ops; i++)
            for (int w = 0; w < g->ops[i].n_waits; w++) {
                const struct op *other = &g->ops[g->ops[i].waits[w]];
                assert_true(other->event >= 0 && other->event < DEVICE_EVENTS);
                assert_int_equal(other->section, g->ops[i].section);
                assert_true(other->stream != g->ops[i].stream);
                for (int k = 0; k < i; k++)
                    assert_false(g->ops[k].event == other->event && &g->ops[k] != other &&
                                 g->ops[k].section == other->section);
            }
        model_free(m);
    }
}

// ---- what is issued ----

// The calls of a device with streams, in the place of the CPU's that do nothing.
static struct calls {
    int stream, events, waits, ops[DEVICE_STREAMS];
    bool recorded[DEVICE_EVENTS];
} calls;

static const struct backend *cpu;

static void stream_choose(struct device *d, int stream) {
    calls.stream = stream;
}

static int event_record(struct device *d, int event) {
    calls.events++;
    calls.recorded[event] = true;
    return ERR_OK;
}

static int event_wait(struct device *d, int event) {
    calls.waits++;
    assert_true(calls.recorded[event]);
    return ERR_OK;
}

static int section_begin(struct device_section *section, const struct device_values *values,
                         bool *ret_issue) {
    memset(calls.recorded, 0, sizeof calls.recorded);
    return cpu->section_begin(section, values, ret_issue);
}

static void count_op(void *context) {
    calls.ops[calls.stream]++;
}

static void a_stream_waits_for_events_that_were_recorded_before(void **state) {
    struct config_trainer o = case_of(0);
    struct model_host host = {.seed = 42, .between_ops = count_op};
    struct model *m = open_with_streams(&o, &host);
    struct backend with_streams = *m->device->backend;

    cpu = m->device->backend;
    with_streams.stream_choose = stream_choose;
    with_streams.event_record = event_record;
    with_streams.event_wait = event_wait;
    with_streams.section_begin = section_begin;
    m->device->backend = &with_streams;
    calls = (struct calls){0};
    train(m, &o, SIZES, 0);
    assert_int_equal(calls.stream, 0); // where Adam goes
    assert_true(calls.waits > 0 && calls.events > 0);
    for (int l = 0; l < DEVICE_STREAMS; l++)
        assert_true(calls.ops[l] > 20);
    m->device->backend = cpu;
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_that_the_waits_allow_has_the_bits_of_the_tape),
        cmocka_unit_test(without_waits_the_bits_are_others),
        cmocka_unit_test(ops_that_touch_the_same_memory_are_ordered),
        cmocka_unit_test(an_op_that_is_waited_for_has_an_event_of_its_own),
        cmocka_unit_test(a_stream_waits_for_events_that_were_recorded_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
