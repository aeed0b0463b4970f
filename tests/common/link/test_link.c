// Sessions between a link and a hub: opening, acknowledging, ending, restarts, strangers.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "check.h"
#include "link/link.h"

#define ENDPOINT "ipc://s"
#define HWM 16
#define TIMEOUT_US 1200000 // of silence; pings come after a quarter
#define PATIENCE_US 10000000

static char peer_py[4096]; // found before the tests change the folder

struct rig {
    void *zmq, *hub_zmq; // two contexts, as in two processes
    struct hub *hub;
    struct link *link;
    struct link_in in; // the last event waited for
};

static struct link_options options(struct rig *r, const char *process, uint64_t incarnation) {
    struct link_options o = {.zmq = r->zmq,
                             .endpoint = ENDPOINT,
                             .run = "test",
                             .self = {.incarnation = incarnation},
                             .hwm = HWM,
                             .peer_timeout_us = TIMEOUT_US,
                             .frame_max_bytes = 1 << 20};
    assert_true(text_copy(o.self.process, sizeof o.self.process, process));
    return o;
}

static void open_hub(struct rig *r, uint64_t incarnation) {
    struct link_options o = options(r, "server", incarnation);
    r->hub_zmq = o.zmq = zmq_ctx_new();
    assert_int_equal(hub_open(&o, &r->hub), ERR_OK);
}

static void close_hub(struct rig *r) {
    hub_close(r->hub);
    r->hub = NULL;
    if (r->hub_zmq)
        zmq_ctx_term(r->hub_zmq);
    r->hub_zmq = NULL;
}

static struct link *open_link(struct rig *r, const char *process, uint64_t incarnation) {
    struct link_options o = options(r, process, incarnation);
    struct link *l;
    assert_int_equal(link_open(&o, &l), ERR_OK);
    return l;
}

static void poll_in(void *socket, int64_t until_us) {
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    int64_t ms = (until_us - now_us()) / 1000;
    (void)zmq_poll(&item, 1, (long)MIN(MAX(ms, 0), 20)); // a time-out is no failure
}

// The next event of the link; the hub sleeps meanwhile.
static enum link_event wait_link(struct rig *r, struct link *l) {
    int64_t end = now_us() + PATIENCE_US;
    link_in_fini(&r->in);
    do {
        assert_int_equal(link_next(l, &r->in), ERR_OK);
        if (r->in.event == LINK_NONE)
            poll_in(link_socket(l), link_due_us(l));
    } while (r->in.event == LINK_NONE && now_us() < end);
    return r->in.event;
}

static enum link_event wait_hub(struct rig *r) {
    int64_t end = now_us() + PATIENCE_US;
    link_in_fini(&r->in);
    do {
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        if (r->in.event == LINK_NONE)
            poll_in(hub_socket(r->hub), hub_due_us(r->hub));
    } while (r->in.event == LINK_NONE && now_us() < end);
    return r->in.event;
}

// Runs both sides for so long; no event may come.
static void run_quietly(struct rig *r, int64_t us) {
    int64_t end = now_us() + us;
    while (now_us() < end) {
        assert_int_equal(link_next(r->link, &r->in), ERR_OK);
        assert_int_equal(r->in.event, LINK_NONE);
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        assert_int_equal(r->in.event, LINK_NONE);
        poll_in(hub_socket(r->hub), now_us() + 5000);
    }
}

static void say_hello(struct rig *r, struct link *l) {
    assert_int_equal(link_next(l, &r->in), ERR_OK);
    assert_int_equal(r->in.event, LINK_NONE);
}

static void open_session(struct rig *r, struct link *l) {
    say_hello(r, l);
    assert_int_equal(wait_hub(r), LINK_UP);
    assert_int_equal(wait_link(r, l), LINK_UP);
}

static struct msg asking(uint64_t first) {
    return (struct msg){.type = MSG_manifest_chunk_ask, .manifest_chunk_ask.first = first};
}

static void send_link(struct link *l, uint64_t first) {
    struct msg m = asking(first);
    assert_int_equal(link_send(l, &m, NULL), ERR_OK);
}

