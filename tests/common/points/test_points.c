#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "check.h"
#include "link/link.h"
#include "points/points.h"
#include "points/ring.h"

#define RING "ring/writer-0.ring"
#define SPILL "ring/writer-0.spill"
#define BOOT_AT 1032 // as ring.h draws them
#define MARKS_AT 1040
#define MARKS_SIZE 48
#define KILLS 150

static char folder[64];

static int make_folder(void **state) {
    strcpy(folder, "/tmp/points-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("s", 0700), 0);
    assert_int_equal(mkdir("ring", 0700), 0);
    return 0;
}

static int remove_folder(void **state) {
    assert_int_equal(chdir("/"), 0);
    return fs_remove_tree(folder);
}

static struct points *open_points(void *zmq, size_t ring_bytes, size_t spill_bytes) {
    struct points_options o = {.zmq = zmq,
                               .endpoint = "ipc://s/monitor",
                               .run = "test",
                               .ring_dir = "ring",
                               .self = {"writer", 0, 1},
                               .ring_bytes = ring_bytes,
                               .spill_bytes = spill_bytes};
    struct points *p = NULL;
    assert_int_equal(points_open(&o, &p), ERR_OK);
    return p;
}

// Outlives the writers.
struct shared {
    volatile uint64_t put, committed, cursor;
};

// What a monitor sees: metric steps have to be consecutive, numbers have to grow. A killed writer
// may have put a step without knowing it; its successor puts it again.
struct seen {
    bool killed;
    uint64_t steps, last_seq, commits, events;
    char code[64];
    struct shared *shared; // NULL: nobody wants to know
};

static int take(void *context, const struct msg_peer *from, uint64_t seq, const uint8_t *record,
                size_t size) {
    struct seen *seen = context;
    static struct msg m;
    if (!record) {
        seen->commits++;
        if (seen->shared)
            *seen->shared = (struct shared){seen->shared->put, seen->steps, seen->last_seq};
        return ERR_OK;
    }
    if (seen->shared && seq <= seen->shared->cursor)
        return ERR_OK; // committed, but the writer was killed before it could mark that
    if (seq <= seen->last_seq)
        return err_set(ERR_FORMAT, "number %" PRIu64 " again", seq);
    seen->last_seq = seq;
    if (msg_unpack_record(record, size, &m))
        return ERR_FORMAT;
    if (m.type == MSG_event) {
        seen->events++;
        strcpy(seen->code, m.event.code);
    } else if (m.metric.step == seen->steps) {
        seen->steps++;
    } else if (!seen->killed || m.metric.step + 1 != seen->steps) {
        return err_set(ERR_FORMAT, "step %" PRIu64 " in the place of %" PRIu64, m.metric.step,
                       seen->steps);
    }
    return ERR_OK;
}

static void put_steps(struct points *p, uint64_t from, uint64_t to) {
    for (uint64_t step = from; step < to; step++)
        points_metric(p, "loss/D_A", true, step, 0.5);
}

static void expect_drained(struct seen *seen) {
    int err = points_drain(RING, take, seen);
    if (err)
        print_error("%s\n", err_text());
    assert_int_equal(err, ERR_OK);
}

// ---- one ring ----

static void records_come_back_in_order(void **state) {
    struct seen seen = {0};
    struct points *p = open_points(NULL, 65536, 0);
    put_steps(p, 0, 100);
    points_close(p);
    expect_drained(&seen);
    assert_int_equal(seen.steps, 100);
    assert_int_equal(seen.commits, 1);
    expect_drained(&seen);
    assert_int_equal(seen.steps, 100); // taken records are gone
}

static void a_ring_goes_around_a_thousand_times(void **state) {
    struct ring r;
    uint8_t body[RING_BODY_MAX], copy[RING_SIZE(RING_BODY_MAX) * 4];
    size_t length[64]; // the naive twin: lengths of what is in the ring
    assert_int_equal(ring_open(RING, 8192, 0, &r), ERR_OK);
    uint64_t out = r.head.seq, in = out;
    srand(1);
    for (size_t written = 0; written < 8192 * 1000u;) {
        size_t n = (size_t)rand() % (rand() % 8 ? 200 : RING_BODY_MAX);
        memset(body, (int)(in % 251), n);
        if (in - out < COUNT(length) && ring_append(&r, body, n)) {
            length[in++ % COUNT(length)] = n;
            written += n;
            continue;
        }
        struct ring_place place = r.tail;
        uint64_t first = 0, count = (uint64_t)rand() % 8 + 1;
        size_t size = ring_copy(&r, &place, r.head, sizeof copy, &first, &count, copy), offset = 0;
        struct ring_record record;
        assert_true(count > 0 && first == out);
        for (; ring_next(copy, size, &offset, &record); out++) {
            assert_int_equal(record.seq, out);
            assert_int_equal(record.length, length[out % COUNT(length)]);
            for (size_t i = 0; i < record.length; i++)
                assert_int_equal(record.body[i], out % 251);
        }
        assert_int_equal(out, first + count);
        ring_free_to(&r, out - 1);
        if (rand() % 50 == 0) { // what is found again is what was there
            struct ring_place tail = r.tail, head = r.head;
            ring_close(&r);
            assert_int_equal(ring_open(RING, 0, 0, &r), ERR_OK);
            assert_int_equal(r.tail.seq, tail.seq);
            assert_int_equal(r.head.seq, head.seq);
        }
    }
    ring_close(&r);
}

static void a_torn_tail_is_ignored(void **state) {
    struct seen seen = {0};
    struct points *p = open_points(NULL, 65536, 0);
    put_steps(p, 0, 9);
    points_close(p);
    struct ring r;
    assert_int_equal(ring_open(RING, 0, 0, &r), ERR_OK);
    r.data[r.head.offset - 9] ^= 1; // inside the last record's body
    ring_close(&r);
    p = open_points(NULL, 65536, 0);
    put_steps(p, 8, 10); // its place and number are free again
    points_close(p);
    expect_drained(&seen);
    assert_int_equal(seen.steps, 10);
}

static void a_torn_spill_is_cut(void **state) {
    struct seen seen = {0};
    struct points *p = open_points(NULL, 8192, 1 << 20);
    put_steps(p, 0, 400);
    points_close(p);
    struct stat st;
    assert_int_equal(stat(SPILL, &st), 0);
    assert_true(st.st_size > 1000);
    assert_int_equal(truncate(SPILL, st.st_size - 5), 0);
    p = open_points(NULL, 8192, 1 << 20);
    put_steps(p, 399, 500);
    points_close(p);
    expect_drained(&seen);
    assert_int_equal(seen.steps, 500);
}

static void a_successor_goes_on_with_the_numbers(void **state) {
    struct seen seen = {0};
    struct points *p = open_points(NULL, 65536, 0);
    put_steps(p, 0, 5);
    assert_int_equal(points_take(p, take, &seen), ERR_OK);
    put_steps(p, 5, 8);
    points_close(p);
    p = open_points(NULL, 65536, 0);
    put_steps(p, 8, 10);
    points_close(p);
    uint64_t last = seen.last_seq;
    expect_drained(&seen);
    assert_int_equal(seen.steps, 10);
    assert_int_equal(seen.last_seq, last + 5);
}

static void a_new_folder_does_not_begin_at_old_numbers(void **state) {
    struct seen seen = {0};
    struct points *p = open_points(NULL, 65536, 0);
    put_steps(p, 0, 50);
    points_close(p);
    expect_drained(&seen);
    assert_int_equal(fs_remove_tree("ring"), ERR_OK);
    p = open_points(NULL, 65536, 0);
    put_steps(p, 50, 60);
    points_close(p);
    expect_drained(&seen); // `take` refuses a number that does not grow
    assert_int_equal(seen.steps, 60);
}

static void edit(const char *path, off_t at, void *bytes, size_t size) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

// Draining once went on for ever: behind the last record lay the jump that a new boot makes.
static void records_of_another_boot_are_drained(void **state) {
    struct seen seen = {0};
    uint64_t boot = 1;
    struct points *p = open_points(NULL, 65536, 0);
    put_steps(p, 0, 10);
    points_close(p);
    edit(RING, BOOT_AT, &boot, sizeof boot);
    (void)alarm(20); // instead of a hang
    expect_drained(&seen);
    (void)alarm(0);
    assert_int_equal(seen.steps, 10);
    assert_int_equal(seen.commits, 1);
}

// Killed after the sign was written, before the mark was.
static void a_torn_jump_leaves_an_empty_ring(void **state) {
    struct ring r;
    uint8_t marks[MARKS_SIZE];
    assert_int_equal(ring_open(RING, 8192, 0, &r), ERR_OK);
    uint64_t seq = r.head.seq + 1000;
    memcpy(marks, (uint8_t *)r.page + MARKS_AT, sizeof marks);
    assert_true(ring_jump(&r, seq));
    memcpy((uint8_t *)r.page + MARKS_AT, marks, sizeof marks);
    ring_close(&r);
    assert_int_equal(ring_open(RING, 8192, 0, &r), ERR_OK);
    assert_true(ring_is_empty(&r));
    assert_true(r.head.seq == seq);
    ring_close(&r);
}

static void a_damaged_jump_is_not_followed(void **state) {
    struct ring r;
    static const uint8_t body[8] = {1};
    assert_int_equal(ring_open(RING, 8192, 0, &r), ERR_OK);
    uint64_t first = r.head.seq;
    assert_true(ring_append(&r, body, sizeof body));
    uint8_t *jump = r.data + r.head.offset;
    assert_true(ring_jump(&r, first + 1000));
    jump[RING_HEADER - 1] ^= 1; // of its seq
    ring_close(&r);
    assert_int_equal(ring_open(RING, 8192, 0, &r), ERR_OK);
    assert_true(r.head.seq == first + 1);
    ring_close(&r);
}

static void the_last_number_of_all_ends_a_ring(void **state) {
    uint8_t record[RING_SIZE(8)];
    static const uint8_t body[8] = {1};
    struct ring_record taken;
    size_t offset = 0;
    ring_write(record, UINT64_MAX, body, sizeof body);
    assert_false(ring_next(record, sizeof record, &offset, &taken)); // no number follows it
    ring_write(record, UINT64_MAX - 1, body, sizeof body);
    assert_true(ring_next(record, sizeof record, &offset, &taken));
}

static void a_second_process_is_refused(void **state) {
    struct points *p = open_points(NULL, 65536, 0);
    struct ring r;
    struct seen seen = {0};
    assert_int_equal(ring_open(RING, 0, 0, &r), ERR_BUSY);
    assert_int_equal(points_drain(RING, take, &seen), ERR_BUSY);
    points_close(p);
}

static void a_file_that_is_no_ring_is_set_aside(void **state) {
    struct seen seen = {0};
    FILE *out = fopen(RING, "w");
    for (int i = 0; i < 20000; i++)
        fputc(i % 255, out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(points_drain(RING, take, &seen), ERR_FORMAT);
    struct points *p = open_points(NULL, 65536, 0);
    put_steps(p, 0, 3);
    points_close(p);
    assert_true(fs_exists(RING ".broken"));
    expect_drained(&seen);
    assert_int_equal(seen.steps, 3);
}

static void the_page_tells_state_step_and_line(void **state) {
    struct points_page page;
    struct points *p = open_points(NULL, 65536, 0);
    points_state(p, STATE_WAITING, 17);
    points_line(p, "epoch %d", 3);
    put_steps(p, 0, 4);
    assert_int_equal(points_read_page(RING, &page), ERR_OK);
    assert_string_equal(page.process, "writer");
    assert_string_equal(page.line, "epoch 3");
    assert_int_equal(page.state, STATE_WAITING);
    assert_int_equal(page.step, 17);
    assert_int_equal(page.pid, getpid());
    assert_int_equal(page.head - page.tail, 4);
    assert_true(now_us() - page.beat_us < 1000000);
    points_close(p);
    assert_int_equal(points_read_page("ring/none.ring", &page), ERR_IO);
}

static void without_points_nothing_happens(void **state) {
    points_metric(NULL, "k", false, 0, 0);
    points_event(NULL, "info", "c", 0, "t");
    points_sample(NULL, 0, "k", "p");
    points_param(NULL, "k", "v");
    points_state(NULL, STATE_RUNNING, 0);
    points_beat(NULL);
    points_line(NULL, "x");
    points_put(NULL, NULL);
    assert_int_equal(points_flush(NULL, 0), ERR_OK);
    points_close(NULL);
}

// ---- spill ----

static void a_full_ring_goes_on_in_the_spill_file(void **state) {
    struct seen seen = {0};
    struct points *p = open_points(NULL, 8192, 1 << 20);
    put_steps(p, 0, 1000);
    assert_int_equal(points_take(p, take, &seen), ERR_OK);
    assert_int_equal(seen.steps, 1000);
    assert_int_equal(seen.events, 1);
    assert_string_equal(seen.code, "points_spill");
    struct stat st;
    assert_int_equal(stat(SPILL, &st), 0);
    assert_int_equal(st.st_size, 0);
    put_steps(p, 1000, 1010); // the ring is in use again
    points_close(p);
    assert_int_equal(stat(SPILL, &st), 0);
    assert_int_equal(st.st_size, 0);
    expect_drained(&seen);
    assert_int_equal(seen.steps, 1010);
}

static void beyond_the_limit_records_are_counted(void **state) {
    struct seen seen = {0};
    struct points_page page;
    struct points *p = open_points(NULL, 8192, 8192);
    put_steps(p, 0, 1000);
    assert_int_equal(points_read_page(RING, &page), ERR_OK);
    assert_true(page.lost > 500);
    assert_int_equal(points_take(p, take, &seen), ERR_OK);
    assert_true(1000 - seen.steps >= page.lost - 1); // the event of the spill may be among the lost
    put_steps(p, seen.steps, seen.steps + 1);
    assert_int_equal(points_take(p, take, &seen), ERR_OK);
    assert_string_equal(seen.code, "points_lost");
    points_close(p);
}

// ---- kill -9 ----

// Writes for ever; now and then takes its own ring as a monitor would, telling what is committed.
static void write_until_killed(struct shared *shared, unsigned seed) {
    struct seen seen = {.killed = true, .steps = shared->committed, .shared = shared};
    struct points *p = open_points(NULL, 8192, 1 << 22);
    for (uint64_t step = shared->put;; step++) {
        points_metric(p, "loss/G_A", true, step, (double)step);
        shared->put = step + 1;
        if (rand_r(&seed) % 300 == 0 && points_take(p, take, &seen)) {
            print_error("%s\n", err_text());
            _exit(1);
        }
    }
}

static void expect_all(struct shared *shared) {
    struct seen seen = {.killed = true, .steps = shared->committed, .shared = shared};
    expect_drained(&seen);
    assert_true(seen.steps == shared->put || seen.steps == shared->put + 1);
}

static void kill_9_loses_no_record_that_was_put(void **state) {
    struct shared *shared =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    srand(7);
    points_close(open_points(NULL, 8192, 1 << 22));
    for (int i = 0; i < KILLS; i++) {
        if (i % 3 == 0)
            expect_all(shared); // else the successor finds it full
        pid_t child = fork();
        if (!child)
            write_until_killed(shared, (unsigned)i);
        (void)usleep((useconds_t)(rand() % 6000));
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); // it never gave up by itself
    }
    expect_all(shared);
    assert_true(shared->put > 1000);
    assert_int_equal(munmap(shared, 4096), 0);
}

// ---- with a monitor ----

struct monitor {
    struct hub *hub;
    uint64_t taken, last, messages;
    bool acks;
};

static void monitor_open(struct monitor *m, void *zmq) {
    struct link_options o = {.zmq = zmq,
                             .endpoint = "ipc://s/monitor",
                             .run = "test",
                             .self = {"monitor", 0, 1},
                             .hwm = 256,
                             .peer_timeout_us = 10000000,
                             .frame_max_bytes = 1 << 17};
    int err = hub_open(&o, &m->hub);
    for (int i = 0; i < 200 && err == ERR_BUSY; i++) { // ZeroMQ is still closing the one before
        (void)usleep(10000);
        err = hub_open(&o, &m->hub);
    }
    assert_int_equal(err, ERR_OK);
}

static void monitor_take(struct monitor *m, struct link_in *in) {
    size_t offset = 0, n = 0;
    struct ring_record record;
    while (
        ring_next(zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]), &offset, &record)) {
        assert_int_equal(record.seq, in->msg.points.first + n++);
        if (record.seq <= m->last)
            continue;
        assert_true(!m->last || record.seq == m->last + 1);
        m->last = record.seq;
        m->taken++;
    }
    assert_int_equal(n, in->msg.points.count);
    m->messages++;
    struct msg ack = {.type = MSG_points_ack, .points_ack = {.last = m->last}};
    if (m->acks)
        assert_int_equal(hub_send(m->hub, in->client, &ack, NULL), ERR_OK);
}

