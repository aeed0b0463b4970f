// translate - translates pictures with one trained generator. The run need not be up.
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/memory.h"
#include "base/err.h"
#include "base/flags.h"
#include "base/instructions.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "image/settings.h"
#include "threads.h"
#include "translate/conveyor.h"
#include "translate/file_list.h"
#include "translate/progress_bar.h"
#include "translate/translation.h"
#include "translate/weights_source.h"
#include "weights/weights.h"

// Limit of decoded and encoded images in memory, besides those being translated.
#define IN_FLIGHT ((size_t)256 << 20)

struct request {
    struct weights_source_request source;
    struct file_list_options files;
    int64_t memory; // -1: as the settings say
    const char *scratch;
    const char *exif;                     // NULL: as the settings say
    int batch, jobs, quality, megapixels; // quality 0: as the settings say
    bool quiet, force, resume;
};

// ---- command line ----

static const char intro[] =
    "translate - translates pictures with a trained generator\n"
    "\n"
    "  translate --run RUN [--step S] [--direction AtoB|BtoA] [options] IN OUT\n"
    "  translate --checkpoint DIR [--direction AtoB|BtoA] [options] IN OUT\n"
    "  translate --weights FILE [options] IN OUT\n";

static const char notes[] =
    "IN is a picture or a folder of pictures (JPEG, PNG, WebP) of any size. They are translated\n"
    "whole: padded by reflection to a size that the network takes, and cropped afterwards.\n"
    "Transparency, camera orientation, 16 bits, CMYK and palettes are treated as in training\n"
    "(loader.alpha and loader.exif of the run; by default both are dropped).\n"
    "OUT is a folder, or a file NAME.png or NAME.jpg for a single picture. Pictures keep their\n"
    "names.\n"
    "\n"
    "Exit codes: 0 every picture is translated; 1 some could not be, each is named with the\n"
    "reason; 2 wrong use, or outputs exist and neither --resume nor --force is given: nothing was\n"
    "done; 69 the GPU failed during the work; 78 the weights, the settings, the device or the "
    "disk\n"
    "cannot be used.\n";

// The command line. File scope, so that the table of options can be constant.
static struct request request = {
    .source.gpu = -1, .memory = -1, .batch = 1, .jobs = 2, .megapixels = 64};