static void send_hub(struct hub *h, int client, uint64_t first) {
    struct msg m = asking(first);
    assert_int_equal(hub_send(h, client, &m, NULL), ERR_OK);
}

static int set_up(void **state) {
    static char folder[] = "/tmp/test_link.XXXXXX";
    struct rig *r = xcalloc(1, sizeof *r);
    *state = r;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    if (!mkdtemp(folder) || chdir(folder))
        return -1;
    r->zmq = zmq_ctx_new();
    return r->zmq ? 0 : -1;
}

static int tear_down(void **state) {
    struct rig *r = *state;
    char folder[256];
    link_in_fini(&r->in);
    link_close(r->link);
    close_hub(r);
    zmq_ctx_term(r->zmq);
    free(r);
    (void)unlink("s"); // may be gone
    return getcwd(folder, sizeof folder) && !chdir("/") && !rmdir(folder) ? 0 : -1;
}

// ---- in order ----

static void session_opens_carries_both_ways_and_ends(void **state) {
    struct rig *r = *state;
    open_hub(r, 3);
    r->link = open_link(r, "client", 7);
    assert_false(link_is_up(r->link));
    say_hello(r, r->link);
    assert_int_equal(wait_hub(r), LINK_UP);
    assert_string_equal(r->in.peer.process, "client");
    assert_int_equal(r->in.peer.incarnation, 7);
    assert_false(r->in.new_incarnation);
    int client = r->in.client;
    assert_int_equal(wait_link(r, r->link), LINK_UP);
    assert_string_equal(r->in.peer.process, "server");
    assert_int_equal(r->in.peer.incarnation, 3);
    assert_false(r->in.new_incarnation);

    for (uint64_t i = 1; i <= 5; i++) {
        send_link(r->link, i);
        send_hub(r->hub, client, 10 * i);
    }
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(wait_hub(r), LINK_MSG);
        assert_int_equal(r->in.msg.manifest_chunk_ask.first, i);
        assert_int_equal(wait_link(r, r->link), LINK_MSG);
        assert_int_equal(r->in.msg.manifest_chunk_ask.first, 10 * i);
    }
    assert_int_equal(link_fin(r->link), ERR_OK);
    assert_int_equal(wait_hub(r), LINK_FIN);
    assert_null(hub_peer(r->hub, client));
    assert_int_equal(wait_link(r, r->link), LINK_FIN);
    assert_false(link_is_up(r->link));
    run_quietly(r, 300000);
}

static void server_may_end_the_session(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    send_link(r->link, 4); // under way when the fin is said: still taken
    assert_int_equal(hub_fin(r->hub, 0), ERR_OK);
    struct msg m = asking(1);
    assert_int_equal(hub_send(r->hub, 0, &m, NULL), ERR_AGAIN);
    assert_int_equal(wait_link(r, r->link), LINK_FIN);
    assert_int_equal(wait_hub(r), LINK_MSG);
    assert_int_equal(wait_hub(r), LINK_FIN);
}

static void raw_frames_arrive_whole(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    char pixels[1000], *kept = xmalloc(70000);
    memset(pixels, 'x', sizeof pixels);
    memset(kept, 'y', 70000);
    struct msg m = {.type = MSG_batch, .batch.count = 1};
    struct link_frame frames[2] = {{pixels, sizeof pixels, NULL, NULL}, {kept, 70000, NULL, NULL}};
    assert_int_equal(link_send(r->link, &m, frames), ERR_OK);
    assert_int_equal(wait_hub(r), LINK_MSG);
    assert_int_equal(r->in.n_frames, 2);
    assert_int_equal(zmq_msg_size(&r->in.frames[0]), 1000);
    assert_memory_equal(zmq_msg_data(&r->in.frames[0]), pixels, 1000);
    assert_int_equal(zmq_msg_size(&r->in.frames[1]), 70000);
    assert_memory_equal(zmq_msg_data(&r->in.frames[1]), kept, 70000);
    free(kept);
}

