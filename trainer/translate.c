// translate - uses what was trained: pictures through one generator.
//
// Knows no sockets; the run need not be up.
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/memory.h"
#include "base/err.h"
#include "base/instructions.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "base/version_text.h"
#include "image/settings.h"
#include "threads.h"
#include "translate/conveyor.h"
#include "translate/listing.h"
#include "translate/origin.h"
#include "translate/tally.h"
#include "translate/translation.h"
#include "weights/weights.h"

// What reading ahead and writing behind may hold.
#define IN_FLIGHT ((size_t)256 << 20)

static const char help[] =
    "translate - translates pictures with a trained generator\n"
    "\n"
    "  translate --run RUN [--step S] [--direction AtoB|BtoA] [options] IN OUT\n"
    "  translate --checkpoint DIR [--direction AtoB|BtoA] [options] IN OUT\n"
    "  translate --weights FILE [options] IN OUT\n"
    "\n"
    "  --run RUN         the run: its NAME through ./pipeline, else its folder (runs/NAME)\n"
    "  --step S          of a checkpoint, or best; default: the latest\n"
    "  --raw             the weights as trained, where the run also kept their average\n"
    "  --checkpoint DIR  a checkpoint's folder, also without its run\n"
    "  --weights FILE    a generator's .pth (PyTorch, also the reference's) or .safetensors; "
    "which\n"
    "                    network it is, its names and shapes say\n"
    "  --direction D     AtoB or BtoA; default: the run's direction\n"
    "\n"
    "  --recursive, -r   also the folders in IN; OUT gets the same folders\n"
    "  --format F        png or jpg; default: png, or what the name OUT says\n"
    "  --quality Q       of jpg, 1 to 100; default 95\n"
    "  --resume          leave outputs that are there, make the rest\n"
    "  --force           replace outputs that are there\n"
    "  --memory SIZE     what all of it may take, like \"1 GiB\": a picture that needs more is "
    "done\n"
    "                    in bands of rows, without a seam; default: translate.memory of the run.\n"
    "                    With a GPU it bounds the GPU's memory and the host's, each; bands are "
    "the\n"
    "                    CPU's work\n"
    "  --scratch DIR     for files that bands need where that does not suffice; default: OUT\n"
    "  --batch N         pictures of one size at a time; default 1\n"
    "  --threads T       of the network; default: one per core\n"
    "  --jobs N          threads that read and write pictures beside it; default 2\n"
    "  --device D        cpu, cuda or auto (cuda where it works); default: as the run's settings "
    "say,\n"
    "                    the CPU where their GPU is not; of a file auto\n"
    "  --gpu N           which of the GPUs that CUDA_VISIBLE_DEVICES leaves, from 0\n"
    "  --dtype T         of cuda: bf16, tf32 or fp32; default: as the settings say, or tf32\n"
    "  --max-megapixels N  larger pictures are left out; default 64\n"
    "  --quiet           only failures and the sum\n"
    "  --help, --version\n"
    "\n"
    "IN is a picture or a folder of pictures (JPEG, PNG, WebP) of any size; they are translated\n"
    "whole: padded by reflection to what the network takes, and cut back. Transparency and\n"
    "the orientation that a camera has noted are treated as in training (loader.alpha, "
    "loader.exif\n"
    "of the run: dropped and ignored unless set), 16 bits, CMYK and palettes too.\n"
    "OUT is a folder, or a file NAME.png or NAME.jpg for a single picture. Pictures keep their\n"
    "names.\n"
    "\n"
    "Exit codes: 0 all are translated, or were; 1 some could not be, each was named with the\n"
    "reason; 2 wrong use, also outputs that exist without --resume or --force: nothing was done;\n"
    "69 the GPU failed in the middle of the work; 78 the weights, the settings, the device or the\n"
    "disk cannot work.\n";

struct request {
    struct origin_request origin;
    struct listing_options listing;
    int64_t memory; // -1: as the settings say
    const char *scratch;
    int batch, jobs, quality, megapixels; // quality 0: as the settings say
    bool quiet;
};

// ---- command line ----

static int read_number(const char *name, const char *text, int max, int *ret) {
    char *end;
    long n = strtol(text, &end, 10);
    if (!*text || *end || n < 1 || n > max)
        return err_set(ERR_USAGE, "--%s: '%s' is not a number from 1 to %d", name, text, max);
    *ret = (int)n;
    return ERR_OK;
}

static int read_choice(const char *name, const char *text, const char *a, const char *b,
                       const char **ret) {
    if (strcmp(text, a) != 0 && strcmp(text, b) != 0)
        return err_set(ERR_USAGE, "--%s is %s or %s, not '%s'", name, a, b, text);
    *ret = text;
    return ERR_OK;
}