static const struct flag rows[] = {
    {.name = "--run",
     .value = "RUN",
     .text = &request.source.run,
     .help = "the run: its NAME through ./pipeline, else its folder (runs/NAME)"},
    {.name = "--step",
     .value = "S",
     .text = &request.source.step,
     .help = "of a checkpoint, or best; default: the latest"},
    {.name = "--raw",
     .on = &request.source.raw,
     .help = "the weights as trained, if the run also kept their average"},
    {.name = "--checkpoint",
     .value = "DIR",
     .text = &request.source.checkpoint,
     .help = "the folder of a checkpoint, also without its run"},
    {.name = "--weights",
     .value = "FILE",
     .text = &request.source.weights,
     .help = "a generator's .pth (PyTorch) or .safetensors; names and shapes of its tensors "
             "tell the network"},
    {.name = "--direction",
     .value = "D",
     .choice = &request.source.direction,
     .choices = "AtoB|BtoA",
     .help = "AtoB or BtoA; default: the run's direction"},
    {.name = "--recursive",
     .letter = 'r',
     .on = &request.files.recursive,
     .help = "also the folders in IN; OUT gets the same folders"},
    {.name = "--format",
     .value = "F",
     .choice = &request.files.format,
     .choices = "png|jpg|jpeg",
     .help = "png or jpg; default: png, or the ending of OUT"},
    {.name = "--exif",
     .value = "HOW",
     .choice = &request.exif,
     .choices = "ignore|apply",
     .help = "camera orientation: ignore, or apply (turn the picture as a viewer shows it); "
             "default: loader.exif of the run, else ignore"},
    {.name = "--quality",
     .value = "Q",
     .number = &request.quality,
     .min = 1,
     .max = 100,
     .help = "of jpg, 1 to 100; default 95"},
    {.name = "--resume", .on = &request.resume, .help = "keep outputs that exist, make the rest"},
    {.name = "--force", .on = &request.force, .help = "replace outputs that exist"},
    {.name = "--memory",
     .value = "SIZE",
     .bytes = &request.memory,
     .help = "memory limit of the program, like \"1 GiB\": a picture that needs more is "
             "translated in bands of rows, without a seam; default: translate.memory of the "
             "run. With a GPU it limits the memory of the GPU and of the host, each; the CPU "
             "computes bands"},
    {.name = "--scratch",
     .value = "DIR",
     .text = &request.scratch,
     .help = "folder for temporary files of bands; default: OUT"},
    {.name = "--batch",
     .value = "N",
     .number = &request.batch,
     .min = 1,
     .max = 256,
     .help = "pictures of one size at a time; default 1"},
    {.name = "--threads",
     .value = "T",
     .number = &request.source.threads,
     .min = 1,
     .max = 1024,
     .help = "of the network; default: one per core"},
    {.name = "--jobs",
     .value = "N",
     .number = &request.jobs,
     .min = 1,
     .max = 64,
     .help = "threads that read and write pictures; default 2"},
    {.name = "--device",
     .value = "D",
     .choice = &request.source.device,
     .choices = "cpu|cuda|auto",
     .help = "cpu, cuda or auto (cuda where it works); default: as the run's settings say, or "
             "the CPU if their GPU is missing; with --weights auto"},
    {.name = "--gpu",
     .value = "N",
     .number = &request.source.gpu,
     .max = 1023,
     .help = "which of the GPUs in CUDA_VISIBLE_DEVICES, from 0"},
    {.name = "--dtype",
     .value = "T",
     .choice = &request.source.dtype,
     .choices = "bf16|tf32|fp32",
     .help = "of cuda: bf16, tf32 or fp32; default: as the settings say, or tf32"},
    {.name = "--max-megapixels",
     .value = "N",
     .number = &request.megapixels,
     .min = 1,
     .max = 1 << 20,
     .help = "larger pictures are left out; default 64"},
    {.name = "--quiet", .on = &request.quiet, .help = "print only failures and the sum"},
    {.name = "IN", .text = &request.files.in, .required = true},
    {.name = "OUT", .text = &request.files.out, .required = true},
};

static int read_arguments(int argc, char **argv) {
    struct file_list_options *f = &request.files;
    const struct flags flags = {"translate", intro, rows, COUNT(rows), notes};
    int err = flags_read(&flags, argc, argv);
    if (err)
        return err;
    if (request.force && request.resume)
        return err_set(ERR_USAGE, "--force or --resume, not both");
    if (f->format && strcmp(f->format, "jpeg") == 0)
        // Outputs end in .jpg for either word.
        f->format = "jpg";
    f->existing = request.force    ? FILE_LIST_REPLACE
                  : request.resume ? FILE_LIST_KEEP
                                   : FILE_LIST_REFUSE;
    return ERR_OK;
}

// ---- the whole ----

static void report_end(void *context, const struct conveyor_job *job, const char *problem) {
    progress_bar_ended(context, problem);
}

static void print_lines(struct progress_bar *bar, char *text) {
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        progress_bar_print(bar, line);
}

// Images are decoded as in training.
// The command line overrides the run, the run the defaults.
static struct image_how how_of(const struct weights_source *source, const struct request *r) {
    const struct config_loader *loader = source->config ? &source->config->loader : NULL;
    struct image_how how = image_settings_how(loader, (int64_t)r->megapixels << 20);
    if (r->exif)
        how.apply_exif = strcmp(r->exif, "apply") == 0;
    return how;
}

// The run's settings are the defaults of the command line.
static void apply_settings(const struct config *c, struct request *r) {
    if (r->memory < 0)
        // 0: no limit. A file of weights has no settings.
        r->memory = c ? c->translate.memory : 0;
    if (!r->quality)
        r->quality = c ? (int)c->translate.quality : 95;
    r->files.usual = c ? c->translate.format : "png";
}

