// The exchange rule: against cases made by the reference class, against a naive twin, in the mean.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "replay_rule.h"
#include "snapshot.h"

// Pictures are single numbers. draws: {coin, position}; one pair per picture that meets the full
// pool.
static const struct sequence {
    const char *name;
    int size, n_draws, n;
    struct {
        double coin;
        int position;
    } draws[24];
    int in[32], out[32], slots[8];
} sequences[] = {
    {.name = "pool_off",
     .size = 0,
     .n_draws = 0,
     .draws = {{0, 0}},
     .n = 6,
     .in = {1, 2, 3, 4, 5, 6},
     .out = {1, 2, 3, 4, 5, 6},
     .slots = {0}},
    {.name = "pool_edge_half",
     .size = 2,
     .n_draws = 4,
     .draws = {{0.5, -1}, {0.500001, 1}, {0.499999, -1}, {1.0, 0}},
     .n = 6,
     .in = {1, 2, 3, 4, 5, 6},
     .out = {1, 2, 3, 2, 5, 1},
     .slots = {6, 4}},
    {.name = "pool_3_0",
     .size = 3,
     .n_draws = 9,
     .draws = {{0.3269, -1},
               {0.6424, 0},
               {0.7097, 2},
               {0.9354, 2},
               {0.7761, 0},
               {0.838, 2},
               {0.3084, -1},
               {0.1295, -1},
               {0.4302, -1}},
     .n = 12,
     .in = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
     .out = {1, 2, 3, 4, 1, 3, 6, 5, 7, 10, 11, 12},
     .slots = {8, 2, 9}},
    {.name = "pool_3_1",
     .size = 3,
     .n_draws = 15,
     .draws = {{0.1638, -1},
               {0.8812, 0},
               {0.9364, 0},
               {0.7019, 2},
               {0.06441, -1},
               {0.4669, -1},
               {0.3094, -1},
               {0.897, 2},
               {0.2255, -1},
               {0.2923, -1},
               {0.3969, -1},
               {0.5136, 1},
               {0.5165, 2},
               {0.9565, 1},
               {0.8393, 2}},
     .n = 18,
     .in = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18},
     .out = {1, 2, 3, 4, 1, 5, 3, 8, 9, 10, 7, 12, 13, 14, 2, 11, 15, 16},
     .slots = {6, 17, 18}},
    {.name = "pool_4_2",
     .size = 4,
     .n_draws = 17,
     .draws = {{0.9037, 1},
               {0.6683, 1},
               {0.2514, -1},
               {0.4584, -1},
               {0.9604, 1},
               {0.3735, -1},
               {0.5596, 1},
               {0.7275, 0},
               {0.8309, 0},
               {0.9324, 0},
               {0.7365, 0},
               {0.03926, -1},
               {0.8483, 1},
               {0.4183, -1},
               {0.226, -1},
               {0.06636, -1},
               {0.5021, 2}},
     .n = 21,
     .in = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21},
     .out = {1, 2, 3, 4, 2, 5, 7, 8, 6, 10, 9, 1, 12, 13, 14, 16, 11, 18, 19, 20, 3},
     .slots = {15, 17, 21, 4}},
    {.name = "pool_5_4",
     .size = 5,
     .n_draws = 15,
     .draws = {{0.5105, 3},
               {0.3378, -1},
               {0.3707, -1},
               {0.4744, -1},
               {0.1675, -1},
               {0.1291, -1},
               {0.7791, 2},
               {0.7158, 4},
               {0.4545, -1},
               {0.9194, 3},
               {0.3994, -1},
               {0.1139, -1},
               {0.9331, 1},
               {0.9394, 4},
               {0.5919, 4}},
     .n = 20,
     .in = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20},
     .out = {1, 2, 3, 4, 5, 4, 7, 8, 9, 10, 11, 3, 5, 14, 6, 16, 17, 2, 13, 19},
     .slots = {1, 18, 12, 15, 20}},
};

static void play(const struct sequence *s) {
    int slots[8] = {0};
    uint64_t filled = 0;
    int drawn = 0;
    for (int i = 0; i < s->n; i++) {
        bool full = s->size > 0 && filled == (uint64_t)s->size;
        double coin = full ? s->draws[drawn].coin : 0;
        uint64_t position = full ? (uint64_t)s->draws[drawn++].position : 0;
        struct replay_action a = replay_rule((uint64_t)s->size, filled, coin, position);
        int out = a.gives ? slots[a.position] : s->in[i];
        if (a.stores)
            slots[a.position] = s->in[i];
        filled += a.stores && !a.gives;
        if (out != s->out[i])
            fail_msg("%s: picture %d gives %d, not %d", s->name, i, out, s->out[i]);
    }
    assert_int_equal(drawn, s->n_draws);
    assert_memory_equal(slots, s->slots, (size_t)s->size * sizeof *slots);
}

