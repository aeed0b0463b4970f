// bench_step - how long a training step takes. No sockets.
//
// Random pictures, fresh weights, the fakes handed straight back as if a pool had passed them on.
// One JSON line on stdout; see --help.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "base/version_text.h"
#include "models/model.h"
#include "threads.h"

static const char help[] =
    "bench_step - time of a CycleGAN training step on random pictures\n"
    "\n"
    "  --size S       pictures are SxS (128)       --netG NAME    resnet_6blocks\n"
    "  --ngf F        generator width (64)         --netD NAME    basic\n"
    "  --ndf F        discriminator width (64)     --device NAME  cpu\n"
    "  --batch N      pictures of each domain (1)  --dtype NAME   bf16, tf32, fp32 (the device's)\n"
    "  --steps K      measured steps (5)           --winograd auto|off|f2|f4\n"
    "  --warmup K     steps before (1)             --threads T    (2)\n"
    "  --identity X   lambda_identity (0.5)        --kernels      also print the kernels\n"
    "\n"
    "Prints one JSON line: the settings, median_s_per_step, min_s_per_step, max_s_per_step,\n"
    "img_per_s (pictures of domain A per second, from the median), peak_mb (of the process),\n"
    "model_mb (what the model holds), of that maps_mb (activations), scratch_mb (the kernels'),\n"
    "parameters_mb (with gradients and moments), packed_mb (repacked parameters). Of a GPU also "
    "device_mb, the most of its memory that was\n"
    "held, and ahead_s_per_step: the mean of as many steps, each issued while the one before\n"
    "runs, as training does it.\n";

#define RING 4 // batches of pictures

struct bench {
    struct model_options options;
    int size, batch, steps, warmup;
    bool kernels;
    size_t bytes;      // of a batch of one domain
    uint8_t *pictures; // [RING,2,bytes]
};

static int number(const char *name, const char *text, int least, int *ret) {
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (*end || end == text || errno || value < least || value > INT_MAX)
        return err_set(ERR_USAGE, "--%s %s: a number from %d", name, text, least);
    *ret = (int)value;
    return ERR_OK;
}

static const struct option flags[] = {
    {"size", 1, NULL, 's'},
    {"ngf", 1, NULL, 'g'},
    {"ndf", 1, NULL, 'd'},
    {"batch", 1, NULL, 'b'},
    {"steps", 1, NULL, 'k'},
    {"warmup", 1, NULL, 'w'},
    {"threads", 1, NULL, 't'},
    {"netG", 1, NULL, 'G'},
    {"netD", 1, NULL, 'D'},
    {"device", 1, NULL, 'v'},
    {"dtype", 1, NULL, 'y'},
    {"winograd", 1, NULL, 'o'},
    {"identity", 1, NULL, 'i'},
    {"kernels", 0, NULL, 'K'},
    {"help", 0, NULL, 'h'},
    {"version", 0, NULL, 'V'},
    {0},
};

static int set_flag(struct bench *b, int flag, const char *name) {
    switch (flag) {
    case 's':
        return number(name, optarg, 1, &b->size);
    case 'g':
        return number(name, optarg, 1, &b->options.ngf);
    case 'd':
        return number(name, optarg, 1, &b->options.ndf);
    case 'b':
        return number(name, optarg, 1, &b->batch);
    case 'k':
        return number(name, optarg, 1, &b->steps);
    case 'w':
        return number(name, optarg, 0, &b->warmup);
    case 't':
        return number(name, optarg, 1, &b->options.threads);
    case 'G':
        b->options.netG = optarg;
        return ERR_OK;
    case 'D':
        b->options.netD = optarg;
        return ERR_OK;
    case 'v':
        b->options.device = optarg;
        return ERR_OK;
    case 'o':
        b->options.winograd = optarg;
        return ERR_OK;
    case 'i':
        b->options.lambda_identity = strtod(optarg, NULL);
        return ERR_OK;
    case 'K':
        b->kernels = true;
        return ERR_OK;
    case 'y':
        b->options.dtype = optarg;
        return ERR_OK;
    default:
        return err_set(ERR_USAGE, "unknown option; --help lists them");
    }
}

static void draw_pictures(struct bench *b) {
    b->bytes = (size_t)b->batch * (size_t)b->size * (size_t)b->size * 3;
    b->pictures = xmalloc(2 * RING * b->bytes);
    for (size_t i = 0; i < 2 * RING * b->bytes; i++)
        b->pictures[i] = (uint8_t)rng_block(1, RNG_TEST, i / 4, 0).v[i % 4];
}

static const uint8_t *pictures_of(const struct bench *b, int d, int number) {
    return b->pictures + (size_t)(number % RING * 2 + d) * b->bytes;
}

static int feed(const struct bench *b, struct model *m, int number) {
    int err = model_feed(m, MODEL_A, pictures_of(b, MODEL_A, number));

    return err ? err : model_feed(m, MODEL_B, pictures_of(b, MODEL_B, number));
}

static int feed_ahead(const struct bench *b, struct model *m, int number) {
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++)
        err = model_prefetch(m, (enum model_domain)d, b->batch, b->size, b->size,
                             pictures_of(b, d, number));
    return err;
}

