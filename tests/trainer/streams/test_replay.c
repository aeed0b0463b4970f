

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "streams/replay.h"

#define SLOT 12 // floats of a picture
#define DEADLINE_US 20000000
#define SEEN_MAX 64

// A pool that answers an exchange with the fakes plus one.
static struct {
    struct hub *hub;
    int n;
    enum msg_type seen[SEEN_MAX];
    uint64_t steps[SEEN_MAX];
    bool is_silent, is_wrong, refuses;
} pool;

static void *zmq;
static struct replay *replay;
static char endpoint[32];
static float fakes[2][2 * SLOT];
static const void *const both[REPLAY_TABLES] = {fakes[0], fakes[1]};

static struct link_options link_options(const char *process, uint64_t incarnation) {
    struct link_options o = {.zmq = zmq,
                             .endpoint = endpoint,
                             .run = "test",
                             .self = {.incarnation = incarnation},
                             .hwm = 100,
                             .peer_timeout_us = 2000000,
                             .frame_max_bytes = 64 << 20};
    text_copy(o.self.process, sizeof o.self.process, process);
    return o;
}

static int init(void **state) {
    static int n;
    snprintf(endpoint, sizeof endpoint, "ipc://s/%d", n++);
    memset(&pool, 0, sizeof pool);
    for (int i = 0; i < 2 * SLOT; i++) {
        fakes[0][i] = (float)i;
        fakes[1][i] = 100 + (float)i;
    }
    return 0;
}

static int fini(void **state) {
    replay_free(replay);
    replay = NULL;
    hub_close(pool.hub);
    return 0;
}

static void open_pool(uint64_t incarnation) {
    struct link_options options = link_options("pool", incarnation);
    int64_t until_us = now_us() + DEADLINE_US;
    while (hub_open(&options, &pool.hub)) // ZeroMQ closes the one before in the background
        assert_true(now_us() < until_us);
}

static void reopen_pool(uint64_t incarnation) {
    hub_close(pool.hub);
    pool.hub = NULL;
    pool.n = 0;
    open_pool(incarnation);
}

static void open_replay(uint64_t capacity) {
    struct replay_options options = {
        .link = link_options("trainer", 1), .capacity = capacity, .batch = 2};
    replay_new(&options, &replay);
}

static void begin(uint64_t step) {
    struct replay_begin b = {.slot_bytes = {sizeof(float) * SLOT, sizeof(float) * SLOT},
                             .step = step,
                             .path = "checkpoints/pool.bin",
                             .digest = "d"};
    assert_int_equal(replay_begin(replay, &b), ERR_OK);
}

static void answer(struct link_in *in) {
    struct msg m = {0};
    static float plus[2 * SLOT];
    struct link_frame frames[2] = {{.bytes = plus}, {.bytes = plus + SLOT}};
    if (in->msg.type == MSG_pool_open)
        m.type = MSG_pool_opened;
    if (in->msg.type == MSG_pool_restore)
        m = (struct msg){.type = MSG_pool_restored,
                         .pool_restored.step = in->msg.pool_restore.step};
    if (in->msg.type == MSG_pool_save) {
        m = (struct msg){.type = MSG_pool_saved, .pool_saved.step = in->msg.pool_save.step};
        strcpy(m.pool_saved.digest, "saved");
    }
    if (in->msg.type == MSG_exchange) {
        const struct msg_exchange *e = &in->msg.exchange;
        m.type = MSG_exchanged;
        m.exchanged = (struct msg_exchanged){.table = e->table, .step = e->step, .count = e->count};
        assert_int_equal(zmq_msg_size(&in->frames[0]), e->count * SLOT * sizeof *plus);
        memcpy(plus, zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]));
        for (size_t i = 0; i < e->count * SLOT; i++)
            plus[i] += 1;
        for (uint64_t i = 0; i < e->count; i++)
            frames[i].size = SLOT * sizeof *plus - (pool.is_wrong && i ? 4 : 0);
    }
    if (pool.refuses)
        m = (struct msg){.type = MSG_refuse, .refuse = {.err = ERR_SPACE, .text = "no room"}};
    assert_int_equal(hub_send(pool.hub, in->client, &m, frames), ERR_OK);
}