static void reference_sequences_come_out(void **state) {
    for (size_t i = 0; i < COUNT(sequences); i++)
        play(&sequences[i]);
}

static void coin_of_one_half_does_not_swap(void **state) {
    assert_false(replay_rule(2, 2, 0.5, 1).stores);
    assert_true(replay_rule(2, 2, 0.50000001, 1).stores);
}

// The reference's list, copied from nothing but its description.
struct twin {
    uint64_t *list;
    uint64_t count, met, step;
};

static uint64_t twin_query(struct twin *t, uint64_t seed, uint32_t table, uint64_t capacity,
                           uint64_t id) {
    if (t->count < capacity)
        return t->list[t->count++] = id;
    double p = rng_uniform(seed, RNG_POOL, t->met, table * 2);
    uint64_t k = rng_below(seed, RNG_POOL, t->met, table * 2 + 1, capacity);
    t->met++;
    if (p <= 0.5)
        return id;
    uint64_t old = t->list[k];
    t->list[k] = id;
    return old;
}

#define EXCHANGES 150000
#define CAPACITY 50
#define BATCH 7

static void twin_exchange(struct arena *a, struct twin *twins, uint64_t table, uint64_t i) {
    uint64_t ids[BATCH], count = 1 + rng_below(5, RNG_TEST, i, 0, BATCH);
    for (uint64_t k = 0; k < count; k++)
        ids[k] = i * 100 + k;
    struct arena_request r = {1, table, ++twins[table].step, count, ids};
    assert_int_equal(arena_exchange(a, &r), ERR_OK);
    for (uint64_t k = 0; k < count; k++) {
        uint64_t expected = twin_query(&twins[table], 9, (uint32_t)table, CAPACITY, ids[k]);
        assert_int_equal(*(const uint64_t *)arena_reply(a, table, k), expected);
    }
}

static void arena_equals_a_naive_list(void **state) {
    struct arena_shape shape = {
        .seed = 9, .capacity = CAPACITY, .batch = BATCH, .n_tables = 2, .slot_bytes = {8, 8}};
    char path[] = "/tmp/test_exchange.XXXXXX";
    uint64_t lists[2][CAPACITY];
    struct twin twins[2] = {{.list = lists[0]}, {.list = lists[1]}};
    struct arena *a;
    (void)close(mkstemp(path));
    assert_int_equal(arena_open(path, &shape, 1 << 20, &a), ERR_OK);
    snapshot_load_empty(a, 1, 0);
    for (uint64_t i = 0; i < EXCHANGES; i++)
        twin_exchange(a, twins, rng_below(5, RNG_TEST, i, 1, 2), i);
    for (uint64_t t = 0; t < 2; t++)
        for (uint64_t i = 0; i < CAPACITY; i++)
            assert_int_equal(*(const uint64_t *)arena_image(a, t, i), lists[t][i]);
    arena_close(a);
    (void)unlink(path);
}

static void half_comes_from_the_table_and_slots_are_uniform(void **state) {
    enum { N = 1000000, SLOTS = 50 };
    double counts[SLOTS] = {0}, swaps = 0, chi2 = 0;
    for (uint64_t met = 0; met < N; met++) {
        double coin = replay_coin(42, 1, met);
        uint64_t position = replay_position(42, 1, met, SLOTS);
        struct replay_action a = replay_rule(SLOTS, SLOTS, coin, position);
        swaps += a.gives;
        if (a.gives)
            counts[a.position]++;
    }
    for (int i = 0; i < SLOTS; i++)
        chi2 += (counts[i] - swaps / SLOTS) * (counts[i] - swaps / SLOTS) / (swaps / SLOTS);
    assert_true(swaps / N > 0.498 && swaps / N < 0.502); // 4 sigma
    assert_true(chi2 < 74.9);                            // 49 degrees of freedom, p = 0.01
}

static void tables_draw_differently(void **state) {
    int same = 0;
    for (uint64_t met = 0; met < 1000; met++)
        same += replay_position(42, 0, met, 50) == replay_position(42, 1, met, 50);
    assert_true(same < 50); // 20 expected
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_sequences_come_out),
        cmocka_unit_test(coin_of_one_half_does_not_swap),
        cmocka_unit_test(arena_equals_a_naive_list),
        cmocka_unit_test(half_comes_from_the_table_and_slots_are_uniform),
        cmocka_unit_test(tables_draw_differently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
