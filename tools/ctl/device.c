// device - questions about the device, the nets and their memory. ctl links no such code: the
// program `trainer` answers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/program_path.h"
#include "base/script.h"
#include "base/util.h"
#include "ctl/ctl.h"

#define TRY_US 120000000 // loading a GPU driver takes seconds, tens of them on a busy machine

#define CPU_PREFIX "device = \"auto\" is the CPU, not CUDA: " // the trainer's words

struct answer {
    char device[16], dtype[8];
    char why[1024]; // why "auto" is the CPU; else ""
};

// One line is expected; a later one would overwrite it.
static int read_answer(void *context, const char *line) {
    struct answer *a = context;
    if (sscanf(line, "%15s %7s", a->device, a->dtype) != 2)
        return err_set(ERR_DEVICE, "the trainer says \"%.80s\" of the device", line);
    return ERR_OK;
}

// The trainer's lines reach the user as they are.
static void report_line(void *context, const char *line) {
    struct answer *a = context;
    fprintf(stderr, "%s\n", line);
    if (strncmp(line, CPU_PREFIX, strlen(CPU_PREFIX)) == 0)
        (void)text_copy(a->why, sizeof a->why, line + strlen(CPU_PREFIX)); // may be cut
}

static int ask_trainer(const struct config_trainer *t, struct answer *ret) {
    // The trainer beside this program, not one found by PATH.
    char program[PATH_MAX], gpu[24];
    int err = plugin_sibling("trainer", program);
    if (err)
        return err;
    (void)snprintf(gpu, sizeof gpu, "%lld", (long long)t->gpu); // fits
    const char *argv[] = {program, "--which-device", t->device, t->dtype, gpu, NULL};
    struct script_job job = {.command = "trainer --which-device",
                             .argv = argv,
                             .timeout_us = TRY_US,
                             .timeout_name = "two minutes",
                             .context = ret,
                             .take = read_answer,
                             .complain = report_line};
    // A failing script is bad data for its other callers; here the device is at fault.
    err = script_run(&job);
    return err == ERR_DATA ? err_set(ERR_DEVICE, "%s", err_text()) : err;
}

// Leaves the reason in the run's folder. The trainer records it in the database.
static int write_reason(const struct answer *a, const char *dir) {
    char *path = xasprintf("%s/" DEVICE_WHY, dir);
    int err = ERR_OK;
    if (*a->why)
        err = fs_write_atomic(path, a->why, strlen(a->why));
    else
        (void)unlink(path); // of an earlier attempt; it may be absent
    free(path);
    return err;
}

int device_settle(struct config_trainer *t, const char *dir) {
    char plugin[PATH_MAX];
    struct answer a = {"cpu", "fp32", ""};
    bool is_auto = strcmp(t->device, "auto") == 0;
    int err = plugin_path("cuda", plugin);
    if (err)
        return err;
    // Without the plugin there is no device to ask for, and the CPU needs no question.
    if (strcmp(t->device, "cpu") != 0 && fs_exists(plugin))
        err = ask_trainer(t, &a);
    else if (is_auto)
        report_line(&a, CPU_PREFIX "this build has no CUDA");
    if (err)
        return err;
    // After this the settings name a device and a type, never "auto".
    config_set_text(&t->device, a.device);
    config_set_text(&t->dtype, a.dtype);
    return write_reason(&a, dir);
}

// ---- settings ----

static int ignore_line(void *context, const char *line) {
    return ERR_OK;
}

// Before its reason the trainer prints which device it uses; the last line is the reason.
static void keep_line(void *context, const char *line) {
    char **last = context;
    free(*last);
    *last = xstrdup(line);
}

static int run_check(const char *conf) {
    char program[PATH_MAX], *last = NULL;
    int err = plugin_sibling("trainer", program);
    if (err)
        return err;
    const char *argv[] = {program, "--check", conf, NULL};
    struct script_job job = {.command = "trainer --check",
                             .argv = argv,
                             .timeout_us = TRY_US,
                             .timeout_name = "two minutes",
                             .context = &last,
                             .take = ignore_line,
                             .complain = keep_line};
    err = script_run(&job);
    if (err && last)
        err = err_set(ERR_CONFIG, "%s", last);
    free(last);
    return err;
}

int trainer_check(const struct config *c) {
    char path[] = "/tmp/pipeline_check_XXXXXX";
    int fd = mkstemp(path);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        return fs_failed("make", path);
    int err = config_write(c, out);
    if (fclose(out) && !err)
        err = fs_failed("write", path);
    if (!err)
        err = run_check(path);
    (void)unlink(path);
    return err;
}