// Of a type whose count says how many.
static void counted_frames_arrive_whole(void **state) {
    enum { N = 37 };
    static const int counts[] = {0, 1, 2, 3, N};
    struct rig *r = *state;
    uint8_t bytes[N][50];
    struct link_frame frames[N];
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    for (int i = 0; i < N; i++) {
        memset(bytes[i], i, sizeof bytes[i]);
        frames[i] = (struct link_frame){.bytes = bytes[i], .size = (size_t)i + 1};
    }
    for (size_t c = 0; c < COUNT(counts); c++) {
        int n = counts[c];
        struct msg m = {.type = MSG_exchanged, .exchanged.count = (uint64_t)n};
        assert_int_equal(link_send(r->link, &m, frames), ERR_OK);
        assert_int_equal(wait_hub(r), LINK_MSG);
        assert_int_equal(r->in.n_frames, n);
        for (int i = 0; i < n; i++) {
            assert_int_equal(zmq_msg_size(&r->in.frames[i]), i + 1);
            assert_memory_equal(zmq_msg_data(&r->in.frames[i]), bytes[i], i + 1);
        }
    }
    struct msg m = {.type = MSG_exchanged, .exchanged.count = LINK_FRAMES_MAX + 1};
    assert_int_equal(link_send(r->link, &m, frames), ERR_LIMIT);
}

static void count_call(void *bytes, void *hint) {
    free(bytes);
    __atomic_add_fetch((int *)hint, 1, __ATOMIC_SEQ_CST);
}

static void kept_frame_is_freed_once_or_stays_mine(void **state) {
    struct rig *r = *state;
    static int calls;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    struct msg m = {.type = MSG_points, .points.count = 1};
    struct link_frame f = {xcalloc(1, 100), 100, count_call, &calls};
    assert_int_equal(link_send(r->link, &m, &f), ERR_AGAIN); // no session yet
    assert_int_equal(calls, 0);
    open_session(r, r->link);
    f.size = (1 << 20) + 1;
    assert_int_equal(link_send(r->link, &m, &f), ERR_LIMIT);
    assert_int_equal(calls, 0);
    f.size = 100;
    assert_int_equal(link_send(r->link, &m, &f), ERR_OK);
    assert_int_equal(wait_hub(r), LINK_MSG);
    link_in_fini(&r->in);
    int64_t end = now_us() + PATIENCE_US;
    while (!__atomic_load_n(&calls, __ATOMIC_SEQ_CST) && now_us() < end)
        poll_in(link_socket(r->link), end);
    assert_int_equal(calls, 1);
}

static void acknowledged_means_taken_by_the_application(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    assert_true(link_all_acked(r->link));
    send_link(r->link, 1);
    send_link(r->link, 2);
    assert_int_equal(wait_hub(r), LINK_MSG);
    int64_t start = now_us();
    for (int i = 0; i < 30; i++) { // the first is acknowledged meanwhile, the second is not taken
        poll_in(link_socket(r->link), now_us() + 5000);
        assert_int_equal(link_next(r->link, &r->in), ERR_OK);
        assert_false(link_all_acked(r->link));
    }
    assert_int_equal(wait_hub(r), LINK_MSG);
    start = now_us();
    while (!link_all_acked(r->link) && now_us() < start + PATIENCE_US) {
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        assert_int_equal(link_next(r->link, &r->in), ERR_OK);
        poll_in(link_socket(r->link), now_us() + 5000);
    }
    assert_true(link_all_acked(r->link));
    assert_true(now_us() - start < 1000000); // 100 ms by contract; the machine may be busy
}

static void quiet_session_lives_on_pings(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    run_quietly(r, 2 * TIMEOUT_US);
    assert_true(link_is_up(r->link));
}

// ---- failing ----

static void silent_server_is_down_and_met_again(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    assert_int_equal(wait_link(r, r->link), LINK_DOWN); // nobody runs the hub
    assert_false(link_is_up(r->link));
    assert_int_equal(wait_hub(r), LINK_DOWN); // the new hello ends the old session there
    assert_int_equal(wait_hub(r), LINK_UP);
    assert_false(r->in.new_incarnation);
    assert_int_equal(wait_link(r, r->link), LINK_UP);
    assert_false(r->in.new_incarnation);
    send_link(r->link, 1);
    assert_int_equal(wait_hub(r), LINK_MSG);
}

