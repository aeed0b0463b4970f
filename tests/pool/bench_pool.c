// How long an exchange takes over the socket, and how many fit into a second.
#include <getopt.h>
#include <time.h>

#include "pool/pool_rig.h"

static const char help[] =
    "bench_pool - exchanges with a pool process over ipc, full tables, one trainer\n"
    "\n"
    "usage: bench_pool [--exchanges N] | --help\n"
    "\n"
    "One JSON line per picture size:\n"
    "  picture, dtype     side x side x channels and the type of a value\n"
    "  batch              pictures in an exchange\n"
    "  bytes              of an exchange, each way\n"
    "  exchanges          measured, after the tables are full; fewer of large ones\n"
    "  p50_us .. max_us   from the request to its complete answer, one under way\n"
    "  per_s              exchanges per second, one under way\n"
    "  per_s_2            exchanges per second, one per table under way (two tables)\n"
    "  step_min_us .. p99 a training step: both tables under way, until what came back lies in\n"
    "                     one buffer per table (what a GPU's pictures are copied from)\n"
    "  step_cpu_us        processor time that it takes, of both processes\n"
    "  mb_per_s           both ways and tables, by the fastest step\n"
    "  save_ms            pool_save of both tables: write, sync, SHA-256\n"
    "  arena_bytes        size of the arena, capacity 50, two tables\n"
    "  rss_bytes          resident memory of the pool process at the end\n";

struct shape {
    const char *picture, *dtype;
    uint64_t batch, bytes; // of a picture
};

static struct msg request(uint64_t table, uint64_t step, uint64_t batch) {
    return (struct msg){.type = MSG_exchange,
                        .exchange = {.table = table, .step = step, .count = batch}};
}