static void serve(void) {
    struct link_in in = {.event = LINK_UP};
    while (pool.hub && in.event != LINK_NONE) {
        assert_int_equal(hub_next(pool.hub, &in), ERR_OK);
        if (in.event == LINK_MSG) {
            assert_true(pool.n < SEEN_MAX);
            pool.seen[pool.n] = in.msg.type;
            pool.steps[pool.n++] = in.msg.type == MSG_exchange       ? in.msg.exchange.step
                                   : in.msg.type == MSG_pool_restore ? in.msg.pool_restore.step
                                                                     : 0;
            if (!pool.is_silent || in.msg.type != MSG_exchange)
                answer(&in);
        }
        link_in_fini(&in);
    }
}

static int pump(void) {
    serve();
    int err = replay_poll(replay);
    zmq_pollitem_t item = {.socket = replay_socket(replay), .events = ZMQ_POLLIN};
    if (item.socket)
        zmq_poll(&item, 1, 1);
    return err;
}

#define PUMP_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t until_us_ = now_us() + DEADLINE_US;                                                \
        while (!(condition)) {                                                                     \
            assert_int_equal(pump(), ERR_OK);                                                      \
            assert_true(now_us() < until_us_);                                                     \
        }                                                                                          \
    } while (0)

static int pump_until_error(void) {
    int64_t until_us = now_us() + DEADLINE_US;
    int err = ERR_OK;
    while (!err && now_us() < until_us)
        err = pump();
    return err;
}

// Pictures come as they lie in their messages, at any address.
static void assert_pooled(uint64_t n) {
    for (int table = 0; table < 2; table++)
        for (uint64_t i = 0; i < n * SLOT; i++) {
            const char *picture = replay_pooled(replay, table)[i / SLOT];
            float x;
            memcpy(&x, picture + i % SLOT * sizeof x, sizeof x);
            assert_true(x == fakes[table][i] + 1);
        }
}

static void open_and_restore_come_before_the_exchange(void **state) {
    static const enum msg_type want[] = {MSG_pool_open, MSG_pool_restore, MSG_exchange,
                                         MSG_exchange};
    open_pool(1);
    open_replay(5);
    begin(40);
    PUMP_UNTIL(!replay_busy(replay));
    replay_exchange(replay, 41, 2, both);
    assert_true(replay_busy(replay));
    PUMP_UNTIL(!replay_busy(replay));
    assert_pooled(2);
    assert_int_equal(pool.n, COUNT(want));
    for (int i = 0; i < pool.n; i++)
        assert_int_equal(pool.seen[i], want[i]);
    assert_true(pool.steps[1] == 40 && pool.steps[2] == 41 && pool.steps[3] == 41);
}

static void a_pool_that_comes_back_is_asked_the_same_again(void **state) {
    open_pool(1);
    open_replay(5);
    begin(0);
    PUMP_UNTIL(!replay_busy(replay));
    pool.is_silent = true;
    replay_exchange(replay, 1, 1, both);
    PUMP_UNTIL(pool.n == 4);
    pool.is_silent = false;
    reopen_pool(2);
    PUMP_UNTIL(!replay_busy(replay));
    assert_pooled(1);
    assert_int_equal(pool.n, 3);
    assert_int_equal(pool.seen[0], MSG_pool_open);
    assert_true(pool.seen[1] == MSG_exchange && pool.steps[1] == 1);
    assert_true(pool.seen[2] == MSG_exchange && pool.steps[2] == 1);
}