static void silent_client_is_down(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    int64_t start = now_us();
    assert_int_equal(wait_hub(r), LINK_DOWN);
    assert_true(now_us() - start >= TIMEOUT_US - 100000);
    assert_null(hub_peer(r->hub, 0));
    send_link(r->link, 1); // it does not know yet
    say_hello(r, r->link); // takes the hub's pings
    assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
    assert_int_equal(r->in.event, LINK_NONE); // the message of a dead session is not delivered
    assert_int_equal(wait_link(r, r->link), LINK_DOWN);
    assert_int_equal(wait_hub(r), LINK_UP);
}

static void restarted_server_is_a_new_incarnation(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    close_hub(r);
    send_link(r->link, 99); // void
    int64_t start = now_us();
    open_hub(r, 2);
    enum link_event link_events[8], hub_events[8];
    int n_link = 0, n_hub = 0;
    bool renewed = false;
    while (n_link < 2 && now_us() < start + PATIENCE_US) {
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        if (r->in.event != LINK_NONE)
            hub_events[n_hub++] = r->in.event;
        assert_int_equal(link_next(r->link, &r->in), ERR_OK);
        if (r->in.event != LINK_NONE)
            link_events[n_link++] = r->in.event;
        renewed |= r->in.new_incarnation;
        poll_in(link_socket(r->link), now_us() + 5000);
    }
    assert_int_equal(n_link, 2);
    assert_int_equal(link_events[0], LINK_DOWN);
    assert_int_equal(link_events[1], LINK_UP);
    assert_true(renewed);
    assert_int_equal(n_hub, 1);
    assert_int_equal(hub_events[0], LINK_UP);
    assert_true(now_us() - start < TIMEOUT_US); // it was not the time-out
}

static void newer_client_ends_the_older_session(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    struct link *old = open_link(r, "client", 1);
    open_session(r, old);
    r->link = open_link(r, "client", 2);
    say_hello(r, r->link);
    assert_int_equal(wait_hub(r), LINK_DOWN);
    assert_int_equal(r->in.peer.incarnation, 1);
    assert_int_equal(wait_hub(r), LINK_UP);
    assert_int_equal(r->in.client, 0);
    assert_int_equal(r->in.peer.incarnation, 2);
    assert_true(r->in.new_incarnation);

    send_link(old, 1); // the zombie is sent away for good
    assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
    poll_in(hub_socket(r->hub), now_us() + 20000);
    assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
    assert_int_equal(r->in.event, LINK_NONE);
    assert_int_equal(wait_link(r, old), LINK_DOWN);
    for (int i = 0; i < 100 && r->in.event != LINK_MSG; i++) {
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        poll_in(link_socket(old), now_us() + 5000);
        assert_int_equal(link_next(old, &r->in), ERR_OK);
    }
    assert_int_equal(r->in.msg.type, MSG_refuse);
    assert_int_equal(link_next(old, &r->in), ERR_PEER);
    assert_non_null(strstr(err_text(), "incarnation 2 of client"));
    link_close(old);
    assert_int_equal(wait_link(r, r->link), LINK_UP);
}

static void other_run_is_refused_with_its_name(void **state) {
    struct rig *r = *state;
    open_hub(r, 1);
    struct link_options o = options(r, "client", 1);
    o.run = "elsewhere";
    assert_int_equal(link_open(&o, &r->link), ERR_OK);
    say_hello(r, r->link);
    for (int i = 0; i < 200 && r->in.event != LINK_MSG; i++) {
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        assert_int_equal(r->in.event, LINK_NONE);
        poll_in(link_socket(r->link), now_us() + 20000);
        assert_int_equal(link_next(r->link, &r->in), ERR_OK);
    }
    assert_int_equal(r->in.msg.type, MSG_refuse);
    assert_int_equal(r->in.msg.refuse.err, ERR_MISMATCH);
    assert_string_equal(r->in.msg.refuse.text, "run 'elsewhere', here it is run 'test'");
    assert_int_equal(link_next(r->link, &r->in), ERR_PEER);
    assert_int_equal(hub_clients(r->hub), 0);
}