// With `ahead` the step before ends meanwhile, else this one does.
static int step(const struct bench *b, struct model *m, int number, bool ahead) {
    int err = feed(b, m, number);

    if (!err)
        err = model_generate(m);
    if (!err && ahead)
        err = model_wait(m);
    if (!err)
        err = model_update_g(m, 2e-4);
    if (!err && ahead)
        err = feed_ahead(b, m, number + 1);
    if (!err)
        err = model_update_d(m, 2e-4, NULL, NULL);
    return err || ahead ? err : model_wait(m);
}

static int run_ahead(const struct bench *b, struct model *m, double *ret_seconds) {
    int64_t begun = now_us();
    int err = ERR_OK;

    for (int i = 0; i < b->steps && !err; i++)
        err = step(b, m, i, true);
    if (!err)
        err = model_wait(m);
    *ret_seconds = (double)(now_us() - begun) * 1e-6 / b->steps;
    return err;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double mib(size_t bytes) {
    return (double)bytes / 1048576;
}

static void report(const struct bench *b, const struct model *m, double *seconds, double ahead) {
    const struct model_options *o = &b->options;
    struct model_memory all = model_memory(m);
    struct rusage usage;
    double median;

    qsort(seconds, (size_t)b->steps, sizeof *seconds, by_value);
    median = (seconds[(b->steps - 1) / 2] + seconds[b->steps / 2]) / 2;
    (void)getrusage(RUSAGE_SELF, &usage); // cannot fail for RUSAGE_SELF
    printf("{\"bench\":\"step\",\"device\":\"%s\",\"netG\":\"%s\",\"netD\":\"%s\",\"size\":%d,"
           "\"ngf\":%d,\"ndf\":%d,\"batch\":%d,\"threads\":%d,\"dtype\":\"%s\","
           "\"winograd\":\"%s\",\"steps\":%d,\"median_s_per_step\":%.6f,\"min_s_per_step\":%.6f,"
           "\"max_s_per_step\":%.6f,\"img_per_s\":%.3f,\"peak_mb\":%.1f,\"model_mb\":%.1f",
           o->device, o->netG, o->netD, b->size, o->ngf, o->ndf, b->batch, o->threads,
           model_dtype(m), o->winograd, b->steps, median, seconds[0], seconds[b->steps - 1],
           b->batch / median, (double)usage.ru_maxrss / 1024, mib(model_memory_bytes(m)));
    printf(",\"maps_mb\":%.1f,\"scratch_mb\":%.1f,\"parameters_mb\":%.1f,\"packed_mb\":%.1f",
           mib(all.maps), mib(all.scratch), mib(all.parameters), mib(all.packed));
    if (ahead > 0)
        printf(",\"device_mb\":%.1f,\"ahead_s_per_step\":%.6f", mib(model_device_memory_peak(m)),
               ahead);
    printf("}\n");
}

static int measure(struct bench *b, struct model *m) {
    double *seconds = xcalloc((size_t)b->steps, sizeof *seconds), ahead = 0;
    int err = model_init(m, "normal", 0.02, 1);

    if (!err)
        err = model_shape(m, b->batch, b->size, b->size, b->size, b->size);
    for (int i = -b->warmup; i < b->steps && !err; i++) {
        int64_t start = now_us();
        err = step(b, m, i + b->warmup, false);
        if (i >= 0)
            seconds[i] = (double)(now_us() - start) * 1e-6;
    }
    if (!err && model_is_asynchronous(m))
        err = run_ahead(b, m, &ahead);
    if (!err)
        report(b, m, seconds, ahead);
    free(seconds);
    return err;
}

static int run(struct bench *b) {
    struct model *m;
    int err = model_new(&b->options, &m);

    if (err)
        return err;
    draw_pictures(b);
    err = measure(b, m);
    free(b->pictures);
    if (!err && b->kernels) {
        char *text = model_kernels(m);
        (void)fputs(text, stderr); // for a person
        free(text);
    }
    model_free(m);
    return err;
}

int main(int argc, char **argv) {
    threads_wait_briefly(argv);
    struct bench b = {
        .size = 128,
        .batch = 1,
        .steps = 5,
        .warmup = 1,
        .options = {.model = "cycle_gan",
                    .device = "cpu",
                    .netG = "resnet_6blocks",
                    .netD = "basic",
                    .norm = "instance",
                    .gan_mode = "lsgan",
                    .winograd = "auto",
                    .input_nc = 3,
                    .output_nc = 3,
                    .ngf = 64,
                    .ndf = 64,
                    .n_layers_D = 3,
                    .beta1 = 0.5,
                    .beta2 = 0.999,
                    .lambda_A = 10,
                    .lambda_B = 10,
                    .lambda_identity = 0.5,
                    .threads = 2,
                    .shapes = 1},
    };
    int flag, index = 0, err = ERR_OK;

    opterr = 0;
    while (!err && (flag = getopt_long(argc, argv, "", flags, &index)) != -1) {
        if (flag == 'h' || flag == 'V') {
            (void)printf("%s%s", flag == 'h' ? help : version_text(), flag == 'h' ? "" : "\n");
            return 0;
        }
        err = set_flag(&b, flag, flag == '?' ? "" : flags[index].name);
    }
    if (!err && optind < argc)
        err = err_set(ERR_USAGE, "%s: no such argument", argv[optind]);
    if (!err)
        err = run(&b);
    if (err)
        (void)fprintf(stderr, "bench_step: %s\n", err_text());
    return err ? err_exit_code(err) : 0;
}
