// The pool's process over its socket: requests, refusals, kill -9 while it serves.

#include "base/rng.h"
#include "check.h"
#include "pool/pool_rig.h"

#define CAPACITY 6
#define BATCH 2
#define SLOT 30000
#define STEPS 3000
#define KILLS 30

static int set_up(void **state) {
    struct pool_rig *r = xcalloc(1, sizeof *r);
    rig_init(r, "seed = 11; pool = { memory = \"8 MiB\"; };");
    r->shape = (struct msg){
        .type = MSG_pool_open,
        .pool_open = {
            .capacity = CAPACITY, .batch = BATCH, .n_slot_bytes = 2, .slot_bytes = {SLOT, SLOT}}};
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    rig_fini(*state);
    free(*state);
    return 0;
}

static void restore_empty(struct pool_rig *r) {
    struct msg m = {.type = MSG_pool_restore};
    rig_ask(r, &m, NULL, 0);
    assert_int_equal(r->in.msg.type, MSG_pool_restored);
}

// One exchange; returns a number that depends on every byte of the reply.
static uint64_t exchange(struct pool_rig *r, uint64_t table, uint64_t step) {
    static uint8_t bytes[BATCH * SLOT];
    struct msg m = {.type = MSG_exchange,
                    .exchange = {.table = table, .step = step, .count = 1 + step % BATCH}};
    size_t size = m.exchange.count * SLOT;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((step * 2 + table) * 2654435761u >> (i / SLOT * 5));
    rig_ask(r, &m, bytes, size);
    assert_int_equal(r->in.msg.type, MSG_exchanged);
    assert_int_equal(r->in.msg.exchanged.step, step);
    assert_int_equal(r->in.n_frames, m.exchange.count);
    uint64_t h = r->in.msg.exchanged.stored + 8 * r->in.msg.exchanged.age;
    for (int k = 0; k < r->in.n_frames; k++) {
        const uint8_t *picture = zmq_msg_data(&r->in.frames[k]);
        assert_int_equal(zmq_msg_size(&r->in.frames[k]), SLOT);
        for (size_t i = 0; i < SLOT; i++)
            h = (h ^ picture[i]) * 0x100000001b3u;
    }
    return h;
}

static void refusal_is(struct pool_rig *r, int err, const char *text) {
    assert_int_equal(r->in.msg.type, MSG_refuse);
    assert_int_equal(r->in.msg.refuse.err, err);
    if (!strstr(r->in.msg.refuse.text, text))
        fail_msg("'%s' in '%s'", text, r->in.msg.refuse.text);
}

static void save(struct pool_rig *r, uint64_t step, const char *path, char ret_digest[65]) {
    struct msg m = {.type = MSG_pool_save, .pool_save.step = step};
    (void)text_copy(m.pool_save.path, sizeof m.pool_save.path, path);
    rig_ask(r, &m, NULL, 0);
    assert_int_equal(r->in.msg.type, MSG_pool_saved);
    (void)text_copy(ret_digest, 65, r->in.msg.pool_saved.digest);
}

// ---- kill -9 ----

static void run_steps(struct pool_rig *r, uint64_t *ret_replies) {
    for (uint64_t step = 1; step <= STEPS; step++)
        for (uint64_t t = 0; t < 2; t++)
            ret_replies[2 * step + t] = exchange(r, t, step);
}

// In a process of its own: kills the pool and starts it again. The last one lives as long as it.
static void kill_again_and_again(struct pool_rig *r) {
    for (uint64_t i = 0; i < KILLS; i++) {
        (void)usleep((useconds_t)(20000 + rng_below(1, RNG_TEST, i, 0, 200000))); // at random
        (void)rig_stop(r, SIGKILL);
        rig_start(r);
    }
    (void)pause();
    _exit(0);
}

static void begin_killing(struct pool_rig *r) {
    (void)rig_stop(r, SIGKILL);
    r->pid = fork();
    if (r->pid == 0) {
        rig_start(r);
        kill_again_and_again(r);
    }
}

static void killed_pool_loses_and_doubles_nothing(void **state) {
    struct pool_rig *r = *state;
    static uint64_t replies[2][2 * STEPS + 2];
    char digests[2][65];
    restore_empty(r);
    run_steps(r, replies[0]);
    save(r, STEPS, "a.bin", digests[0]);
    restore_empty(r);
    begin_killing(r);
    r->asked_again = 0;
    run_steps(r, replies[1]);
    save(r, STEPS, "b.bin", digests[1]);
    assert_memory_equal(replies[0], replies[1], sizeof replies[0]);
    assert_string_equal(digests[0], digests[1]);
    print_message("asked again %u times, longest wait %lld ms\n", r->asked_again,
                  (long long)r->wait_us / 1000);
    assert_true(r->asked_again >= 5);
}

// ---- in order ----

