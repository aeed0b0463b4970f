

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "streams/feed.h"

#define SIDE 4
#define DEADLINE_US 20000000
#define TICKETS_MAX 1024

// A loader that answers when it is told to.
struct loader {
    struct link *link;
    uint64_t credits;
    const char *digest;
    bool ready, down, was_refused;
    int n_tickets, n_answered; // seen and answered in this session
    struct msg_ticket tickets[TICKETS_MAX];
};

static void *zmq;
static struct feed *feed;
static struct loader loaders[3];
static char endpoint[32]; // another for each case: ZeroMQ closes in the background

static struct link_options link_options(const char *process, uint64_t instance) {
    struct link_options o = {.zmq = zmq,
                             .endpoint = endpoint,
                             .run = "test",
                             .self = {.instance = instance, .incarnation = 1},
                             .hwm = 100,
                             .peer_timeout_us = 2000000,
                             .frame_max_bytes = 1 << 20};
    text_copy(o.self.process, sizeof o.self.process, process);
    return o;
}

static void open_feed(uint64_t batch_size, int64_t ticket_timeout_us) {
    struct feed_options options = {.link = link_options("trainer", 0),
                                   .batch_size = batch_size,
                                   .channels = {3, 1},
                                   .ticket_timeout_us = ticket_timeout_us};
    assert_int_equal(feed_open(&options, &feed), ERR_OK);
}

static struct loader *open_loader(int i, uint64_t credits, const char *digest) {
    struct link_options options = link_options("loader", (uint64_t)i);
    loaders[i] = (struct loader){.credits = credits, .digest = digest};
    assert_int_equal(link_open(&options, &loaders[i].link), ERR_OK);
    return &loaders[i];
}

static void close_loader(struct loader *l) {
    link_close(l->link);
    l->link = NULL;
}

static int init(void **state) {
    static int n;
    snprintf(endpoint, sizeof endpoint, "ipc://s/%d", n++);
    return 0;
}

static int fini(void **state) {
    feed_close(feed);
    feed = NULL;
    for (size_t i = 0; i < COUNT(loaders); i++)
        close_loader(&loaders[i]);
    return 0;
}

static void say_ready(struct loader *l) {
    struct msg m = {.type = MSG_loader_ready};
    m.loader_ready = (struct msg_loader_ready){
        .credits = l->credits, .count_a = 10, .count_b = 7, .held_a = 3, .held_b = 2};
    text_copy(m.loader_ready.digest_a, sizeof m.loader_ready.digest_a, l->digest);
    text_copy(m.loader_ready.digest_b, sizeof m.loader_ready.digest_b, l->digest);
    assert_int_equal(link_send(l->link, &m, NULL), ERR_OK);
    l->ready = true;
}

static void take(struct loader *l, const struct link_in *in) {
    if (in->event == LINK_UP)
        say_ready(l);
    if (in->event == LINK_DOWN)
        l->down = true;
    if (in->event == LINK_MSG && in->msg.type == MSG_refuse)
        l->was_refused = true;
    if (in->event == LINK_MSG && in->msg.type == MSG_ticket) {
        assert_true(l->n_tickets < TICKETS_MAX);
        l->tickets[l->n_tickets++] = in->msg.ticket;
    }
}

// What is in every byte of a batch.
static uint8_t mark(const struct msg_ticket *t) {
    return (uint8_t)(t->split * 100 + t->epoch * 16 + t->index);
}

static void send_batch(struct loader *l, const struct msg_ticket *t, size_t surplus) {
    static struct msg m;
    uint8_t pixels[2][SIDE * SIDE * 3 * 16 + 64];
    m = (struct msg){.type = MSG_batch};
    m.batch.split = t->split;
    m.batch.epoch = t->epoch;
    m.batch.index = t->index;
    m.batch.count = t->count;
    m.batch.n_shape = 6;
    memcpy(m.batch.shape, (uint64_t[6]){SIDE, SIDE, 3, SIDE, SIDE, 1}, sizeof m.batch.shape);
    m.batch.n_record_a = m.batch.n_record_b = (uint32_t)t->count;
    for (uint64_t i = 0; i < t->count; i++)
        m.batch.record_a[i] = t->index * 100 + i;
    m.batch.n_time_us = 5;
    memset(pixels, mark(t), sizeof pixels);
    struct link_frame frames[2] = {
        {.bytes = pixels[0], .size = t->count * SIDE * SIDE * 3 + surplus},
        {.bytes = pixels[1], .size = t->count * SIDE * SIDE}};
    assert_int_equal(link_send(l->link, &m, frames), ERR_OK);
}

static void answer_next(struct loader *l) {
    assert_true(l->n_answered < l->n_tickets);
    send_batch(l, &l->tickets[l->n_answered++], 0);
}

