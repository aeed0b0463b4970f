// The arena under kill -9 and torn records, its refusals, and snapshots of it.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "snapshot.h"

#define CAPACITY 5
#define BATCH 3
#define SLOT 60000 // bytes; large enough that a kill often falls into the copying
#define TABLES 2
#define OWNER 4

static const struct arena_shape shape = {
    .seed = 7, .capacity = CAPACITY, .batch = BATCH, .n_tables = TABLES, .slot_bytes = {SLOT, 999}};

static uint64_t draws;

static uint64_t draw(uint64_t n) {
    return rng_below(3, RNG_TEST, draws++, 0, n);
}

static struct arena *open_arena(const char *path) {
    struct arena *a;
    if (arena_open(path, &shape, 1 << 24, &a))
        fail_msg("%s", err_text());
    return a;
}

// The fakes of a step. Making and checking them must be cheap, or kills would rarely meet an
// exchange.
static uint64_t fakes(uint64_t table, uint64_t step, uint8_t *ret) {
    uint64_t count = 1 + (step * 7 + table) % BATCH, size = shape.slot_bytes[table];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = step << 8 | table << 4 | i;
        memset(ret + i * size, (int)(id * 2654435761u >> 16 & 0xff), size);
        memcpy(ret + i * size, &id, sizeof id);
    }
    return count;
}

static int step_of(struct arena *a, uint64_t table, uint64_t step) {
    static uint8_t pictures[BATCH * SLOT];
    uint64_t count = fakes(table, step, pictures);
    struct arena_request r = {OWNER, table, step, count, pictures};
    return arena_exchange(a, &r);
}

static uint64_t hash(uint64_t h, const uint8_t *bytes, size_t size) {
    uint64_t word = 0;
    for (size_t i = 0; i < size; i += sizeof word) {
        memcpy(&word, bytes + i, MIN(sizeof word, size - i));
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
    }
    return h ^ h >> 29;
}

// Everything that a client can see of the last exchange.
static uint64_t seen(const struct arena *a, uint64_t table) {
    const struct arena_state *s = arena_state(a, table);
    uint64_t h = hash(1, (const uint8_t *)s, sizeof *s);
    for (uint64_t i = 0; i < s->count; i++)
        h = hash(h, arena_reply(a, table, i), shape.slot_bytes[table]);
    return h;
}

static int set_up(void **state) {
    static char folder[] = "/tmp/test_arena.XXXXXX";
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    *state = folder;
    return mkdtemp(folder) && !chdir(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    return chdir("/") || fs_remove_tree(*state) ? -1 : 0;
}

// ---- kill -9 ----

#define KILLS 400
#define STEPS_MAX 200000

struct record_of_run { // shared with the children
    uint64_t steps[TABLES];
    uint64_t seen[TABLES][STEPS_MAX];
};

// The last step, if the kill came into the next one, must still have its reply.
static void ask_last_again(struct arena *a, const struct record_of_run *log) {
    for (uint64_t t = 0; t < TABLES; t++) {
        uint64_t step = log->steps[t];
        if (step && arena_state(a, t)->step == step)
            if (step_of(a, t, step) || seen(a, t) != log->seen[t][step])
                _exit(3);
    }
}

// Goes on behind what is logged, until it is killed: a step that was done but not logged is asked
// again. So is every third, at once.
static void run_until_killed(struct record_of_run *log) {
    struct arena *a = open_arena("pool.arena");
    ask_last_again(a, log);
    for (uint64_t step = log->steps[0]; step < STEPS_MAX; step++)
        for (uint64_t t = 0; t < TABLES; t++) {
            if (step <= log->steps[t])
                continue;
            if (step_of(a, t, step))
                _exit(1);
            log->seen[t][step] = seen(a, t);
            log->steps[t] = step;
            if (step % 3 == 0 && (step_of(a, t, step) || seen(a, t) != log->seen[t][step]))
                _exit(2);
        }
    _exit(0);
}

// How far `log` goes, compared with one process that was never disturbed.
static void compare_with_undisturbed(const struct record_of_run *log) {
    struct arena *a = open_arena("undisturbed");
    snapshot_load_empty(a, OWNER, 0);
    for (uint64_t step = 1; step <= log->steps[0]; step++)
        for (uint64_t t = 0; t < TABLES && step <= log->steps[t]; t++) {
            assert_int_equal(step_of(a, t, step), ERR_OK);
            assert_true(seen(a, t) == log->seen[t][step]);
        }
    arena_close(a);
}

static void killed_anywhere_the_sequence_stays_the_same(void **state) {
    int status, full = 0;
    struct record_of_run *log =
        mmap(NULL, sizeof *log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(log != MAP_FAILED);
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    arena_close(a);
    for (int i = 0; i < KILLS; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            run_until_killed(log);
        (void)usleep((useconds_t)(200 + draw(1500))); // the random instant
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) || status == 0);
        full += WIFEXITED(status);
    }
    print_message("%d kills in %llu steps\n", KILLS - full, (unsigned long long)log->steps[0]);
    assert_true(KILLS - full >= 200);
    compare_with_undisturbed(log);
    (void)munmap(log, sizeof *log);
}