// The folder of the first output, which file_list_make has made.
static char *scratch_folder(const struct request *r, const struct file_list *list) {
    if (r->scratch || !list->n)
        return xstrdup(r->scratch ? r->scratch : ".");
    // OUT may be a file, so its folder is taken from the first output.
    const char *out = list->items[0].out, *slash = strrchr(out, '/');
    return slash ? xasprintf("%.*s", (int)MAX(slash - out, 1), out) : xstrdup(".");
}

static int translate(const struct request *r, const struct file_list *list,
                     struct weights_source *source, struct progress_bar *bar) {
    size_t memory = (size_t)r->memory;
    struct conveyor_options conveyor = {
        .list = list,
        .channels_in = translator_channels_in(source->translator),
        .channels_out = translator_channels_out(source->translator),
        .threads = r->jobs,
        .quality = r->quality,
        // least_memory in translation.c relies on this eighth.
        .bytes = memory ? MIN(IN_FLIGHT, memory / 8) : IN_FLIGHT,
        .how = how_of(source, r),
        .ended = report_end,
        .context = bar,
    };
    char *scratch = scratch_folder(r, list);
    struct translation_options o = {.translator = source->translator,
                                    .bar = bar,
                                    .batch = r->batch,
                                    .memory = memory,
                                    // Measured now: weights and libraries are loaded, no image is.
                                    .resident = memory_resident(),
                                    .in_flight = conveyor.bytes,
                                    .scratch = scratch};
    o.conveyor = conveyor_open(&conveyor);
    // Close waits for images still being written; both may fail.
    int err = translation_run(&o), closed = conveyor_close(o.conveyor);
    free(scratch);
    return err ? err : closed;
}

static int translate_list(const struct request *r, const struct file_list *list,
                          struct weights_source *source) {
    struct progress_bar *bar = progress_bar_new(list->n, r->quiet);
    if (!r->quiet)
        print_lines(bar, source->text);
    if (list->linked) {
        char text[96];
        (void)snprintf(text, sizeof text, "warning: %d links to folders were not followed",
                       list->linked); // fits
        progress_bar_print(bar, text);
    }
    int err = translate(r, list, source, bar), failed = progress_bar_failed(bar);
    progress_bar_end(bar, list->present);
    // Single failures end in exit code 1, after all others are done.
    if (!err && failed)
        err = err_set(ERR_FORMAT, "%d of %d files could not be translated", failed, list->n);
    return err;
}

// Unusable weights end the program with 78. Exit code 1 is for single pictures.
static int open_source(const struct request *r, struct weights_source *ret) {
    return weights_unusable(weights_source_open(&r->source, ret));
}

static int run_request(struct request *r) {
    struct file_list list = {0};
    struct weights_source source = {0};
    // Weights first: the run's settings decide the format of the outputs.
    int err = open_source(r, &source);
    if (!err) {
        apply_settings(source.config, r);
        err = file_list_make(&r->files, &list);
    }
    if (!err)
        err = translate_list(r, &list, &source);
    // Accepts a source that was never opened, as file_list_fini does.
    weights_source_close(&source);
    file_list_fini(&list);
    return err;
}

// Freed memory goes back to the system at once. Otherwise --memory could not be kept.
static void return_memory(void) {
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20); // a fixed threshold: by default it grows
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int main(int argc, char **argv) {
    // First of all: it may start the program anew.
    threads_wait_briefly(argv);
    return_memory();
    log_name("translate");
    // A misspelt limit in PIPELINE_INSTRUCTIONS must not be ignored.
    int err = instructions_check();
    if (!err)
        err = read_arguments(argc, argv);
    if (!err)
        err = run_request(&request);
    if (err && err != ERR_STOPPED)
        log_line("%s", err_text());
    return err_exit_code(err);
}
