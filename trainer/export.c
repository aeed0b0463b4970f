// export - writes a trained net as a file for other programs. The run need not be up.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/flags.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/sources.h"
#include "config/config.h"
#include "weights/onnx.h"
#include "weights/recognise.h"
#include "weights/to_pth.h"
#include "weights/to_safetensors.h"
#include "weights/weights.h"

struct request {
    const char *run, *step, *direction, *net, *weights, *format, *batch_norm, *out;
};

// ---- command line ----

static const char intro[] = "export - writes a trained net as a file for other programs\n"
                            "\n"
                            "  export --run RUN --format pth|safetensors|onnx [options] OUT\n"
                            "  export --weights FILE --format pth|safetensors|onnx [options] OUT\n";

// Lends the texts of argv to the request.
static int read_arguments(int argc, char **argv, struct request *r) {
    const struct flag rows[] = {
        {.name = "--run",
         .value = "RUN",
         .text = &r->run,
         .help = "the run: its NAME through ./pipeline, else its folder (runs/NAME)"},
        {.name = "--step",
         .value = "S",
         .text = &r->step,
         .help = "of a checkpoint, or best; default: the latest"},
        {.name = "--direction",
         .value = "D",
         .choice = &r->direction,
         .choices = "AtoB|BtoA",
         .help = "AtoB or BtoA: that generator; default: the run's direction"},
        {.name = "--net",
         .value = "NAME",
         .text = &r->net,
         .help = "another net: D_A, D_B, ... (not with onnx), or G_A if the run also has its "
                 "average G_A_ema, which is the default then"},
        {.name = "--weights",
         .value = "FILE",
         .text = &r->weights,
         .help = "a .pth or .safetensors instead of a run"},
        {.name = "--format",
         .value = "F",
         .choice = &r->format,
         .choices = "pth|safetensors|onnx",
         .required = true,
         .help = "pth: a state dict for torch.load (PyTorch 1.6 or newer); safetensors: the "
                 "PyTorch repository's modules load it with strict=True; onnx: a "
                 "generator, opset 17, with free batch, height and width"},
        {.name = "--batch-norm",
         .value = "HOW",
         .choice = &r->batch_norm,
         .choices = "picture|running",
         .help = "onnx: picture (default: by the statistics of each picture, as translate does) or "
                 "running (by the statistics of training)"},
        {.name = "OUT", .text = &r->out, .required = true},
    };
    const struct flags flags = {"export", intro, rows, COUNT(rows), NULL};
    int err = flags_read(&flags, argc, argv);
    if (err)
        return err;
    if (!r->run == !r->weights)
        return err_set(ERR_USAGE, "either --run or --weights is needed; see export --help");
    if (r->weights && (r->step || r->direction || r->net))
        return err_set(ERR_USAGE, "--step, --direction and --net go with --run");
    return ERR_OK;
}

// ---- which file ----

// ERR_AGAIN: there is none.
static int find_average(const char *folder, const char *net, char ret[SOURCES_PATH]) {
    char name[16];
    (void)snprintf(name, sizeof name, "%s" MODEL_AVERAGE, net); // fits
    int err = sources_find(folder, name, ret);
    return err == ERR_AGAIN && strcmp(net, "G_A") == 0
               // One-sided models call their generator G.
               ? sources_find(folder, "G" MODEL_AVERAGE, ret)
               : err;
}

// G_A translates in the run's direction. Its moving average is preferred, as in translate.
static int find_generator(const struct request *r, const char *folder, char ret[SOURCES_PATH]) {
    struct config *config;
    char *conf = xasprintf("%s/pipeline.conf", r->run);
    // The settings tell the direction that G_A was trained in.
    int err = config_load_effective(conf, &config);
    free(conf);
    if (err)
        return err;
    bool back = r->direction && strcmp(r->direction, config->top.direction) != 0;
    const char *net = back ? "G_B" : "G_A";
    err = find_average(folder, net, ret);
    // No average was kept.
    if (err == ERR_AGAIN)
        err = sources_generator(folder, net, config->top.direction, ret);
    config_free(config);
    return err;
}

static int find_file(const struct request *r, char ret[SOURCES_PATH]) {
    char folder[CHECKPOINT_PATH];
    int err = sources_checkpoint(r->run, r->step, folder);
    if (err)
        return err;
    if (!r->net)
        return find_generator(r, folder, ret);
    err = sources_find(folder, r->net, ret);
    return err == ERR_AGAIN ? err_set(ERR_DATA, "there is no %s in '%s'", r->net, folder) : err;
}

// ---- the whole ----

static int write_out(const struct request *r, struct weights *w) {
    struct recognised net;
    char text[200];
    int err = recognise(w, &net);
    if (err)
        return weights_unusable(err);
    bool onnx = strcmp(r->format, "onnx") == 0;
    // Without the flag, as translate: each image's own statistics.
    bool running = r->batch_norm && strcmp(r->batch_norm, "running") == 0;
    if (onnx && net.role != RECOGNISED_GENERATOR)
        return err_set(ERR_USAGE, "--format onnx is for generators, not for '%s'", weights_path(w));
    if (onnx)
        err = onnx_write(w, &net, running, r->out);
    else if (strcmp(r->format, "pth") == 0)
        err = weights_to_pth(w, &net, r->out);
    else
        err = weights_to_safetensors(w, &net, r->out);
    if (err) // ERR_FORMAT is about the input
        return err == ERR_FORMAT ? weights_unusable(err) : err;
    recognised_text(&net, text, sizeof text);
    printf("%s: %s\n", r->out, text);
    return ERR_OK;
}

// OUT is opened for writing before the weights are read to their end.
static int check_out(const struct request *r, struct weights *w) {
    struct stat in, out;
    // A missing OUT cannot be the input.
    if (stat(weights_path(w), &in) || stat(r->out, &out) || in.st_dev != out.st_dev ||
        in.st_ino != out.st_ino)
        return ERR_OK;
    return err_set(ERR_USAGE, "OUT '%s' is the file that is to be exported", r->out);
}

static int run_request(const struct request *r) {
    char path[SOURCES_PATH];
    struct weights *w;
    const char *from = r->run ? path : r->weights;
    int err = r->run ? find_file(r, path) : ERR_OK;
    if (!err)
        // Before weights_open: a damaged file of a checkpoint gets the clearer message.
        err = checkpoint_check_file(from);
    if (!err)
        err = weights_open(from, &w);
    if (err)
        return weights_unusable(err);
    err = check_out(r, w);
    if (!err)
        err = write_out(r, w);
    weights_close(w);
    return err;
}

int main(int argc, char **argv) {
    struct request request = {0};
    log_name("export");
    int err = read_arguments(argc, argv, &request);
    if (!err)
        err = run_request(&request);
    if (err && err != ERR_STOPPED)
        log_line("%s", err_text());
    return err_exit_code(err);
}