static int read_one_of_three(const char *name, const char *text, const char *const choices[3],
                             const char **ret) {
    for (int i = 0; i < 3; i++)
        if (strcmp(text, choices[i]) == 0) {
            *ret = text;
            return ERR_OK;
        }
    return err_set(ERR_USAGE, "--%s is %s, %s or %s, not '%s'", name, choices[0], choices[1],
                   choices[2], text);
}

static int read_gpu(const char *text, int *ret) {
    int n = 0;
    if (strcmp(text, "0") == 0) {
        *ret = 0;
        return ERR_OK;
    }
    if (read_number("gpu", text, 1023, &n))
        return err_set(ERR_USAGE, "--gpu: '%s' is not a number from 0 to 1023", text);
    *ret = n;
    return ERR_OK;
}

static int read_existing(enum listing_existing existing, struct request *r) {
    if (r->listing.existing != LISTING_REFUSE && r->listing.existing != existing)
        return err_set(ERR_USAGE, "--force or --resume, not both");
    r->listing.existing = existing;
    return ERR_OK;
}

enum flag {
    RUN,
    STEP,
    CHECKPOINT,
    WEIGHTS,
    DIRECTION,
    FORMAT,
    QUALITY,
    RESUME,
    FORCE,
    MEMORY,
    SCRATCH,
    BATCH,
    THREADS,
    JOBS,
    DEVICE,
    GPU,
    DTYPE,
    MEGAPIXELS,
    QUIET,
    RAW,
    HELP,
    VERSION,
    RECURSIVE = 'r',
};

