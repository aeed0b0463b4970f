// The curator as a process: judged while it answers pings, served in chunks, started again.
#include "curator/curator_test.h"

#include <signal.h>
#include <sys/wait.h>

#include "link/link.h"
#include "serve.h"

#define WAIT_US 20000000 // for an answer, on a busy machine

static char program[512]; // absolute
static void *zmq;
static struct link *client;
static pid_t curator_pid;

static int setup_run(void **state) {
    (void)setup(state);
    assert_int_equal(fs_mkdirs("s", 0700), ERR_OK);
    assert_int_equal(fs_mkdirs("ring", 0700), ERR_OK);
    char *conf = xasprintf(
        "name = \"t\";\ncurator = { A = { root = \"%s\"; hold_out = 10.0; }; };\n", settings.root);
    write_text("pipeline.conf", conf);
    free(conf);
    zmq = zmq_ctx_new();
    return 0;
}

static int teardown_run(void **state) {
    link_close(client);
    client = NULL;
    if (curator_pid > 0) {
        (void)kill(curator_pid, SIGKILL);
        (void)waitpid(curator_pid, NULL, 0);
        curator_pid = 0;
    }
    (void)zmq_ctx_term(zmq);
    return teardown(state);
}

static void start(const char *incarnation) {
    curator_pid = fork();
    if (curator_pid == 0) {
        (void)execl(program, program, "--run", ".", "--domain", "A", "--incarnation", incarnation,
                    (char *)NULL);
        _exit(127);
    }
}

static int wait_exit(void) {
    int status;
    assert_int_equal(waitpid(curator_pid, &status, 0), curator_pid);
    curator_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int stop(void) {
    assert_int_equal(kill(curator_pid, SIGTERM), 0);
    return wait_exit();
}

static void open_client(void) {
    struct link_options options = {
        .zmq = zmq,
        .endpoint = "ipc://s/curator-A",
        .run = "t",
        .self = {.process = "loader", .incarnation = 1},
        .hwm = 16,
        .peer_timeout_us = WAIT_US,
        .frame_max_bytes = SERVE_FRAME_MAX,
    };
    assert_int_equal(link_open(&options, &client), ERR_OK);
}

// The next event; fails the test when there is none in time.
static struct link_in next_event(void) {
    int64_t end = now_us() + WAIT_US;
    while (now_us() < end) {
        struct link_in in;
        assert_int_equal(link_next(client, &in), ERR_OK);
        if (in.event != LINK_NONE)
            return in;
        zmq_pollitem_t item = {.socket = link_socket(client), .events = ZMQ_POLLIN};
        (void)zmq_poll(&item, 1, 100);
    }
    fail_msg("no answer");
    return (struct link_in){0};
}

static struct link_in ask(const struct msg *m) {
    assert_int_equal(link_send(client, m, NULL), ERR_OK);
    struct link_in in = next_event();
    assert_int_equal(in.event, LINK_MSG);
    return in;
}

static void connect_client(void) {
    open_client();
    struct link_in in = next_event();
    assert_int_equal(in.event, LINK_UP);
    assert_string_equal(in.peer.process, "curator-A");
}

static void it_serves_what_it_wrote(void **state) {
    draw_many("%03d.jpg", 300);
    start("1");
    connect_client();
    struct link_in in = ask(&(struct msg){.type = MSG_manifest_ask});
    assert_int_equal(in.msg.type, MSG_manifest_info);
    assert_int_equal(in.msg.manifest_info.count, 270);
    assert_int_equal(in.msg.manifest_info.held_out, 30);
    struct manifest *m;
    assert_int_equal(manifest_load("manifest/A.manifest", &m), ERR_OK);
    assert_string_equal(in.msg.manifest_info.digest, m->digest);

    struct msg chunk = {.type = MSG_manifest_chunk_ask};
    chunk.manifest_chunk_ask.first = 269; // the last to train on and the first held out
    chunk.manifest_chunk_ask.count = 2;
    in = ask(&chunk);
    assert_int_equal(in.msg.type, MSG_manifest_chunk);
    assert_int_equal(in.n_frames, 1);
    char expected[512];
    int n = manifest_format(&m->records[269], expected, sizeof expected);
    n += manifest_format(&m->records[270], expected + n, sizeof expected - (size_t)n);
    assert_int_equal(zmq_msg_size(&in.frames[0]), n);
    assert_memory_equal(zmq_msg_data(&in.frames[0]), expected, n);
    link_in_fini(&in);

    chunk.manifest_chunk_ask.first = 300;
    in = ask(&chunk);
    assert_int_equal(in.msg.type, MSG_refuse);
    manifest_free(m);
    assert_int_equal(stop(), 0);
}

static void a_second_life_serves_the_same_digest(void **state) {
    char digest[65];
    draw_many("%03d.jpg", 40);
    start("1");
    connect_client();
    struct link_in in = ask(&(struct msg){.type = MSG_manifest_ask});
    (void)text_copy(digest, sizeof digest, in.msg.manifest_info.digest);
    assert_int_equal(kill(curator_pid, SIGKILL), 0);
    assert_int_equal(wait_exit(), -1);
    link_close(client);
    start("2");
    connect_client();
    in = ask(&(struct msg){.type = MSG_manifest_ask});
    assert_string_equal(in.msg.manifest_info.digest, digest);
    assert_int_equal(stop(), 0);
}

static void nothing_to_train_on_ends_it_with_78(void **state) {
    write_text(in_folder("data/text.jpg"), "this is not a picture");
    start("1");
    assert_int_equal(wait_exit(), 78);
}

static void it_can_be_stopped_while_it_judges(void **state) {
    char name[32];
    draw("0.jpg", 1024, 1024);
    for (int i = 1; i < 5000; i++) { // minutes of decoding
        (void)snprintf(name, sizeof name, "data/%d.jpg", i);
        assert_int_equal(symlink("0.jpg", in_folder(name)), 0);
    }
    start("1");
    connect_client(); // the session opens while pictures are judged
    int64_t begun = now_us();
    assert_int_equal(stop(), 0);
    assert_true(now_us() - begun < 15000000); // 5 s of it are for a monitor that is not there
    assert_false(fs_exists("manifest/A.manifest"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_run, teardown_run)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(it_serves_what_it_wrote),
        CASE(a_second_life_serves_the_same_digest),
        CASE(nothing_to_train_on_ends_it_with_78),
        CASE(it_can_be_stopped_while_it_judges),
    };
    // build/tests/curator/test_process -> build/bin/curator
    char *self = realpath(argv[0], NULL), *folders = self ? strstr(self, "/tests/curator/") : NULL;
    if (!folders)
        return 1;
    *folders = 0;
    (void)snprintf(program, sizeof program, "%s/bin/curator", self);
    free(self);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
