// bench_step - how long a training step takes. No sockets.
//
// Random pictures, fresh weights, the fakes handed straight back as if a pool had passed them on.
// One JSON line on stdout; see --help.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/flags.h"
#include "base/rng.h"
#include "base/util.h"
#include "config/config.h"
#include "models/model.h"
#include "threads.h"

static const char intro[] = "bench_step - time of a CycleGAN training step on random pictures\n";
static const char notes[] =
    "Prints one JSON line: the settings, median_s_per_step, min_s_per_step, max_s_per_step,\n"
    "img_per_s (pictures of domain A per second, from the median), peak_mb (of the process),\n"
    "model_mb (what the model holds), of that maps_mb (activations), scratch_mb (the kernels'),\n"
    "parameters_mb (with gradients and moments), packed_mb (repacked parameters). Of a GPU also\n"
    "device_mb, the most of its memory that was held, and ahead_s_per_step: the mean of as many\n"
    "steps, each issued while the one before runs, as in training.\n";

// Several batches, so that no cache holds the input of a step from the one before.
#define RING 4 // batches of pictures

struct bench {
    // As the flags give them; settings_of puts the second half into the settings.
    int size, batch, steps, warmup;
    bool kernels;
    int threads, ngf, ndf;
    double identity;
    const char *netG, *netD, *device, *dtype, *winograd;
    size_t bytes;      // of a batch of one domain
    uint8_t *pictures; // [RING,2,bytes]
};

static int read_arguments(int argc, char **argv, struct bench *b) {
    const struct flag rows[] = {
        {.name = "--size",
         .value = "S",
         .number = &b->size,
         .min = 1,
         .help = "pictures are SxS; default 128"},
        {.name = "--batch",
         .value = "N",
         .number = &b->batch,
         .min = 1,
         .help = "pictures of each domain; default 1"},
        {.name = "--steps",
         .value = "K",
         .number = &b->steps,
         .min = 1,
         .help = "measured steps; default 5"},
        {.name = "--warmup",
         .value = "K",
         .number = &b->warmup,
         .help = "steps before the measured ones; default 1"},
        {.name = "--threads", .value = "T", .number = &b->threads, .min = 1, .help = "default 2"},
        {.name = "--netG", .value = "NAME", .text = &b->netG, .help = "default resnet_6blocks"},
        {.name = "--netD", .value = "NAME", .text = &b->netD, .help = "default basic"},
        {.name = "--ngf",
         .value = "F",
         .number = &b->ngf,
         .min = 1,
         .help = "generator width; default 64"},
        {.name = "--ndf",
         .value = "F",
         .number = &b->ndf,
         .min = 1,
         .help = "discriminator width; default 64"},
        {.name = "--identity",
         .value = "X",
         .real = &b->identity,
         .help = "lambda_identity; default 0.5"},
        {.name = "--device", .value = "NAME", .text = &b->device, .help = "default cpu"},
        {.name = "--dtype",
         .value = "NAME",
         .text = &b->dtype,
         .help = "bf16, tf32 or fp32; default: the device's"},
        {.name = "--winograd",
         .value = "NAME",
         .text = &b->winograd,
         .help = "auto, off, f2 or f4; default auto"},
        {.name = "--kernels", .on = &b->kernels, .help = "also print the kernels, on stderr"},
    };
    const struct flags flags = {"bench_step", intro, rows, COUNT(rows), notes};
    return flags_read(&flags, argc, argv);
}

static struct config_trainer settings_of(const struct bench *b) {
    // No configuration file: only the fields that a model reads are set.
    return (struct config_trainer){
        .model = "cycle_gan",
        .device = (char *)b->device, // read only, as all texts here
        .dtype = (char *)b->dtype,
        .netG = (char *)b->netG,
        .netD = (char *)b->netD,
        // The defaults of CycleGAN.
        .norm = "instance",
        .gan_mode = "lsgan",
        .winograd = (char *)b->winograd,
        .no_dropout = true,
        .input_nc = 3,
        .output_nc = 3,
        .ngf = b->ngf,
        .ndf = b->ndf,
        .n_layers_D = 3,
        .beta1 = 0.5,
        .beta2 = 0.999,
        .lambda_A = 10,
        .lambda_B = 10,
        .lambda_identity = b->identity,
        .threads = b->threads,
        .shapes = 1,
    };
}