// ---- torn records: layout of arena.h ----

static size_t record_bytes(void) {
    return (9 * 8 + CAPACITY * 12 + BATCH * 4 + 63) / 64 * 64;
}

static void read_at(const char *path, void *bytes, size_t size, size_t at) {
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, bytes, size, (off_t)at), size);
    (void)close(fd);
}

static void write_at(const char *path, const void *bytes, size_t size, size_t at) {
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, size, (off_t)at), size);
    (void)close(fd);
}

// Asks for `step` of table 0 after the file was put together; the answer must be `expected`.
static void expect_step(uint64_t step, uint64_t expected) {
    struct arena *a = open_arena("pool.arena");
    uint64_t at = arena_state(a, 0)->step;
    assert_true(at == step || at == step - 1);
    assert_int_equal(step_of(a, 0, step), ERR_OK);
    assert_true(seen(a, 0) == expected);
    arena_close(a);
}

static void torn_record_leaves_the_one_before(void **state) {
    size_t size = record_bytes(), both = 2 * size;
    uint8_t before[1024], after[1024], torn[1024];
    assert_true(both <= sizeof before);
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    for (uint64_t step = 1; step <= 20; step++)
        assert_int_equal(step_of(a, 0, step), ERR_OK);
    read_at("pool.arena", before, both, 4096); // file and mapping are one
    assert_int_equal(step_of(a, 0, 21), ERR_OK);
    read_at("pool.arena", after, both, 4096);
    uint64_t expected = seen(a, 0);
    arena_close(a);
    int written = memcmp(before, after, size) != 0 ? 0 : 1; // the copy that took step 21
    assert_memory_equal(before + (1 - written) * size, after + (1 - written) * size, size);
    for (size_t cut = 0; cut <= size; cut++) {
        memcpy(torn, before, both);
        memcpy(torn + (size_t)written * size, after + (size_t)written * size, cut);
        write_at("pool.arena", torn, both, 4096);
        expect_step(21, expected);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) { // or flipped
        memcpy(torn, after, both);
        torn[(size_t)written * size + bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_at("pool.arena", torn, both, 4096);
        expect_step(21, expected);
    }
}

// ---- exactly once ----

static void same_step_gives_the_same_and_no_other_is_served(void **state) {
    uint8_t pictures[BATCH * SLOT] = {0};
    struct arena *a = open_arena("pool.arena");
    struct arena_request r = {OWNER, 0, 1, 2, pictures};
    assert_int_equal(arena_exchange(a, &r), ERR_MISMATCH); // not restored yet
    snapshot_load_empty(a, OWNER, 0);
    for (uint64_t step = 1; step <= 9; step++)
        assert_int_equal(step_of(a, 0, step), ERR_OK);
    uint64_t first = seen(a, 0);
    r = (struct arena_request){OWNER, 0, 9, arena_state(a, 0)->count, pictures};
    assert_int_equal(arena_exchange(a, &r), ERR_OK); // whatever it brings this time
    assert_true(seen(a, 0) == first);
    r.count = arena_state(a, 0)->count % BATCH + 1;
    assert_int_equal(arena_exchange(a, &r), ERR_MISMATCH);
    for (uint64_t step = 0; step < 20; step++) {
        r = (struct arena_request){OWNER, 0, step, 1, pictures};
        if (step != 9 && step != 10)
            assert_int_equal(arena_exchange(a, &r), ERR_MISMATCH);
    }
    r = (struct arena_request){OWNER + 1, 0, 10, 1, pictures};
    assert_int_equal(arena_exchange(a, &r), ERR_MISMATCH); // another life of the trainer
    r = (struct arena_request){OWNER, TABLES, 10, 1, pictures};
    assert_int_equal(arena_exchange(a, &r), ERR_LIMIT);
    r = (struct arena_request){OWNER, 0, 10, BATCH + 1, pictures};
    assert_int_equal(arena_exchange(a, &r), ERR_LIMIT);
    r.count = 0;
    assert_int_equal(arena_exchange(a, &r), ERR_LIMIT);
    assert_true(seen(a, 0) == first);
    assert_int_equal(arena_state(a, 1)->step, 0); // tables go their own ways
    arena_close(a);
}

// ---- size ----

static void too_large_a_pool_is_refused_with_the_sum(void **state) {
    struct arena *a = NULL;
    struct arena_shape s = shape;
    assert_int_equal(arena_open("pool.arena", &s, arena_bytes(&s) - 1, &a), ERR_LIMIT);
    assert_non_null(strstr(err_text(), "(5 + 2 * 3) pictures in each of 2 tables"));
    assert_non_null(strstr(err_text(), "pool.memory"));
    assert_int_equal(access("pool.arena", F_OK), -1);
    s.capacity = 1000000;
    s.slot_bytes[0] = 1ull << 31;
    assert_int_equal(arena_open("pool.arena", &s, UINT64_MAX, &a), ERR_SPACE);
    assert_non_null(strstr(err_text(), "what the disk has left"));
    assert_int_equal(access("pool.arena", F_OK), -1);
    s.slot_bytes[0]++;
    assert_int_equal(arena_open("pool.arena", &s, UINT64_MAX, &a), ERR_LIMIT);
    s = shape;
    s.n_tables = 0;
    assert_int_equal(arena_open("pool.arena", &s, UINT64_MAX, &a), ERR_LIMIT);
    s.n_tables = ARENA_TABLES + 1;
    assert_int_equal(arena_open("pool.arena", &s, UINT64_MAX, &a), ERR_LIMIT);
    assert_null(a);
}

static void file_of_another_shape_or_damaged_is_made_anew(void **state) {
    struct stat st;
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    assert_int_equal(step_of(a, 0, 1), ERR_OK);
    arena_close(a);
    a = open_arena("pool.arena");
    assert_int_equal(arena_state(a, 0)->step, 1);
    arena_close(a);
    struct arena_shape s = shape;
    s.seed++;
    assert_int_equal(arena_open("pool.arena", &s, 1 << 24, &a), ERR_OK);
    assert_int_equal(arena_state(a, 0)->owner, 0);
    snapshot_load_empty(a, OWNER, 0);
    arena_close(a);
    assert_int_equal(truncate("pool.arena", 10000), 0);
    assert_int_equal(arena_open("pool.arena", &s, 1 << 24, &a), ERR_OK);
    assert_int_equal(arena_state(a, 0)->owner, 0);
    arena_close(a);
    assert_int_equal(stat("pool.arena", &st), 0);
    assert_int_equal(st.st_size, arena_bytes(&s));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true((uint64_t)st.st_blocks * 512 >= arena_bytes(&s)); // reserved, no hole
}

// ---- snapshots ----

static void run_to(struct arena *a, uint64_t from, uint64_t to) {
    for (uint64_t step = from; step <= to; step++)
        for (uint64_t t = 0; t < TABLES; t++)
            assert_int_equal(step_of(a, t, step), ERR_OK);
}

static void snapshot_brings_the_same_future(void **state) {
    char digest[65], later[65];
    uint64_t bytes;
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    run_to(a, 1, 12);
    assert_int_equal(snapshot_save(a, 12, "a.bin", digest, &bytes), ERR_OK);
    run_to(a, 13, 30);
    uint64_t first = seen(a, 0);
    assert_int_equal(snapshot_load(a, OWNER, 12, "a.bin", digest), ERR_OK);
    assert_int_equal(snapshot_save(a, 12, "b.bin", later, &bytes), ERR_OK);
    assert_string_equal(digest, later); // to the byte
    run_to(a, 13, 30);
    assert_true(seen(a, 0) == first);
    assert_int_equal(step_of(a, 0, 12), ERR_MISMATCH);
    arena_close(a);
}

static void snapshot_does_not_depend_on_kills_or_file(void **state) {
    char digest[65], other[65];
    uint64_t bytes;
    struct arena *a = open_arena("pool.arena"), *b = open_arena("other.arena");
    snapshot_load_empty(a, OWNER, 0);
    snapshot_load_empty(b, OWNER, 0);
    run_to(a, 1, 25);
    for (uint64_t step = 1; step <= 25; step++) { // reopened all the time, each step asked twice
        arena_close(b);
        b = open_arena("other.arena");
        run_to(b, step, step);
        run_to(b, step, step);
    }
    assert_int_equal(snapshot_save(a, 25, "a.bin", digest, &bytes), ERR_OK);
    assert_int_equal(snapshot_save(b, 25, "b.bin", other, &bytes), ERR_OK);
    assert_string_equal(digest, other);
    arena_close(a);
    arena_close(b);
}

static void snapshot_of_a_moving_pool_is_refused(void **state) {
    char digest[65];
    uint64_t bytes;
    struct arena *a = open_arena("pool.arena");
    assert_int_equal(snapshot_save(a, 0, "a.bin", digest, &bytes), ERR_MISMATCH);
    snapshot_load_empty(a, OWNER, 0);
    run_to(a, 1, 3);
    assert_int_equal(step_of(a, 0, 4), ERR_OK);
    assert_int_equal(snapshot_save(a, 4, "a.bin", digest, &bytes), ERR_MISMATCH);
    assert_int_equal(snapshot_save(a, 3, "a.bin", digest, &bytes), ERR_MISMATCH);
    assert_int_equal(access("a.bin", F_OK), -1);
    assert_int_equal(step_of(a, 1, 4), ERR_OK);
    assert_int_equal(snapshot_save(a, 4, "nowhere/a.bin", digest, &bytes), ERR_IO);
    arena_close(a);
}

static void damaged_snapshot_is_refused_and_changes_nothing(void **state) {
    uint8_t *bytes;
    char digest[65];
    size_t size;
    uint64_t n;
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    run_to(a, 1, 12);
    assert_int_equal(snapshot_save(a, 12, "a.bin", digest, &n), ERR_OK);
    assert_int_equal(fs_read("a.bin", 1 << 24, &bytes, &size), ERR_OK);
    assert_int_equal(size, n);
    run_to(a, 13, 14);
    uint64_t before = seen(a, 0);
    for (int i = 0; i < 500; i++) {
        size_t at = draw(size);
        if (i % 2) {
            assert_int_equal(truncate("a.bin", (off_t)at), 0);
        } else {
            uint8_t flipped = bytes[at] ^ (uint8_t)(1 << draw(8));
            write_at("a.bin", &flipped, 1, at);
        }
        assert_int_equal(snapshot_load(a, OWNER, 12, "a.bin", digest), ERR_FORMAT);
        assert_non_null(strstr(err_text(), "a.bin"));
        int fd = open("a.bin", O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, bytes, size), size);
        (void)close(fd);
    }
    assert_int_equal(snapshot_load(a, OWNER, 11, "a.bin", digest), ERR_MISMATCH);
    assert_int_equal(snapshot_load(a, OWNER, 12, "none.bin", digest), ERR_IO);
    assert_true(seen(a, 0) == before);
    assert_int_equal(snapshot_load(a, OWNER, 12, "a.bin", digest), ERR_OK);
    free(bytes);
    arena_close(a);
}

