// trainer - computes: batches in, weights out.
//
//   ROUTER  binds    ipc://s/trainer   tickets    peer: loaders
//   DEALER  connects ipc://s/pool      exchange   peer: pool (replay.h)
//   DEALER  connects ipc://s/monitor   points     peer: monitor (points.h)
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dnnl.h>
#include <zip.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/instructions.h"
#include "base/program_path.h"
#include "base/version_text.h"
#include "device/device.h"
#include "link/link.h"
#include "proc.h"
#include "threads.h"
#include "training/check.h"
#include "training/setup.h"
#include "training/training.h"

// Messages in a ZeroMQ queue; credits and requests keep far below it.
#define HWM 1024

static const char intro[] = "trainer - trains the nets of a run\n"
                            "\n"
                            "  trainer --run DIR [--instance N] [--incarnation N]\n";
static const char notes[] =
    "Started by ./pipeline up. Settings: section trainer of DIR/pipeline.conf. Goes on from the\n"
    "newest checkpoint in DIR/checkpoints. Ends with 0 when the training is finished or after\n"
    "SIGTERM (then with a checkpoint), 65 when a number is not finite, 69 when the device failed "
    "or\n"
    "has not come back, 78 when settings, data or the device's memory cannot work.\n"
    "\n"
    "  trainer --version\n"
    "\n"
    "Prints the version, the devices, the instruction sets of the CPU and the libraries' "
    "versions.\n"
    "\n"
    "  trainer --which-device DEVICE DTYPE GPU\n"
    "\n"
    "Prints the device and the dtype that these settings, which may be auto, stand for on this\n"
    "machine. Ends with 78 if it does not work.\n"
    "\n"
    "  trainer --check FILE\n"
    "\n"
    "Makes the model of these effective settings and takes the memory of a step. Ends with 78 if "
    "a\n"
    "training would.\n";

static struct link_options link_options(const struct proc *p, const char *endpoint) {
    return (struct link_options){
        .zmq = p->zmq,
        .endpoint = endpoint,
        .run = p->config->top.name,
        .self = p->self,
        .hwm = HWM,
        .peer_timeout_us = p->config->supervisor.peer_timeout_s * 1000000,
        // replay_begin replaces it by the pool's own size.
        .frame_max_bytes = BATCH_BYTES_MAX,
    };
}

static int open_feed(const struct proc *p, struct feed **ret_feed) {
    const struct config *c = p->config;
    struct feed_options options = {
        .link = link_options(p, "ipc://s/trainer"),
        .points = p->points,
        .batch_size = (uint64_t)c->loader.batch_size,
        .max_dataset_size = (uint64_t)c->loader.max_dataset_size,
        .channels = {(int)c->trainer.input_nc, (int)c->trainer.output_nc},
        .ticket_timeout_us = c->loader.ticket_timeout_s * 1000000,
    };
    return feed_open(&options, ret_feed);
}

static void make_replay(const struct proc *p, struct replay **ret_replay) {
    struct replay_options options = {
        .link = link_options(p, "ipc://s/pool"),
        .capacity = (uint64_t)p->config->pool.pool_size,
        .batch = (uint64_t)p->config->loader.batch_size,
    };
    replay_new(&options, ret_replay);
}

static int run(struct proc *p) {
    struct wait wait = {.proc = p,
                        .report_after_us = p->config->supervisor.peer_timeout_s * 1000000};
    struct training *training = NULL;
    int err = open_feed(p, &wait.feed);
    if (err)
        return err;
    // Opens no socket: the sizes come with the first batch.
    make_replay(p, &wait.replay);
    err = training_new(&wait, &training);
    if (!err)
        err = training_run(training);
    replay_free(wait.replay); // first: ZeroMQ may still read fakes in the model's memory
    training_free(training);
    feed_close(wait.feed);
    return err;
}

static int which_device(char **words) {
    struct device_choice device;
    int err = device_choose(words[0], words[1], atoi(words[2]), &device);
    if (err) {
        fprintf(stderr, "%s\n", err_text());
        return err_exit_code(err);
    }
    // Set only if "auto" fell back to the CPU.
    if (device.why[0])
        fprintf(stderr, "device = \"auto\" is the CPU, not CUDA: %s\n", device.why);
    // ./pipeline reads this line; reasons go to stderr.
    printf("%s %s\n", device.name, device.dtype);
    return 0;
}

// Of a file that config_write has written.
static int check_settings(const char *path) {
    struct config *c = NULL;
    int err = config_load_effective(path, &c);
    if (!err)
        err = training_check(c);
    if (err)
        fprintf(stderr, "%s\n", err_text());
    config_free(c);
    return err_exit_code(err);
}

static const char *plugin_state(const char *name) {
    char path[PATH_MAX];

    return !plugin_path(name, path) && fs_exists(path) ? "built" : "not built";
}

// In the words of PIPELINE_INSTRUCTIONS and of the libraries themselves.
static int print_version(void) {
    const dnnl_version_t *dnnl = dnnl_version();
    int major, minor, patch;

    zmq_version(&major, &minor, &patch);
    printf("trainer %s\n", version_text());
    printf("devices: cpu; cuda (plugin %s)\n", plugin_state("cuda"));
    printf("instruction sets:");
    for (int i = 0; i <= (int)instructions_best(); i++)
        printf(" %s", instructions_name((enum instructions)i));
    printf(" (uses the last)\n");
    printf("libraries: oneDNN %d.%d.%d, ZeroMQ %d.%d.%d, libzip %s\n", dnnl->major, dnnl->minor,
           dnnl->patch, major, minor, patch, zip_libzip_version());
    return 0;
}

int main(int argc, char **argv) {
    // These three need no run, so they come before proc_read.
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return print_version();
    if (argc == 5 && strcmp(argv[1], "--which-device") == 0)
        return which_device(argv + 2);
    if (argc == 3 && strcmp(argv[1], "--check") == 0)
        return check_settings(argv[2]);
    threads_wait_briefly(argv);
    struct proc proc = {0};
    struct proc_line line;
    const struct flags flags = {.program = "trainer", .intro = intro, .notes = notes};
    int err = proc_read(argc, argv, &flags, &line);
    if (!err)
        err = proc_start(&line, "trainer", &proc);
    // proc_end also takes a process that has not started.
    return proc_end(&proc, err ? err : run(&proc));
}