static void socket_file_is_private_and_taken_once(void **state) {
    struct rig *r = *state;
    struct hub *second = NULL;
    struct stat st;
    int fd = open("s", O_CREAT | O_WRONLY, 0644); // left by somebody who died
    assert_true(fd >= 0);
    (void)close(fd);
    open_hub(r, 1);
    assert_int_equal(stat("s", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct link_options o = options(r, "server", 2);
    assert_int_equal(hub_open(&o, &second), ERR_BUSY);
    assert_null(second);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link); // the first still serves
}

// ---- strangers ----

static void send_stranger(void *socket, const void *bytes, size_t size, int parts) {
    for (int i = 0; i < parts; i++)
        assert_true(zmq_send(socket, bytes, size, i + 1 < parts ? ZMQ_SNDMORE : 0) >= 0);
}

// Calls hub_next until something is there and taken; true if it was told as noise.
static bool hub_takes_noise(struct rig *r) {
    bool noise = false;
    for (int i = 0; i < 10; i++) {
        poll_in(hub_socket(r->hub), now_us() + 20000);
        assert_int_equal(hub_next(r->hub, &r->in), ERR_OK);
        assert_true(r->in.event == LINK_NONE || r->in.event == LINK_NOISE);
        noise |= r->in.event == LINK_NOISE;
    }
    return noise;
}

static void garbage_is_told_and_harms_nobody(void **state) {
    struct rig *r = *state;
    char bytes[300];
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37);
    void *stranger = zmq_socket(r->zmq, ZMQ_DEALER);
    int none = 0;
    (void)zmq_setsockopt(stranger, ZMQ_LINGER, &none, sizeof none); // a known option
    assert_int_equal(zmq_connect(stranger, ENDPOINT), 0);
    send_stranger(stranger, bytes, sizeof bytes, 1);
    assert_true(hub_takes_noise(r));
    send_stranger(stranger, bytes, 0, 1);
    send_stranger(stranger, bytes, sizeof bytes, 7);
    send_stranger(stranger, "\xdd\xff\xff\xff\xff", 5, 2);
    assert_false(hub_takes_noise(r)); // at most once a second
    zmq_close(stranger);
    send_link(r->link, 5);
    assert_int_equal(wait_hub(r), LINK_MSG);
    assert_int_equal(r->in.msg.manifest_chunk_ask.first, 5);
}

static void raw_bytes_on_the_socket_harm_nobody(void **state) {
    struct rig *r = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "s"};
    char bytes[5000];
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    for (int round = 0; round < 20; round++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(i * (size_t)(round + 3) + (size_t)round);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        (void)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL); // may be hung up on
        (void)close(fd);
    }
    (void)hub_takes_noise(r); // ZeroMQ's handshake lets none of it through, or it is noise
    send_link(r->link, 5);
    assert_int_equal(wait_hub(r), LINK_MSG);
}

static void name_of_another_is_not_believed(void **state) {
    struct rig *r = *state;
    uint8_t bytes[MSG_MAX];
    size_t size;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    struct msg_envelope e = {.seq = 1, .from = {.process = "client", .incarnation = 1}};
    struct msg m = {.type = MSG_fin};
    assert_int_equal(msg_pack(&e, &m, bytes, &size), ERR_OK);
    void *stranger = zmq_socket(r->zmq, ZMQ_DEALER);
    int none = 0;
    (void)zmq_setsockopt(stranger, ZMQ_LINGER, &none, sizeof none); // a known option
    assert_int_equal(zmq_connect(stranger, ENDPOINT), 0);
    send_stranger(stranger, bytes, size, 1);
    assert_true(hub_takes_noise(r));
    zmq_close(stranger);
    assert_non_null(hub_peer(r->hub, 0));
}