static int pump(void) {
    int err = feed_poll(feed);
    for (size_t i = 0; i < COUNT(loaders) && !err; i++) {
        struct link_in in = {.event = LINK_UP};
        while (loaders[i].link && in.event != LINK_NONE) {
            assert_int_equal(link_next(loaders[i].link, &in), ERR_OK);
            take(&loaders[i], &in);
            link_in_fini(&in);
        }
    }
    zmq_pollitem_t item = {.socket = feed_socket(feed), .events = ZMQ_POLLIN};
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

// Long enough for whatever should not come to come.
static void pump_for(int64_t us) {
    int64_t until_us = now_us() + us;
    while (now_us() < until_us)
        assert_int_equal(pump(), ERR_OK);
}

static void take_and_check(uint64_t split, uint64_t epoch, uint64_t index, int n) {
    struct feed_batch b = {0};
    struct msg_ticket t = {.split = split, .epoch = epoch, .index = index};
    PUMP_UNTIL(feed_take(feed, split, epoch, index, &b) == ERR_OK);
    assert_int_equal(b.n, n);
    assert_true(b.h[0] == SIDE && b.w[1] == SIDE && b.c[0] == 3 && b.c[1] == 1);
    for (int i = 0; i < n * SIDE * SIDE * 3; i++)
        assert_int_equal(b.pixels[0][i], mark(&t));
    for (int i = 0; i < n * SIDE * SIDE; i++)
        assert_int_equal(b.pixels[1][i], mark(&t));
    assert_true(b.records[0][n - 1] == index * 100 + (uint64_t)n - 1);
    feed_batch_fini(&b);
}

static void held_out_come_first_and_epochs_end_with_a_short_batch(void **state) {
    open_feed(4, DEADLINE_US);
    struct loader *l = open_loader(0, 2, "d");
    PUMP_UNTIL(feed_ready(feed));
    assert_int_equal(feed_epoch_batches(feed), 3);
    assert_int_equal(feed_manifests(feed)[1].held_out, 2);
    feed_want_held_out(feed, 2);
    feed_want_training(feed, 2, 1, 4);
    static const uint64_t want[][4] = {{1, 1, 0, 1}, {1, 1, 1, 1}, {0, 2, 1, 4},
                                       {0, 2, 2, 2}, {0, 3, 0, 4}, {0, 3, 1, 4}};
    for (int i = 0; i < (int)COUNT(want); i++) {
        PUMP_UNTIL(l->n_tickets > i);
        assert_true(l->tickets[i].split == want[i][0] && l->tickets[i].epoch == want[i][1]);
        assert_true(l->tickets[i].index == want[i][2] && l->tickets[i].count == want[i][3]);
        answer_next(l);
        take_and_check(want[i][0], want[i][1], want[i][2], (int)want[i][3]);
    }
    pump_for(50000);
    assert_int_equal(l->n_tickets, COUNT(want));
    assert_int_equal(feed_batches_held(feed), 0);
}

static void no_more_batches_are_held_than_there_are_credits(void **state) {
    open_feed(1, DEADLINE_US);
    struct loader *a = open_loader(0, 3, "d"), *b = open_loader(1, 2, "d");
    PUMP_UNTIL(feed_loaders(feed) == 2);
    feed_want_training(feed, 1, 0, 50);
    PUMP_UNTIL(a->n_tickets + b->n_tickets == 5);
    while (a->n_answered < a->n_tickets)
        answer_next(a);
    pump_for(100000);
    assert_int_equal(a->n_tickets, 3);
    assert_int_equal(b->n_tickets, 2);
    assert_int_equal(feed_batches_held(feed), 5);
}

static void answers_in_any_order_are_taken_by_number(void **state) {
    open_feed(2, DEADLINE_US);
    struct loader *l = open_loader(0, 5, "d");
    PUMP_UNTIL(feed_ready(feed));
    feed_want_training(feed, 1, 0, 5);
    PUMP_UNTIL(l->n_tickets == 5);
    for (int i = 4; i >= 0; i--)
        send_batch(l, &l->tickets[i], 0);
    for (uint64_t i = 0; i < 5; i++)
        take_and_check(0, 1, i, 2);
}

static void tickets_of_a_dead_loader_go_to_another(void **state) {
    open_feed(2, DEADLINE_US);
    struct loader *a = open_loader(0, 3, "d");
    PUMP_UNTIL(feed_ready(feed));
    feed_want_training(feed, 1, 0, 5);
    PUMP_UNTIL(a->n_tickets == 3);
    struct loader *b = open_loader(1, 3, "d");
    PUMP_UNTIL(b->n_tickets == 2);
    close_loader(a);
    for (int i = 0; i < 5; i++) {
        PUMP_UNTIL(b->n_tickets > b->n_answered);
        answer_next(b);
    }
    for (uint64_t i = 0; i < 5; i++)
        take_and_check(0, 1, i, 2);
    assert_int_equal(feed_loaders(feed), 1);
}

static void an_unanswered_ticket_goes_to_another_and_the_second_answer_is_dropped(void **state) {
    open_feed(2, 200000);
    struct loader *a = open_loader(0, 1, "d");
    PUMP_UNTIL(feed_ready(feed));
    feed_want_training(feed, 1, 0, 2);
    PUMP_UNTIL(a->n_tickets == 1);
    struct loader *b = open_loader(1, 2, "d");
    PUMP_UNTIL(b->n_tickets == 2);
    assert_true(b->tickets[0].index == 1 && b->tickets[1].index == 0);
    answer_next(b);
    answer_next(b);
    take_and_check(0, 1, 0, 2);
    answer_next(a);
    take_and_check(0, 1, 1, 2);
    PUMP_UNTIL(feed_dropped(feed) == 1);
}

static void a_second_answer_that_comes_before_the_batch_is_taken_is_dropped(void **state) {
    open_feed(2, DEADLINE_US);
    struct loader *l = open_loader(0, 1, "d");
    PUMP_UNTIL(feed_ready(feed));
    feed_want_training(feed, 1, 0, 1);
    PUMP_UNTIL(l->n_tickets == 1);
    send_batch(l, &l->tickets[0], 0);
    send_batch(l, &l->tickets[0], 0);
    PUMP_UNTIL(feed_dropped(feed) == 1);
    take_and_check(0, 1, 0, 2);
}

static void a_lost_ticket_is_handed_to_the_only_loader_again(void **state) {
    open_feed(2, 100000);
    struct loader *l = open_loader(0, 1, "d");
    PUMP_UNTIL(feed_ready(feed));
    feed_want_training(feed, 1, 0, 1);
    PUMP_UNTIL(l->n_tickets == 2);
    assert_true(l->tickets[1].index == 0);
    send_batch(l, &l->tickets[1], 0);
    take_and_check(0, 1, 0, 2);
}

static void a_loader_that_sends_wrong_bytes_is_refused_and_its_ticket_goes_on(void **state) {
    open_feed(2, DEADLINE_US);
    struct loader *a = open_loader(0, 1, "d");
    PUMP_UNTIL(feed_ready(feed));
    feed_want_training(feed, 1, 0, 1);
    PUMP_UNTIL(a->n_tickets == 1);
    send_batch(a, &a->tickets[0], 1);
    PUMP_UNTIL(a->was_refused);
    assert_int_equal(feed_loaders(feed), 0);
    struct loader *b = open_loader(1, 1, "d");
    PUMP_UNTIL(b->n_tickets == 1);
    answer_next(b);
    take_and_check(0, 1, 0, 2);
}

static void a_loader_of_other_data_is_refused(void **state) {
    open_feed(2, DEADLINE_US);
    open_loader(0, 1, "d");
    PUMP_UNTIL(feed_ready(feed));
    struct loader *b = open_loader(1, 1, "e");
    PUMP_UNTIL(b->was_refused);
    assert_int_equal(feed_loaders(feed), 1);
    assert_string_equal(feed_manifests(feed)[0].digest, "d");
}

static void other_data_than_the_checkpoints_end_the_training(void **state) {
    const struct manifest_summary known[2] = {{"d", 10, 3}, {"x", 7, 2}};
    int64_t until_us = now_us() + DEADLINE_US;
    int err = ERR_OK;
    open_feed(2, DEADLINE_US);
    feed_expect(feed, known);
    open_loader(0, 1, "d");
    while (!err && now_us() < until_us)
        err = pump();
    assert_int_equal(err, ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "domain B"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, init, fini)
    const struct CMUnitTest tests[] = {
        CASE(held_out_come_first_and_epochs_end_with_a_short_batch),
        CASE(no_more_batches_are_held_than_there_are_credits),
        CASE(answers_in_any_order_are_taken_by_number),
        CASE(tickets_of_a_dead_loader_go_to_another),
        CASE(an_unanswered_ticket_goes_to_another_and_the_second_answer_is_dropped),
        CASE(a_second_answer_that_comes_before_the_batch_is_taken_is_dropped),
        CASE(a_lost_ticket_is_handed_to_the_only_loader_again),
        CASE(a_loader_that_sends_wrong_bytes_is_refused_and_its_ticket_goes_on),
        CASE(a_loader_of_other_data_is_refused),
        CASE(other_data_than_the_checkpoints_end_the_training),
    };
    char folder[] = "/tmp/test_feed_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) || mkdir("s", 0700))
        return 1;
    zmq = zmq_ctx_new();
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    zmq_ctx_term(zmq);
    (void)fs_remove_tree(folder); // only a test's folder
    return failures;
}