static void draw_pictures(struct bench *b) {
    b->bytes = (size_t)b->batch * (size_t)b->size * (size_t)b->size * 3;
    b->pictures = xmalloc(2 * RING * b->bytes);
    for (size_t i = 0; i < 2 * RING * b->bytes; i++)
        // A function of the index: the same bytes for each run and device.
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
    // On a device, the order of training.c: the wait for the step before follows the forward pass.
    if (!err && ahead)
        err = model_wait(m);
    if (!err)
        err = model_update_g(m, 2e-4);
    if (!err && ahead)
        err = feed_ahead(b, m, number + 1);
    if (!err)
        err = model_update_d(m, 2e-4, NULL, NULL);
    // A measured single step includes its whole work.
    return err || ahead ? err : model_wait(m);
}

static int run_ahead(const struct bench *b, struct model *m, double *ret_seconds) {
    int64_t begun = now_us();
    int err = ERR_OK;

    for (int i = 0; i < b->steps && !err; i++)
        err = step(b, m, i, true);
    if (!err)
        // The last step has not ended yet; its time counts.
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
    struct model_memory all = model_memory(m);
    struct rusage usage;
    double median;

    qsort(seconds, (size_t)b->steps, sizeof *seconds, by_value);
    // Also right for an even number of steps.
    median = (seconds[(b->steps - 1) / 2] + seconds[b->steps / 2]) / 2;
    (void)getrusage(RUSAGE_SELF, &usage); // cannot fail for RUSAGE_SELF
    printf("{\"bench\":\"step\",\"device\":\"%s\",\"netG\":\"%s\",\"netD\":\"%s\",\"size\":%d,"
           "\"ngf\":%d,\"ndf\":%d,\"batch\":%d,\"threads\":%d,\"dtype\":\"%s\","
           "\"winograd\":\"%s\",\"steps\":%d,\"median_s_per_step\":%.6f,\"min_s_per_step\":%.6f,"
           "\"max_s_per_step\":%.6f,\"img_per_s\":%.3f,\"peak_mb\":%.1f,\"model_mb\":%.1f",
           b->device, b->netG, b->netD, b->size, b->ngf, b->ndf, b->batch, b->threads,
           model_dtype(m), b->winograd, b->steps, median, seconds[0], seconds[b->steps - 1],
           // Linux gives ru_maxrss in KiB.
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
    // The first steps build tapes and choose kernels.
    for (int i = -b->warmup; i < b->steps && !err; i++) {
        int64_t start = now_us();
        err = step(b, m, i + b->warmup, false);
        if (i >= 0)
            seconds[i] = (double)(now_us() - start) * 1e-6;
    }
    // On the CPU no step overlaps with another.
    if (!err && model_is_asynchronous(m))
        err = run_ahead(b, m, &ahead);
    if (!err)
        report(b, m, seconds, ahead);
    free(seconds);
    return err;
}

static int run(struct bench *b) {
    struct model *m;
    struct config_trainer settings = settings_of(b);
    int err = model_new(&settings, &(struct model_host){0}, &m);

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
    // First of all: it may start the program anew.
    threads_wait_briefly(argv);
    struct bench b = {
        .size = 128,
        .batch = 1,
        .steps = 5,
        .warmup = 1,
        .threads = 2,
        .ngf = 64,
        .ndf = 64,
        .identity = 0.5,
        .netG = "resnet_6blocks",
        .netD = "basic",
        .device = "cpu",
        .winograd = "auto",
    };
    int err = read_arguments(argc, argv, &b);
    if (!err)
        err = run(&b);
    if (err && err != ERR_STOPPED)
        (void)fprintf(stderr, "bench_step: %s\n", err_text());
    return err_exit_code(err);
}