static void monitor_run(struct monitor *m, uint64_t until_taken, int ms) {
    static struct link_in in;
    int64_t until = now_us() + ms * 1000;
    while (m->taken < until_taken && now_us() < until) {
        assert_int_equal(hub_next(m->hub, &in), ERR_OK);
        if (in.event == LINK_MSG && in.msg.type == MSG_points)
            monitor_take(m, &in);
        else if (in.event == LINK_NONE) {
            zmq_pollitem_t item = {.socket = hub_socket(m->hub), .events = ZMQ_POLLIN};
            (void)zmq_poll(&item, 1, 5);
        }
        link_in_fini(&in);
    }
}

static void the_sender_carries_everything_once(void **state) {
    void *zmq = zmq_ctx_new();
    struct monitor m = {.acks = true};
    monitor_open(&m, zmq);
    struct points *p = open_points(zmq, 65536, 1 << 22);
    put_steps(p, 0, 20000);
    monitor_run(&m, 20001, 20000); // and the event about the spill
    assert_int_equal(m.taken, 20001);
    monitor_run(&m, UINT64_MAX, 50);
    assert_int_equal(points_flush(p, 1000), ERR_OK);
    points_close(p);
    hub_close(m.hub);
    zmq_ctx_term(zmq);
}

static void what_was_not_acknowledged_is_sent_again(void **state) {
    void *zmq = zmq_ctx_new();
    struct monitor m = {0};
    monitor_open(&m, zmq);
    struct points *p = open_points(zmq, 65536, 0);
    put_steps(p, 0, 300);
    monitor_run(&m, 300, 5000);
    assert_int_equal(m.taken, 300);
    assert_int_equal(points_flush(p, 10), ERR_TIMEOUT);
    hub_close(m.hub); // dies without having committed
    m = (struct monitor){.acks = true};
    monitor_open(&m, zmq);
    put_steps(p, 300, 310);
    monitor_run(&m, 310, 20000);
    assert_int_equal(m.taken, 310);
    monitor_run(&m, UINT64_MAX, 50);
    assert_int_equal(points_flush(p, 1000), ERR_OK);
    points_close(p);
    hub_close(m.hub);
    zmq_ctx_term(zmq);
}