// The digest holds, but the file is not one of ours: a writer that errs, not a disk that does.
static void nonsense_with_a_right_digest_is_refused(void **state) {
    uint8_t *bytes, digest[32];
    char hex[65];
    size_t size;
    uint64_t n;
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    run_to(a, 1, 12);
    assert_int_equal(snapshot_save(a, 12, "a.bin", hex, &n), ERR_OK);
    assert_int_equal(fs_read("a.bin", 1 << 24, &bytes, &size), ERR_OK);
    for (size_t at = 0; at < 88; at++) { // the head, but for the two counts of pictures met
        if ((at >= 56 && at < 64) || (at >= 80 && at < 88))
            continue;
        bytes[at] ^= 0x80;
        assert_int_equal(fs_write_atomic("a.bin", bytes, size), ERR_OK);
        digest_bytes(bytes, size, digest);
        digest_hex(digest, hex);
        int err = snapshot_load(a, OWNER, 12, "a.bin", hex);
        assert_true(err == ERR_FORMAT || err == ERR_MISMATCH);
        bytes[at] ^= 0x80;
    }
    free(bytes);
    arena_close(a);
}

static void what_is_held_outlives_the_arena(void **state) {
    struct arena *a = open_arena("pool.arena");
    snapshot_load_empty(a, OWNER, 0);
    run_to(a, 1, 3);
    const uint8_t *reply = arena_reply(a, 0, 0);
    uint8_t first = *reply;
    arena_hold(a);
    arena_hold(a);
    arena_close(a);
    arena_release(a);
    assert_int_equal(*reply, first);
    arena_release(a);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(killed_anywhere_the_sequence_stays_the_same),
        CASE(torn_record_leaves_the_one_before),
        CASE(same_step_gives_the_same_and_no_other_is_served),
        CASE(too_large_a_pool_is_refused_with_the_sum),
        CASE(file_of_another_shape_or_damaged_is_made_anew),
        CASE(snapshot_brings_the_same_future),
        CASE(snapshot_does_not_depend_on_kills_or_file),
        CASE(snapshot_of_a_moving_pool_is_refused),
        CASE(damaged_snapshot_is_refused_and_changes_nothing),
        CASE(nonsense_with_a_right_digest_is_refused),
        CASE(what_is_held_outlives_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
