// export - a trained net as a file for other programs. Knows no sockets; the run need not be up.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "base/version_text.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/sources.h"
#include "config/config.h"
#include "weights/onnx.h"
#include "weights/recognise.h"
#include "weights/to_safetensors.h"
#include "weights/weights.h"

static const char help[] =
    "export - a trained net as a file for other programs\n"
    "\n"
    "  export --run RUN --format safetensors|onnx [options] OUT\n"
    "  export --weights FILE --format safetensors|onnx [options] OUT\n"
    "\n"
    "  --run RUN         the run: its NAME through ./pipeline, else its folder (runs/NAME)\n"
    "  --step S          of a checkpoint, or best; default: the latest\n"
    "  --direction D     AtoB or BtoA: that generator; default: the run's direction\n"
    "  --net NAME        another net: D_A, D_B, ... (safetensors only), or G_A where the run has\n"
    "                    an average G_A_ema, which is taken otherwise\n"
    "  --weights FILE    a .pth or .safetensors in place of a run\n"
    "  --format F        safetensors: the reference's modules load it with strict=True;\n"
    "                    onnx: a generator, opset 17, batch, height and width free\n"
    "  --batch-norm HOW  onnx: picture (default: by the statistics of each picture, as translate\n"
    "                    does) or running (by the statistics of training)\n"
    "  --help, --version\n";

struct request {
    const char *run, *step, *direction, *net, *weights, *format, *out;
    bool running;
};

// ---- command line ----

static int choose(const char *option, const char *value, const char *a, const char *b) {
    if (!strcmp(value, a) || !strcmp(value, b))
        return ERR_OK;
    return err_set(ERR_USAGE, "--%s is %s or %s, not '%s'", option, a, b, value);
}

static int read_option(int option, const char *value, struct request *r) {
    switch (option) {
    case 'r':
        r->run = value;
        return ERR_OK;
    case 's':
        r->step = value;
        return ERR_OK;
    case 'd':
        r->direction = value;
        return choose("direction", value, "AtoB", "BtoA");
    case 'n':
        r->net = value;
        return ERR_OK;
    case 'w':
        r->weights = value;
        return ERR_OK;
    case 'f':
        r->format = value;
        return choose("format", value, "safetensors", "onnx");
    case 'b':
        r->running = !strcmp(value, "running");
        return choose("batch-norm", value, "picture", "running");
    case 'h':
        fputs(help, stdout);
        return ERR_STOPPED;
    case 'v':
        printf("export %s\n", version_text());
        return ERR_STOPPED;
    default:
        return err_set(ERR_USAGE, "see export --help");
    }
}

static int read_arguments(int argc, char **argv, struct request *r) {
    static const struct option options[] = {
        {"run", 1, NULL, 'r'},  {"step", 1, NULL, 's'},       {"direction", 1, NULL, 'd'},
        {"net", 1, NULL, 'n'},  {"weights", 1, NULL, 'w'},    {"format", 1, NULL, 'f'},
        {"help", 0, NULL, 'h'}, {"batch-norm", 1, NULL, 'b'}, {"version", 0, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int option, err = ERR_OK;
    while (!err && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        err = read_option(option, optarg, r);
    if (err)
        return err;
    if (!r->run == !r->weights || !r->format || argc - optind != 1) {
        (void)err_set(ERR_USAGE,
                      "--run or --weights, --format and OUT are needed; see export --help");
        return ERR_USAGE;
    }
    if (r->weights && (r->step || r->direction || r->net))
        return err_set(ERR_USAGE, "--step, --direction and --net are of a run");
    r->out = argv[optind];
    return ERR_OK;
}

// ---- which file ----

// ERR_AGAIN: there is none.
static int find_average(const char *folder, const char *net, char ret[SOURCES_PATH]) {
    char name[16];
    (void)snprintf(name, sizeof name, "%s" MODEL_AVERAGE, net); // fits
    int err = sources_find(folder, name, ret);
    return err == ERR_AGAIN && !strcmp(net, "G_A") ? sources_find(folder, "G" MODEL_AVERAGE, ret)
                                                   : err;
}

// G_A translates in the run's direction, whichever that is. As translate does, its average if there
// is one.
static int find_generator(const struct request *r, const char *folder, char ret[SOURCES_PATH]) {
    struct config *config;
    char *conf = xasprintf("%s/pipeline.conf", r->run);
    int err = config_load_effective(conf, &config);
    free(conf);
    if (err)
        return err;
    bool back = r->direction && strcmp(r->direction, config->top.direction) != 0;
    const char *net = back ? "G_B" : "G_A";
    err = find_average(folder, net, ret);
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
    bool onnx = !strcmp(r->format, "onnx");
    if (onnx && net.role != RECOGNISED_GENERATOR)
        return err_set(ERR_USAGE, "--format onnx is for generators, not for '%s'", weights_path(w));
    err = onnx ? onnx_write(w, &net, r->running, r->out) : weights_to_safetensors(w, &net, r->out);
    if (err) // one of format is of what was read
        return err == ERR_FORMAT ? weights_unusable(err) : err;
    recognised_text(&net, text, sizeof text);
    printf("%s: %s\n", r->out, text);
    return ERR_OK;
}

static int run(const struct request *r) {
    char path[SOURCES_PATH];
    struct weights *w;
    const char *from = r->run ? path : r->weights;
    int err = r->run ? find_file(r, path) : ERR_OK;
    if (!err)
        err = checkpoint_check_file(from);
    if (!err)
        err = weights_open(from, &w);
    if (err)
        return weights_unusable(err);
    err = write_out(r, w);
    weights_close(w);
    return err;
}

int main(int argc, char **argv) {
    struct request request = {0};
    log_name("export");
    int err = read_arguments(argc, argv, &request);
    if (!err)
        err = run(&request);
    if (err && err != ERR_STOPPED)
        log_line("%s", err_text());
    return err_exit_code(err);
}