static const struct option flags[] = {
    {"run", 1, NULL, RUN},
    {"step", 1, NULL, STEP},
    {"raw", 0, NULL, RAW},
    {"checkpoint", 1, NULL, CHECKPOINT},
    {"weights", 1, NULL, WEIGHTS},
    {"direction", 1, NULL, DIRECTION},
    {"recursive", 0, NULL, RECURSIVE},
    {"format", 1, NULL, FORMAT},
    {"quality", 1, NULL, QUALITY},
    {"resume", 0, NULL, RESUME},
    {"force", 0, NULL, FORCE},
    {"memory", 1, NULL, MEMORY},
    {"scratch", 1, NULL, SCRATCH},
    {"batch", 1, NULL, BATCH},
    {"threads", 1, NULL, THREADS},
    {"jobs", 1, NULL, JOBS},
    {"device", 1, NULL, DEVICE},
    {"gpu", 1, NULL, GPU},
    {"dtype", 1, NULL, DTYPE},
    {"max-megapixels", 1, NULL, MEGAPIXELS},
    {"quiet", 0, NULL, QUIET},
    {"help", 0, NULL, HELP},
    {"version", 0, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

static int read_flag(int flag, const char *value, struct request *r) {
    static const char *const devices[] = {"cpu", "cuda", "auto"};
    static const char *const dtypes[] = {"bf16", "tf32", "fp32"};

    switch (flag) {
    case RUN:
        r->origin.run = value;
        return ERR_OK;
    case STEP:
        r->origin.step = value;
        return ERR_OK;
    case RAW:
        r->origin.raw = true;
        return ERR_OK;
    case CHECKPOINT:
        r->origin.checkpoint = value;
        return ERR_OK;
    case WEIGHTS:
        r->origin.weights = value;
        return ERR_OK;
    case DIRECTION:
        return read_choice("direction", value, "AtoB", "BtoA", &r->origin.direction);
    case RECURSIVE:
        r->listing.recursive = true;
        return ERR_OK;
    case FORMAT:
        return read_choice("format", strcmp(value, "jpeg") ? value : "jpg", "png", "jpg",
                           &r->listing.format);
    case QUALITY:
        return read_number("quality", value, 100, &r->quality);
    case RESUME:
        return read_existing(LISTING_KEEP, r);
    case FORCE:
        return read_existing(LISTING_REPLACE, r);
    case MEMORY:
        return parse_size(value, &r->memory)
                   ? ERR_OK
                   : err_set(ERR_USAGE, "--memory is a size like \"1 GiB\", not '%s'", value);
    case SCRATCH:
        r->scratch = value;
        return ERR_OK;
    case BATCH:
        return read_number("batch", value, 256, &r->batch);
    case THREADS:
        return read_number("threads", value, 1024, &r->origin.threads);
    case JOBS:
        return read_number("jobs", value, 64, &r->jobs);
    case DEVICE:
        return read_one_of_three("device", value, devices, &r->origin.device);
    case GPU:
        return read_gpu(value, &r->origin.gpu);
    case DTYPE:
        return read_one_of_three("dtype", value, dtypes, &r->origin.dtype);
    case MEGAPIXELS:
        return read_number("max-megapixels", value, 1 << 20, &r->megapixels);
    case QUIET:
        r->quiet = true;
        return ERR_OK;
    case HELP:
        fputs(help, stdout);
        return ERR_STOPPED;
    case VERSION:
        printf("translate %s\n", version_text());
        return ERR_STOPPED;
    default:
        return err_set(ERR_USAGE, "see translate --help");
    }
}

static int read_arguments(int argc, char **argv, struct request *ret) {
    struct request r = {.origin.gpu = -1, .memory = -1, .batch = 1, .jobs = 2, .megapixels = 64};
    int flag, err = ERR_OK;
    while (!err && (flag = getopt_long(argc, argv, "r", flags, NULL)) != -1)
        err = read_flag(flag, optarg, &r);
    if (err)
        return err;
    if (argc - optind != 2)
        return err_set(ERR_USAGE, "IN and OUT are needed, not %d words; see translate --help",
                       argc - optind);
    r.listing.in = argv[optind];
    r.listing.out = argv[optind + 1];
    *ret = r;
    return ERR_OK;
}

// ---- the whole ----

static void ended(void *context, const struct conveyor_job *job, const char *problem) {
    tally_ended(context, problem);
}

static void say_lines(struct tally *tally, char *text) {
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        tally_say(tally, line);
}

// Pictures are read as in training.
static struct image_how how_of(const struct origin *origin, int megapixels) {
    const struct config_loader *loader = origin->config ? &origin->config->loader : NULL;
    return image_settings_how(loader, (int64_t)megapixels << 20);
}

// Where neither the command line nor the name of OUT says it, the run's settings do.
static void take_settings(const struct config *c, struct request *r) {
    if (r->memory < 0)
        r->memory = c ? c->translate.memory : 0;
    if (!r->quality)
        r->quality = c ? (int)c->translate.quality : 95;
    r->listing.usual = c ? c->translate.format : "png";
}

// The folder of the first output, which listing_make has made.
static char *scratch_folder(const struct request *r, const struct listing *listing) {
    if (r->scratch || !listing->n)
        return xstrdup(r->scratch ? r->scratch : ".");
    const char *out = listing->items[0].out, *slash = strrchr(out, '/');
    return slash ? xasprintf("%.*s", (int)MAX(slash - out, 1), out) : xstrdup(".");
}

static int translate(const struct request *r, const struct listing *listing, struct origin *origin,
                     struct tally *tally) {
    size_t memory = (size_t)r->memory;
    struct conveyor_options conveyor = {
        .listing = listing,
        .channels_in = translator_channels_in(origin->translator),
        .channels_out = translator_channels_out(origin->translator),
        .threads = r->jobs,
        .quality = r->quality,
        .bytes = memory ? MIN(IN_FLIGHT, memory / 8) : IN_FLIGHT,
        .how = how_of(origin, r->megapixels),
        .ended = ended,
        .context = tally,
    };
    char *scratch = scratch_folder(r, listing);
    struct translation_options o = {.translator = origin->translator,
                                    .tally = tally,
                                    .batch = r->batch,
                                    .memory = memory,
                                    .resident = memory_resident(),
                                    .in_flight = conveyor.bytes,
                                    .scratch = scratch};
    o.conveyor = conveyor_open(&conveyor);
    int err = translation_run(&o), closed = conveyor_close(o.conveyor);
    free(scratch);
    return err ? err : closed;
}

static int translate_listing(const struct request *r, const struct listing *listing,
                             struct origin *origin) {
    struct tally *tally = tally_new(listing->n, r->quiet);
    if (!r->quiet)
        say_lines(tally, origin->text);
    if (listing->linked) {
        char text[96];
        (void)snprintf(text, sizeof text, "warning: %d links to folders were not followed",
                       listing->linked); // fits
        tally_say(tally, text);
    }
    int err = translate(r, listing, origin, tally), failed = tally_failed(tally);
    tally_end(tally, listing->present);
    if (!err && failed)
        err = err_set(ERR_FORMAT, "%d of %d files could not be translated", failed, listing->n);
    return err;
}

// Weights that cannot be read fail as a whole, not as some of the pictures do.
static int open_origin(const struct request *r, struct origin *ret) {
    return weights_unusable(origin_open(&r->origin, ret));
}

static int run(struct request *r) {
    struct listing listing = {0};
    struct origin origin = {0};
    int err = open_origin(r, &origin);
    if (!err) {
        take_settings(origin.config, r);
        err = listing_make(&r->listing, &listing);
    }
    if (!err)
        err = translate_listing(r, &listing, &origin);
    origin_close(&origin);
    listing_fini(&listing);
    return err;
}

// Memory that is given back is given to the system, so that a bound on it can be kept.
static void return_memory(void) {
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20); // without it, it takes some more
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int main(int argc, char **argv) {
    threads_wait_briefly(argv);
    struct request request = {.memory = -1};
    return_memory();
    log_name("translate");
    int err = instructions_check();
    if (!err)
        err = read_arguments(argc, argv, &request);
    if (!err)
        err = run(&request);
    if (err && err != ERR_STOPPED)
        log_line("%s", err_text());
    return err_exit_code(err);
}
