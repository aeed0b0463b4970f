// bench_translate - how fast a generator translates, beside PyTorch and OpenCV's dnn with the same
// weights on the same pictures, in one run.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/memory.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "nets/init.h"
#include "threads.h"
#include "translate/translator.h"
#include "weights/onnx.h"
#include "weights/recognise.h"
#include "weights/safetensors.h"
#include "weights/weights.h"

static const char help[] =
    "bench_translate - a generator's pictures per second, beside PyTorch and OpenCV's dnn\n"
    "\n"
    "  --sizes A,B,..   pictures of AxA, BxB, ..: ascending (128,256,512)\n"
    "  --netG NAME      resnet_6blocks, resnet_9blocks (resnet_9blocks)\n"
    "  --ngf F          (64)            --batch N       (1)\n"
    "  --threads T      (2)             --rounds K      measured rounds (5)\n"
    "  --winograd auto|off|f2|f4        --kernels       also prints ours\n"
    "  --peers LIST     of torch,opencv (both); none: ours alone\n"
    "  --onnx FILE      for OpenCV; default: what export makes of the same weights\n"
    "\n"
    "In a round each runs once, one after the other, after a round that does not count; random\n"
    "weights, the same for all. A JSON line for each size and program: bench, who, netG, ngf,\n"
    "size, batch, threads, rounds, median_s, min_s, max_s (of a batch), img_per_s (from the\n"
    "median), peak_mb (of the process so far: larger sizes come later), ratio (ours per second by\n"
    "its per second: median of the rounds; above 1 we are faster), difference (largest, from our\n"
    "output). A peer that is not installed is told of on stderr and left out.\n";

#define SIZES_MAX 16
#define ROUNDS_MAX 1000

struct bench {
    int sizes[SIZES_MAX], n_sizes;
    const char *arch, *winograd, *peers, *onnx;
    int ngf, batch, threads, rounds;
    bool kernels;
    char folder[64];
};

// A program beside ours.
struct peer {
    const char *who;
    pid_t pid;
    FILE *to, *from;
};

// ---- command line ----

static int number(const char *text, int least, int *ret) {
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < least || value > INT_MAX)
        return err_set(ERR_USAGE, "'%s' is no number from %d", text, least);
    *ret = (int)value;
    return ERR_OK;
}

static int read_sizes(char *text, struct bench *b) {
    char *rest = NULL;
    int err = ERR_OK;

    b->n_sizes = 0;
    for (char *word = strtok_r(text, ",", &rest); word && !err; word = strtok_r(NULL, ",", &rest)) {
        if (b->n_sizes == SIZES_MAX)
            return err_set(ERR_USAGE, "more than %d sizes", SIZES_MAX);
        err = number(word, 1, &b->sizes[b->n_sizes++]);
    }
    return err;
}

static int read_flag(struct bench *b, int flag) {
    switch (flag) {
    case 's':
        return read_sizes(optarg, b);
    case 'G':
        b->arch = optarg;
        return ERR_OK;
    case 'g':
        return number(optarg, 1, &b->ngf);
    case 'b':
        return number(optarg, 1, &b->batch);
    case 't':
        return number(optarg, 1, &b->threads);
    case 'r': {
        int err = number(optarg, 1, &b->rounds);
        b->rounds = MIN(b->rounds, ROUNDS_MAX);
        return err;
    }
    case 'w':
        b->winograd = optarg;
        return ERR_OK;
    case 'p':
        b->peers = optarg;
        return ERR_OK;
    case 'o':
        b->onnx = optarg;
        return ERR_OK;
    case 'k':
        b->kernels = true;
        return ERR_OK;
    case 'h':
        fputs(help, stdout);
        return ERR_STOPPED;
    default:
        return err_set(ERR_USAGE, "see --help");
    }
}