static void without_a_monitor_putting_and_closing_do_not_wait(void **state) {
    void *zmq = zmq_ctx_new();
    struct points *p = open_points(zmq, 1 << 20, 0);
    int64_t start = now_us();
    put_steps(p, 0, 5000);
    points_close(p);
    assert_true(now_us() - start < 1000000);
    zmq_ctx_term(zmq);
    struct seen seen = {0};
    expect_drained(&seen);
    assert_int_equal(seen.steps, 5000);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        CASE(records_come_back_in_order),
        CASE(a_ring_goes_around_a_thousand_times),
        CASE(a_torn_tail_is_ignored),
        CASE(a_torn_spill_is_cut),
        CASE(a_successor_goes_on_with_the_numbers),
        CASE(a_new_folder_does_not_begin_at_old_numbers),
        CASE(records_of_another_boot_are_drained),
        CASE(a_torn_jump_leaves_an_empty_ring),
        CASE(a_damaged_jump_is_not_followed),
        CASE(the_last_number_of_all_ends_a_ring),
        CASE(a_second_process_is_refused),
        CASE(a_file_that_is_no_ring_is_set_aside),
        CASE(the_page_tells_state_step_and_line),
        CASE(without_points_nothing_happens),
        CASE(a_full_ring_goes_on_in_the_spill_file),
        CASE(beyond_the_limit_records_are_counted),
        CASE(kill_9_loses_no_record_that_was_put),
        CASE(the_sender_carries_everything_once),
        CASE(what_was_not_acknowledged_is_sent_again),
        CASE(without_a_monitor_putting_and_closing_do_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