static void gap_ends_the_session(void **state) {
    struct rig *r = *state;
    uint8_t bytes[MSG_MAX];
    size_t size;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    struct msg_envelope e = {.seq = 2, // 1 never came
                             .from = {.process = "client", .incarnation = 1},
                             .to = {.process = "server", .incarnation = 1}};
    struct msg m = asking(1);
    assert_int_equal(msg_pack(&e, &m, bytes, &size), ERR_OK);
    assert_true(zmq_send(link_socket(r->link), bytes, size, 0) >= 0);
    assert_int_equal(wait_hub(r), LINK_DOWN);
    assert_int_equal(wait_link(r, r->link), LINK_DOWN);
    assert_int_equal(wait_hub(r), LINK_UP);
    assert_int_equal(wait_link(r, r->link), LINK_UP);
}

static void hub_has_room_for_so_many(void **state) {
    struct rig *r = *state;
    struct link *links[HUB_CLIENTS + 1];
    char name[32];
    open_hub(r, 1);
    for (int i = 0; i <= HUB_CLIENTS; i++) {
        (void)snprintf(name, sizeof name, "client%d", i);
        links[i] = open_link(r, name, 1);
        say_hello(r, links[i]);
        if (i < HUB_CLIENTS)
            assert_int_equal(wait_hub(r), LINK_UP);
    }
    (void)hub_takes_noise(r);
    assert_int_equal(hub_clients(r->hub), HUB_CLIENTS);
    assert_int_equal(wait_link(r, links[HUB_CLIENTS]), LINK_MSG);
    assert_int_equal(r->in.msg.refuse.err, ERR_LIMIT);
    for (int i = 0; i <= HUB_CLIENTS; i++)
        link_close(links[i]);
}

// ---- slow ----

static void slow_receiver_stops_the_sender(void **state) {
    struct rig *r = *state;
    static char bytes[1 << 18]; // more than a socket's buffer in the kernel
    struct link_frame frame = {.bytes = bytes, .size = sizeof bytes};
    struct msg m = {.type = MSG_points, .points.count = 1};
    uint64_t taken = 0;
    open_hub(r, 1);
    r->link = open_link(r, "client", 1);
    open_session(r, r->link);
    for (int tries = 0; tries < 20; tries++) { // what ZeroMQ moves on makes room
        while (link_send(r->link, &m, &frame) == ERR_OK && m.points.first < 1000)
            m.points.first++;
        poll_in(link_socket(r->link), now_us() + 5000);
    }
    assert_true(m.points.first >= HWM);
    assert_true(m.points.first <= 2 * HWM + 4); // both ends' marks, and what is on the way
    while (taken < m.points.first) {
        assert_int_equal(wait_hub(r), LINK_MSG);
        assert_int_equal(r->in.msg.points.first, taken++);
    }
}

static void send_all(struct rig *r, struct link *l, uint64_t count) {
    char bytes[64] = {0};
    struct link_frame frame = {.bytes = bytes, .size = sizeof bytes};
    struct msg m = {.type = MSG_points, .points.count = 1};
    while (m.points.first < count) {
        if (link_send(l, &m, &frame) == ERR_OK)
            m.points.first++;
        else if (link_next(l, &r->in) || r->in.event == LINK_DOWN)
            _exit(2);
        else if (r->in.event == LINK_NONE)
            poll_in(link_socket(l), now_us() + 2000);
    }
    while (link_fin(l) == ERR_AGAIN)
        poll_in(link_socket(l), now_us() + 2000);
}

static void sender_process(uint64_t count) {
    struct rig r = {.zmq = zmq_ctx_new()};
    struct link *l = open_link(&r, "client", 1);
    if (wait_link(&r, l) != LINK_UP)
        _exit(1);
    send_all(&r, l, count);
    if (wait_link(&r, l) != LINK_FIN || !link_all_acked(l))
        _exit(3);
    link_close(l);
    zmq_ctx_term(r.zmq);
    _exit(0);
}