static int read_arguments(int argc, char **argv, struct bench *b) {
    static const struct option flags[] = {
        {"sizes", 1, NULL, 's'},    {"netG", 1, NULL, 'G'},    {"ngf", 1, NULL, 'g'},
        {"batch", 1, NULL, 'b'},    {"threads", 1, NULL, 't'}, {"rounds", 1, NULL, 'r'},
        {"winograd", 1, NULL, 'w'}, {"peers", 1, NULL, 'p'},   {"onnx", 1, NULL, 'o'},
        {"kernels", 0, NULL, 'k'},  {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0},
    };
    int flag, err = ERR_OK;

    while (!err && (flag = getopt_long(argc, argv, "", flags, NULL)) != -1)
        err = read_flag(b, flag);
    if (!err && optind < argc)
        err = err_set(ERR_USAGE, "what is '%s'? see --help", argv[optind]);
    return err;
}

// ---- peers ----

static char *path_in(const struct bench *b, const char *name) {
    return xasprintf("%s/%s", b->folder, name);
}

static void exec_peer(const struct bench *b, const char *who, int in, int out) {
    char *spec = xasprintf("resnet:%c,f=%d", b->arch[7], b->ngf),
         *weights = path_in(b, "G.safetensors");
    char *onnx = b->onnx ? xstrdup(b->onnx) : path_in(b, "G.onnx");
    char *threads = xasprintf("%d", b->threads);

    (void)dup2(in, 0); // without them it ends at once
    (void)dup2(out, 1);
    (void)setenv("OMP_NUM_THREADS", threads, 1);
    (void)execl("/usr/bin/python3", "python3", "tests/trainer/translate/translate_peer.py", who,
                spec, weights, onnx, threads, NULL);
    _exit(127);
}

// False if it does not come up.
static bool peer_open(const struct bench *b, const char *who, struct peer *ret) {
    int to[2], from[2];
    char line[64];

    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
        BUG("no pipe");
    struct peer p = {.who = who, .pid = fork()};
    if (p.pid == 0)
        exec_peer(b, who, to[0], from[1]);
    (void)close(to[0]); // the peer's ends
    (void)close(from[1]);
    p.to = fdopen(to[1], "w");
    p.from = fdopen(from[0], "r");
    *ret = p;
    if (fgets(line, sizeof line, p.from) && !strcmp(line, "ready\n"))
        return true;
    fprintf(stderr,
            "bench_translate: no %s: Debian has it as python3-%s; run from the project's "
            "folder\n",
            who, who);
    return false;
}

static void peer_close(struct peer *p) {
    if (p->pid <= 0)
        return;
    (void)fclose(p->to); // it ends at the end of its input
    (void)fclose(p->from);
    (void)waitpid(p->pid, NULL, 0);
}

static double ask(const struct peer *p, const char *question) {
    char line[64];

    fprintf(p->to, "%s\n", question);
    (void)fflush(p->to); // a dead peer does not answer
    return fgets(line, sizeof line, p->from) ? strtod(line, NULL) : NAN;
}

// ---- ours ----

static int save_onnx(const struct bench *b, const char *from) {
    struct weights *w = NULL;
    struct recognised found;
    char *path = path_in(b, "G.onnx");
    int err = weights_open(from, &w);

    if (!err)
        err = recognise(w, &found);
    if (!err)
        err = onnx_write(w, &found, false, path);
    weights_close(w);
    free(path);
    return err;
}

static int save_weights(const struct bench *b, struct translator *t) {
    const struct model_net *net = translator_params(t);
    struct safetensor *tensors = xcalloc((size_t)net->n_params, sizeof *tensors);
    char *path = path_in(b, "G.safetensors");

    for (int i = 0; i < net->n_params; i++) {
        const struct model_param *p = &net->params[i];
        tensors[i] = (struct safetensor){
            .name = p->key, .type = SAFETENSORS_F32, .rank = p->rank, .data = p->w};
        memcpy(tensors[i].dims, p->dims, sizeof p->dims);
    }
    int err = safetensors_write(path, tensors, net->n_params);
    if (!err)
        err = save_onnx(b, path);
    free(path);
    free(tensors);
    return err;
}