static void expect(const struct pool_rig *r, enum msg_type type) {
    if (r->in.msg.type == type)
        return;
    (void)fprintf(stderr, "bench_pool: %s %s\n", msg_name(r->in.msg.type),
                  r->in.msg.type == MSG_refuse ? r->in.msg.refuse.text : "");
    exit(1);
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Both tables, one after the other.
static void fill(struct pool_rig *r, const struct shape *s, uint8_t *pictures, uint64_t *step) {
    for (; *step <= 50 + 4; ++*step)
        for (uint64_t t = 0; t < 2; t++) {
            struct msg m = request(t, *step, s->batch);
            rig_ask(r, &m, pictures, s->batch * s->bytes);
            expect(r, MSG_exchanged);
        }
}

static int64_t one_under_way(struct pool_rig *r, const struct shape *s, uint8_t *pictures,
                             uint64_t *step, int n, int64_t *ret_us) {
    int64_t start = now_us();
    for (int i = 0; i < n; i++) {
        struct msg m = request((uint64_t)i % 2, *step, s->batch);
        int64_t at = now_us();
        rig_ask(r, &m, pictures, s->batch * s->bytes);
        ret_us[i] = now_us() - at;
        expect(r, MSG_exchanged);
        *step += (uint64_t)i % 2;
    }
    return now_us() - start;
}

// The pictures stay as they are, so whoever still reads them finds the same.
static void keep(void *bytes, void *hint) {
}

static void send_one(struct pool_rig *r, const struct shape *s, uint8_t *pictures, uint64_t table,
                     uint64_t step) {
    struct link_frame frame = {.bytes = pictures, .size = s->batch * s->bytes, .free_fn = keep};
    struct msg m = request(table, step, s->batch);
    if (link_send(r->link, &m, &frame))
        rig_die("send");
}

static int64_t two_under_way(struct pool_rig *r, const struct shape *s, uint8_t *pictures,
                             uint64_t *step, int n) {
    int64_t start = now_us();
    uint64_t next[2] = {*step, *step};
    for (uint64_t t = 0; t < 2; t++)
        send_one(r, s, pictures, t, next[t]++);
    for (int i = 0; i < n; i++) {
        (void)rig_wait(r);
        expect(r, MSG_exchanged);
        uint64_t t = r->in.msg.exchanged.table;
        if (next[t] < *step + (uint64_t)n / 2)
            send_one(r, s, pictures, t, next[t]++);
    }
    *step = next[0];
    return now_us() - start;
}

// Processor time of the pool and of this process.
static double cpu_us(const struct pool_rig *r) {
    struct timespec own = {0}, pools = {0};
    clockid_t clock;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    if (clock_getcpuclockid(r->pid, &clock) || clock_gettime(clock, &pools))
        rig_die("the pool's processor time");
    return (double)(own.tv_sec + pools.tv_sec) * 1e6 + (double)(own.tv_nsec + pools.tv_nsec) / 1e3;
}

// Both tables at once, as in a training.
static void steps(struct pool_rig *r, const struct shape *s, uint8_t *pictures, uint64_t *step,
                  int n, int64_t *ret_us) {
    size_t bytes = s->batch * s->bytes;
    uint8_t *upload[2] = {xcalloc(1, bytes), xcalloc(1, bytes)};
    for (int i = 0; i < n; i++, ++*step) {
        int64_t at = now_us();
        for (uint64_t t = 0; t < 2; t++)
            send_one(r, s, pictures, t, *step);
        for (int k = 0; k < 2; k++) {
            (void)rig_wait(r);
            expect(r, MSG_exchanged);
            for (int f = 0; f < r->in.n_frames; f++)
                memcpy(upload[k] + (size_t)f * s->bytes, zmq_msg_data(&r->in.frames[f]), s->bytes);
        }
        ret_us[i] = now_us() - at;
    }
    free(upload[0]);
    free(upload[1]);
}

static double save_ms(struct pool_rig *r, uint64_t step) {
    struct msg m = {.type = MSG_pool_save, .pool_save = {.path = "pool.bin"}};
    int64_t start = now_us();
    m.pool_save.step = step;
    rig_ask(r, &m, NULL, 0);
    expect(r, MSG_pool_saved);
    return (double)(now_us() - start) / 1000;
}

static void measure(const struct shape *s, int n) {
    struct pool_rig rig, *r = &rig;
    int64_t *us = xcalloc((size_t)n, sizeof *us);
    int64_t *step_us = xcalloc((size_t)n, sizeof *step_us);
    uint8_t *pictures = xcalloc(s->batch, s->bytes);
    uint64_t step = 1;
    struct msg restore = {.type = MSG_pool_restore};
    memset(pictures, 0x55, s->batch * s->bytes);
    rig_init(r, "");
    r->shape = (struct msg){.type = MSG_pool_open,
                            .pool_open = {.capacity = 50,
                                          .batch = s->batch,
                                          .n_slot_bytes = 2,
                                          .slot_bytes = {s->bytes, s->bytes}}};
    rig_ask(r, &r->shape, NULL, 0);
    expect(r, MSG_pool_opened);
    r->open = true;
    uint64_t arena = r->in.msg.pool_opened.arena_bytes;
    rig_ask(r, &restore, NULL, 0);
    expect(r, MSG_pool_restored);
    fill(r, s, pictures, &step);
    int64_t one = one_under_way(r, s, pictures, &step, n, us);
    int64_t two = two_under_way(r, s, pictures, &step, n);
    double step_cpu = cpu_us(r);
    steps(r, s, pictures, &step, n, step_us);
    step_cpu = (cpu_us(r) - step_cpu) / n;
    double save = save_ms(r, step - 1);
    uint64_t rss = rig_resident_bytes(r->pid);
    qsort(us, (size_t)n, sizeof *us, compare);
    qsort(step_us, (size_t)n, sizeof *step_us, compare);
    printf("{\"bench\": \"pool\", \"picture\": \"%s\", \"dtype\": \"%s\", \"batch\": %llu, "
           "\"bytes\": %llu, \"exchanges\": %d, \"p50_us\": %lld, \"p90_us\": %lld, "
           "\"p99_us\": %lld, \"max_us\": %lld, \"per_s\": %.0f, \"per_s_2\": %.0f, "
           "\"step_min_us\": %lld, \"step_p50_us\": %lld, \"step_p99_us\": %lld, \"step_cpu_us\": "
           "%.0f, \"mb_per_s\": %.0f, "
           "\"save_ms\": %.1f, \"arena_bytes\": %llu, \"rss_bytes\": %llu}\n",
           s->picture, s->dtype, (unsigned long long)s->batch,
           (unsigned long long)(s->batch * s->bytes), n, (long long)us[n / 2],
           (long long)us[n * 9 / 10], (long long)us[n * 99 / 100], (long long)us[n - 1],
           n * 1e6 / (double)one, n * 1e6 / (double)two, (long long)step_us[0],
           (long long)step_us[n / 2], (long long)step_us[n * 99 / 100], step_cpu,
           4.0 * (double)(s->batch * s->bytes) / (double)step_us[0], save,
           (unsigned long long)arena, (unsigned long long)rss);
    (void)fflush(stdout); // a line at a time
    rig_fini(r);
    free(us);
    free(step_us);
    free(pictures);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"exchanges", required_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'}, {0}};
    static const struct shape shapes[] = {
        {"128x128x3", "fp32", 1, 128 * 128 * 3 * 4},  {"128x128x3", "bf16", 1, 128 * 128 * 3 * 2},
        {"128x128x3", "fp32", 16, 128 * 128 * 3 * 4}, {"128x128x3", "bf16", 16, 128 * 128 * 3 * 2},
        {"256x256x3", "fp32", 6, 256 * 256 * 3 * 4},  {"256x256x3", "bf16", 6, 256 * 256 * 3 * 2},
    };
    int n = 3000, c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(help, stdout); // a closed pipe is the reader's wish
            return 0;
        }
        n = c == 'n' ? atoi(optarg) / 2 * 2 : 0;
        if (n < 100 || n > 10000000) {
            (void)fputs("bench_pool: --exchanges is 100 to 10000000; see --help\n", stderr);
            return 2;
        }
    }
    for (size_t i = 0; i < COUNT(shapes); i++)
        measure(&shapes[i], n / (int)(1 + shapes[i].batch * shapes[i].bytes / 400000) / 2 * 2);
    return 0;
}