static void orderly_end_loses_nothing_to_a_slow_reader(void **state) {
    struct rig *r = *state;
    uint64_t taken = 0;
    int status;
    zmq_ctx_term(r->zmq); // no context may live across fork
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        sender_process(5000);
    r->zmq = zmq_ctx_new();
    open_hub(r, 1);
    assert_int_equal(wait_hub(r), LINK_UP);
    while (wait_hub(r) == LINK_MSG) {
        assert_int_equal(r->in.msg.points.first, taken++);
        if (taken % 50 == 0)
            (void)usleep(2000); // being slow is the point
    }
    assert_int_equal(r->in.event, LINK_FIN);
    assert_int_equal(taken, 5000);
    close_hub(r); // at once: its last word must still arrive
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

// ---- another implementation ----

static bool python_has_modules(void) {
    return system("/usr/bin/python3 -c 'import zmq, msgpack' 2>/dev/null") == 0;
}

static pid_t start_peer(void) {
    pid_t child = fork();
    if (child == 0) {
        char types[64];
        (void)snprintf(types, sizeof types, "%d,%d,%d,%d,%d,%d,%d,%d", MSG_hello, MSG_welcome,
                       MSG_ping, MSG_pong, MSG_ack, MSG_fin, MSG_fin_ack, MSG_refuse);
        char more[64];
        (void)snprintf(more, sizeof more, "%d,%d,%d", MSG_loader_ready, MSG_ticket, MSG_batch);
        (void)execl("/usr/bin/python3", "python3", peer_py, ENDPOINT, "test", types, more,
                    (char *)NULL);
        _exit(127);
    }
    return child;
}

static void peer_in_python_speaks_the_protocol(void **state) {
    struct rig *r = *state;
    int status;
    if (!python_has_modules())
        skip();
    open_hub(r, 1);
    pid_t child = start_peer();
    assert_true(child > 0);
    assert_int_equal(wait_hub(r), LINK_UP);
    assert_string_equal(r->in.peer.process, "loader");
    assert_int_equal(wait_hub(r), LINK_MSG);
    assert_int_equal(r->in.msg.type, MSG_loader_ready);
    assert_int_equal(r->in.msg.loader_ready.credits, 2);
    assert_int_equal(r->in.msg.loader_ready.count_b, 1100);
    struct msg ticket = {.type = MSG_ticket,
                         .ticket = {.epoch = 3, .index = 1ull << 40, .count = 2}};
    assert_int_equal(hub_send(r->hub, r->in.client, &ticket, NULL), ERR_OK);
    assert_int_equal(wait_hub(r), LINK_MSG);
    assert_int_equal(r->in.msg.type, MSG_batch);
    assert_int_equal(r->in.msg.batch.index, 1ull << 40);
    assert_int_equal(r->in.msg.batch.n_shape, 6);
    assert_int_equal(r->in.msg.batch.record_b[1], 8);
    assert_int_equal(zmq_msg_size(&r->in.frames[1]), 2 * 4 * 4 * 3);
    assert_int_equal(((uint8_t *)zmq_msg_data(&r->in.frames[1]))[5], 5);
    assert_int_equal(wait_hub(r), LINK_FIN);
    assert_int_equal(waitpid(child, &status, 0), child); // it has waited for a ping, too
    assert_int_equal(status, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(session_opens_carries_both_ways_and_ends),
        CASE(server_may_end_the_session),
        CASE(raw_frames_arrive_whole),
        CASE(counted_frames_arrive_whole),
        CASE(kept_frame_is_freed_once_or_stays_mine),
        CASE(acknowledged_means_taken_by_the_application),
        CASE(quiet_session_lives_on_pings),
        CASE(silent_server_is_down_and_met_again),
        CASE(silent_client_is_down),
        CASE(restarted_server_is_a_new_incarnation),
        CASE(newer_client_ends_the_older_session),
        CASE(other_run_is_refused_with_its_name),
        CASE(socket_file_is_private_and_taken_once),
        CASE(garbage_is_told_and_harms_nobody),
        CASE(raw_bytes_on_the_socket_harm_nobody),
        CASE(name_of_another_is_not_believed),
        CASE(gap_ends_the_session),
        CASE(hub_has_room_for_so_many),
        CASE(slow_receiver_stops_the_sender),
        CASE(orderly_end_loses_nothing_to_a_slow_reader),
        CASE(peer_in_python_speaks_the_protocol),
    };
    if (!realpath("tests/common/link/peer.py", peer_py))
        peer_py[0] = 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