// Random weights of a size that keeps the picture in it. Biases differ, or an exporter would share
// them.
static void fill(struct model_param *p, int i) {
    struct init_args args = {.type = INIT_NORMAL, .gain = 0.02, .seed = 1, .sub = (uint32_t)i};

    init_param(&args, p);
    for (size_t k = 0; p->kind == PARAM_BIAS && k < p->count; k++)
        p->w[k] = (float)(0.02 * rng_uniform(1, RNG_TEST, (uint64_t)i + 2, (uint32_t)k));
}

static int open_ours(const struct bench *b, struct translator **ret) {
    struct translator_options o = {
        .net = {.arch = b->arch, .in_nc = 3, .out_nc = 3, .nf = b->ngf, .norm = "instance"},
        .device = "cpu",
        .winograd = b->winograd,
        .threads = b->threads};
    int err = translator_new(&o, ret);

    if (err)
        return err;
    struct model_net *net = translator_params(*ret);
    for (int i = 0; i < net->n_params; i++)
        fill(&net->params[i], i);
    err = translator_ready(*ret);
    return err ? err : save_weights(b, *ret);
}

static double run_ours(struct translator *t, const float *x, size_t count, float *y) {
    int64_t begun = now_us();
    size_t bytes = count * sizeof *x;

    memcpy(translator_input(t), x, bytes);
    if (translator_run(t))
        BUG("%s", err_text());
    memcpy(y, translator_output(t), bytes);
    return (double)(now_us() - begun) / 1e6;
}

// ---- a size ----

#define OURS 0
#define RUNNERS 3