// The pictures take ZeroMQ's thread a while, and who read them later would meet no memory.
static void what_is_lent_comes_back_before_replay_is_gone(void **state) {
    size_t bytes = 32 << 20;
    struct replay_begin b = {.slot_bytes = {bytes, bytes}};
    void *large = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const void *const lent[REPLAY_TABLES] = {large, large};
    assert_true(large != MAP_FAILED);
    open_pool(1);
    open_replay(5);
    assert_int_equal(replay_begin(replay, &b), ERR_OK);
    PUMP_UNTIL(!replay_busy(replay));
    replay_exchange(replay, 1, 1, lent);
    for (int i = 0; i < 10; i++)
        assert_int_equal(replay_poll(replay), ERR_OK);
    assert_true(replay_busy(replay));
    assert_true(replay_due_us(replay) <= now_us() + 1000);
    replay_free(replay);
    replay = NULL;
    assert_int_equal(munmap(large, bytes), 0);
    for (int i = 0; i < 10; i++)
        serve();
}

// The trainer does not look between the pool's coming back and its own next request.
static void a_pool_that_has_just_come_back_may_be_asked(void **state) {
    open_pool(1);
    open_replay(5);
    begin(0);
    PUMP_UNTIL(!replay_busy(replay));
    reopen_pool(2);
    PUMP_UNTIL(replay_busy(replay));
    replay_exchange(replay, 1, 2, both);
    PUMP_UNTIL(!replay_busy(replay));
    assert_pooled(2);
    reopen_pool(3);
    PUMP_UNTIL(replay_busy(replay));
    replay_save(replay, 1, "checkpoints/pool.bin");
    PUMP_UNTIL(!replay_busy(replay));
    assert_string_equal(replay_saved_digest(replay), "saved");
    assert_true(pool.n == 2 && pool.seen[0] == MSG_pool_open && pool.seen[1] == MSG_pool_save);
}

static void a_snapshot_gives_its_digest(void **state) {
    open_pool(1);
    open_replay(5);
    begin(0);
    PUMP_UNTIL(!replay_busy(replay));
    replay_save(replay, 0, "checkpoints/pool.bin");
    PUMP_UNTIL(!replay_busy(replay));
    assert_string_equal(replay_saved_digest(replay), "saved");
}

static void an_answer_of_another_size_is_an_error(void **state) {
    open_pool(1);
    open_replay(5);
    begin(0);
    PUMP_UNTIL(!replay_busy(replay));
    pool.is_wrong = true;
    replay_exchange(replay, 1, 2, both);
    assert_int_equal(pump_until_error(), ERR_PEER);
}

static void a_refusal_is_the_pools_own_error(void **state) {
    pool.refuses = true;
    open_pool(1);
    open_replay(5);
    begin(0);
    assert_int_equal(pump_until_error(), ERR_SPACE);
    assert_non_null(strstr(err_text(), "no room"));
}

static void without_capacity_fakes_come_back_as_they_are(void **state) {
    open_replay(0);
    begin(0);
    assert_null(replay_socket(replay));
    replay_exchange(replay, 1, 2, both);
    assert_false(replay_busy(replay));
    assert_ptr_equal(replay_pooled(replay, 1)[0], fakes[1]);
    assert_ptr_equal(replay_pooled(replay, 1)[1], fakes[1] + SLOT);
    replay_save(replay, 1, "x");
    assert_null(replay_saved_digest(replay));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, init, fini)
    const struct CMUnitTest tests[] = {
        CASE(open_and_restore_come_before_the_exchange),
        CASE(a_pool_that_comes_back_is_asked_the_same_again),
        CASE(what_is_lent_comes_back_before_replay_is_gone),
        CASE(a_pool_that_has_just_come_back_may_be_asked),
        CASE(a_snapshot_gives_its_digest),
        CASE(an_answer_of_another_size_is_an_error),
        CASE(a_refusal_is_the_pools_own_error),
        CASE(without_capacity_fakes_come_back_as_they_are),
    };
    char folder[] = "/tmp/test_replay_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) || mkdir("s", 0700))
        return 1;
    zmq = zmq_ctx_new();
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    zmq_ctx_term(zmq);
    (void)fs_remove_tree(folder); // only a test's folder
    return failures;
}