static void new_trainer_goes_back_to_its_checkpoint(void **state) {
    struct pool_rig *r = *state;
    char digest[65];
    uint64_t first = 0, second = 0;
    restore_empty(r);
    for (uint64_t step = 1; step <= 20; step++) {
        (void)exchange(r, 0, step);
        (void)exchange(r, 1, step);
    }
    save(r, 20, "twenty.bin", digest);
    for (uint64_t step = 21; step <= 30; step++)
        first = first * 31 + exchange(r, 0, step) + exchange(r, 1, step);
    rig_connect(r, 2); // it died and came back
    struct msg m = {.type = MSG_exchange, .exchange = {.table = 0, .step = 31, .count = 1}};
    static uint8_t picture[SLOT];
    rig_ask(r, &m, picture, sizeof picture);
    refusal_is(r, ERR_MISMATCH, "incarnation 2 of the trainer has not restored");
    m = (struct msg){.type = MSG_pool_restore, .pool_restore = {.step = 20, .path = "twenty.bin"}};
    (void)text_copy(m.pool_restore.digest, sizeof m.pool_restore.digest, digest);
    rig_ask(r, &m, NULL, 0);
    assert_int_equal(r->in.msg.type, MSG_pool_restored);
    for (uint64_t step = 21; step <= 30; step++)
        second = second * 31 + exchange(r, 0, step) + exchange(r, 1, step);
    assert_true(first == second);
}

static void pool_ends_with_zero_on_sigterm(void **state) {
    struct pool_rig *r = *state;
    restore_empty(r);
    int status = rig_stop(r, SIGTERM);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void memory_stays_within_its_bound(void **state) {
    struct pool_rig *r = *state;
    uint64_t early = 0;
    restore_empty(r);
    for (uint64_t step = 1; step <= 3000; step++) {
        (void)exchange(r, 0, step);
        (void)exchange(r, 1, step);
        if (step == 300)
            early = rig_resident_bytes(r->pid);
    }
    uint64_t late = rig_resident_bytes(r->pid);
    rig_ask(r, &r->shape, NULL, 0);
    uint64_t arena = r->in.msg.pool_opened.arena_bytes;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    // Two tables, a batch in and one out each; 8 MiB for program, libraries, unsent points.
    assert_true(late <= arena + 4ull * BATCH * SLOT + (8 << 20));
    assert_true(late <= early + (1 << 20));
}

// ---- refusals ----

static void nonsense_is_refused_in_words(void **state) {
    struct pool_rig *r = *state;
    static uint8_t pictures[BATCH * SLOT];
    struct msg m = {.type = MSG_pool_save, .pool_save = {.step = 1, .path = "../a.bin"}};
    rig_ask(r, &m, NULL, 0);
    refusal_is(r, ERR_PEER, "pool_save.path '../a.bin' does not lie in the run's folder");
    restore_empty(r);
    m = (struct msg){.type = MSG_exchange, .exchange = {.table = 0, .step = 1, .count = 2}};
    rig_ask(r, &m, pictures, 2 * SLOT - 1);
    refusal_is(r, ERR_PEER, "brings 59999 bytes");
    m.exchange.table = 2;
    rig_ask(r, &m, pictures, 2 * SLOT);
    refusal_is(r, ERR_PEER, "table 2");
    m = (struct msg){.type = MSG_exchange, .exchange = {.table = 0, .step = 2, .count = 1}};
    rig_ask(r, &m, pictures, SLOT);
    refusal_is(r, ERR_MISMATCH, "step 2 of table 0, the last was 0");
    m = (struct msg){.type = MSG_manifest_ask};
    rig_ask(r, &m, NULL, 0);
    refusal_is(r, ERR_PEER, "the pool does not answer manifest_ask");
    m = (struct msg){.type = MSG_pool_restore, .pool_restore = {.step = 3, .path = "none"}};
    rig_ask(r, &m, NULL, 0);
    refusal_is(r, ERR_IO, "none");
    m = r->shape;
    m.pool_open.capacity++;
    rig_ask(r, &m, NULL, 0);
    refusal_is(r, ERR_MISMATCH, "another shape");
    (void)exchange(r, 0, 1); // and serves on
}

static void pool_beyond_its_memory_is_refused_with_the_sum(void **state) {
    struct pool_rig *r = *state;
    struct msg m = {.type = MSG_pool_restore};
    r->shape.pool_open.capacity = 1000;
    rig_ask(r, &r->shape, NULL, 0);
    refusal_is(r, ERR_LIMIT, "(1000 + 2 * 2) pictures in each of 2 tables");
    rig_ask(r, &m, NULL, 0);
    refusal_is(r, ERR_MISMATCH, "send pool_open first");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(killed_pool_loses_and_doubles_nothing),
        CASE(new_trainer_goes_back_to_its_checkpoint),
        CASE(pool_ends_with_zero_on_sigterm),
        CASE(memory_stays_within_its_bound),
        CASE(nonsense_is_refused_in_words),
        CASE(pool_beyond_its_memory_is_refused_with_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