struct measured {
    const char *who;
    double seconds[ROUNDS_MAX], peak_mb, difference;
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(const double *values, int n) {
    double sorted[ROUNDS_MAX];

    memcpy(sorted, values, (size_t)n * sizeof *values);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void print(const struct bench *b, int size, const struct measured *m,
                  const struct measured *ours) {
    double ratios[ROUNDS_MAX] = {0}, least = m->seconds[0], most = least;

    for (int i = 0; i < b->rounds; i++) {
        ratios[i] = m->seconds[i] / ours->seconds[i];
        least = fmin(least, m->seconds[i]);
        most = fmax(most, m->seconds[i]);
    }
    printf("{\"bench\":\"translate\",\"who\":\"%s\",\"netG\":\"%s\",\"ngf\":%d,\"size\":%d,"
           "\"batch\":%d,\"threads\":%d,\"rounds\":%d,\"median_s\":%.4f,\"min_s\":%.4f,"
           "\"max_s\":%.4f,\"img_per_s\":%.3f,\"peak_mb\":%.1f,\"ratio\":%.3f,"
           "\"difference\":%.2g}\n",
           m->who, b->arch, b->ngf, size, b->batch, b->threads, b->rounds,
           median(m->seconds, b->rounds), least, most, b->batch / median(m->seconds, b->rounds),
           m->peak_mb, median(ratios, b->rounds), m->difference);
    (void)fflush(stdout); // a bench that nobody reads
}

// [n,3,s,s] to [n,s,s,3].
static void to_ours(int n, int s, const float *planes, float *ret) {
    size_t pixels = (size_t)s * (size_t)s;

    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t c = 0; c < 3; c++)
                ret[(i * pixels + p) * 3 + c] = planes[(i * 3 + c) * pixels + p];
}

static void make_pictures(const struct bench *b, float *planes, size_t count) {
    char *path = path_in(b, "in");

    for (size_t i = 0; i < count; i++)
        planes[i] = (float)(2 * rng_uniform(1, RNG_TEST, 1, (uint32_t)i) - 1);
    if (fs_write_atomic(path, planes, count * sizeof *planes))
        BUG("%s", err_text());
    free(path);
}

// The largest difference of a peer's output from ours.
static double difference(const struct bench *b, int size, const float *ours, size_t count) {
    char *path = path_in(b, "out");
    float *theirs = xmalloc(count * sizeof *theirs);
    uint8_t *bytes = NULL;
    size_t n = 0;
    double worst = NAN;

    if (!fs_read(path, SIZE_MAX, &bytes, &n) && n == count * sizeof *theirs) {
        float *planes = xmalloc(n);
        memcpy(planes, bytes, n);
        to_ours(b->batch, size, planes, theirs);
        free(planes);
        worst = 0;
        for (size_t i = 0; i < count; i++)
            worst = fmax(worst, fabs((double)theirs[i] - ours[i]));
    }
    free(bytes);
    free(theirs);
    free(path);
    return worst;
}

static int run_size(const struct bench *b, struct translator *t, const struct peer *peers,
                    int n_peers, int size) {
    static struct measured all[RUNNERS];
    size_t count = (size_t)b->batch * 3 * (size_t)size * (size_t)size;
    float *planes = xmalloc(count * sizeof *planes), *x = xmalloc(count * sizeof *x);
    float *y = xmalloc(count * sizeof *y);
    char *once =
        xasprintf("once %d %d %d %s/in %s/out", b->batch, size, size, b->folder, b->folder);
    int err = translator_shape(t, b->batch, size, size);

    make_pictures(b, planes, count);
    to_ours(b->batch, size, planes, x);
    for (int r = -1; r < b->rounds && !err; r++) {
        all[OURS].seconds[MAX(r, 0)] = run_ours(t, x, count, y);
        for (int i = 0; i < n_peers; i++) {
            all[1 + i].seconds[MAX(r, 0)] = ask(&peers[i], once);
            all[1 + i].difference = difference(b, size, y, count);
        }
    }
    all[OURS].who = "ours";
    all[OURS].peak_mb = (double)memory_peak() / 1e6;
    for (int i = 0; i < n_peers; i++) {
        all[1 + i].who = peers[i].who;
        all[1 + i].peak_mb = ask(&peers[i], "peak") * 1024 / 1e6;
    }
    for (int i = 0; i <= n_peers && !err; i++)
        print(b, size, &all[i], &all[OURS]);
    free(once);
    free(planes);
    free(x);
    free(y);
    return err;
}

// ---- the whole ----

static int run_sizes(const struct bench *b, struct translator *t, const struct peer *peers,
                     int n_peers) {
    int err = ERR_OK;

    for (int i = 0; i < b->n_sizes && !err; i++)
        err = run_size(b, t, peers, n_peers, b->sizes[i]);
    char *kernels = b->kernels ? translator_kernels(t) : NULL;
    if (kernels)
        fputs(kernels, stderr);
    free(kernels);
    return err;
}

static int run(struct bench *b) {
    static const char *const names[] = {"torch", "opencv"};
    struct peer peers[COUNT(names)] = {0};
    struct translator *t = NULL;
    int n = 0, err = ERR_OK;

    if (strncmp(b->arch, "resnet_", 7) != 0)
        return err_set(ERR_USAGE, "--netG %s: resnet_6blocks or resnet_9blocks", b->arch);
    (void)text_copy(b->folder, sizeof b->folder, "/tmp/bench_translate-XXXXXX");
    if (!mkdtemp(b->folder))
        return err_set(ERR_IO, "make '%s': %s", b->folder, strerror(errno));
    (void)signal(SIGPIPE, SIG_IGN); // a peer that is dead
    err = open_ours(b, &t);
    for (size_t i = 0; i < COUNT(names) && !err; i++)
        if (strstr(b->peers, names[i])) {
            if (peer_open(b, names[i], &peers[n]))
                n++;
            else
                peer_close(&peers[n]);
        }
    if (!err)
        err = run_sizes(b, t, peers, n);
    for (int i = 0; i < n; i++)
        peer_close(&peers[i]);
    translator_free(t);
    (void)fs_remove_tree(b->folder); // in /tmp
    return err;
}

int main(int argc, char **argv) {
    struct bench b = {.sizes = {128, 256, 512},
                      .n_sizes = 3,
                      .arch = "resnet_9blocks",
                      .winograd = "auto",
                      .peers = "torch,opencv",
                      .ngf = 64,
                      .batch = 1,
                      .threads = 2,
                      .rounds = 5};

    threads_wait_briefly(argv);
    int err = read_arguments(argc, argv, &b);
    if (!err)
        err = run(&b);
    if (err && err != ERR_STOPPED)
        fprintf(stderr, "bench_translate: %s\n", err_text());
    return err_exit_code(err);
}
