// resolve - settings to a plan for the script. stdout is its input, so everything for a person goes
// to stderr.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "points/points.h"

// A text that begins with the key itself needs it no second time.
static void print_problem(const char *where, const char *text) {
    if (strncmp(text, where, strlen(where)) == 0)
        fprintf(stderr, "%s\n", text);
    else
        fprintf(stderr, "%s: %s\n", where, text);
}

// All problems on stderr, one a line; the error's own text would repeat the first.
static int resolve(const struct ctl_options *o, struct config **ret_config) {
    struct config_problems problems;
    int err = config_resolve(o->conf, o->presets, o->sets, o->n_sets, ret_config, &problems);
    for (int i = 0; i < problems.count; i++)
        print_problem(problems.items[i].where, problems.items[i].text);
    if (problems.count > 0)
        err = err_set(err, "%d problem%s in the settings", problems.count,
                      problems.count == 1 ? "" : "s");
    config_problems_fini(&problems);
    return err;
}

// The life after the one its ring tells of.
static unsigned long long next_incarnation(const char *run_dir, const char *unit) {
    struct points_page page;
    char *path = xasprintf("%s/ring/%s.ring", run_dir, unit);
    struct stat st;
    unsigned long long last = 0;
    // A missing ring is the first life.
    if (stat(path, &st) == 0 && points_read_page(path, &page) == ERR_OK)
        last = page.incarnation;
    free(path);
    return last + 1;
}

static void print_unit(const char *run_dir, const char *unit, int instance) {
    char *ring = xasprintf("%s-%d", unit, instance);
    // Only loaders may be several; the script knows the others by their bare name.
    bool numbered = strcmp(unit, "loader") == 0;
    printf("unit %s %llu\n", numbered ? ring : unit, next_incarnation(run_dir, ring));
    free(ring);
}

static void print_plan(const struct config *c, const char *runs) {
    // In the order of starting: the trainer's peers come first.
    static const char *const units[] = {"monitor", "pool", "curator-A", "curator-B", "trainer"};
    char *dir = xasprintf("%s/%s", runs, c->top.name);
    for (size_t i = 0; i < COUNT(units); i++)
        print_unit(dir, units[i], 0);
    for (int i = 0; i < c->loader.count; i++)
        print_unit(dir, "loader", i);
    printf("set stop_timeout_s %lld\n", (long long)c->supervisor.stop_timeout_s);
    printf("set max_failures %lld\n", (long long)c->supervisor.max_failures);
    printf("set failure_window_s %lld\n", (long long)c->supervisor.failure_window_s);
    free(dir);
}

// stdout for the script: "ready NAME" or "finished NAME", then "unit NAME INCARNATION" in the order
// of starting, then "set NAME VALUE".
int ctl_resolve(const struct ctl_options *o) {
    struct config *c;
    enum run_state state;
    int err = resolve(o, &c);
    if (err)
        return err;
    // The script needs the name before it takes the run's lock.
    if (o->name_only) {
        puts(o->fork ? o->fork : c->top.name);
        config_free(c);
        return ERR_OK;
    }
    err = run_prepare(c, o, &state);
    if (!err) {
        printf("%s %s\n", state == RUN_FINISHED ? "finished" : "ready", c->top.name);
        print_plan(c, o->runs);
    }
    config_free(c);
    return err;
}

int ctl_check(const struct ctl_options *o) {
    struct config *c;
    int err = resolve(o, &c);
    if (err)
        return err;
    err = look_at_images(c);
    if (err)
        fprintf(stderr, "%s\n", err_text());
    int refused = trainer_check(c);
    if (refused)
        fprintf(stderr, "%s\n", err_text());
    err = err ? err : refused;
    if (err) {
        (void)err_set(err, "%s", ""); // said already
        config_free(c);
        return err;
    }
    printf("run %s: %s, batch %lld of %lldx%lld, A = %s %s, B = %s %s\n", c->top.name,
           c->trainer.netG, (long long)c->loader.batch_size, (long long)c->loader.crop_size,
           (long long)c->loader.crop_size, c->curator[0].use, c->curator[0].root, c->curator[1].use,
           c->curator[1].root);
    printf("parameters: %.3f M a generator, %.3f M a discriminator\n",
           (double)net_generator_parameters(&c->trainer, (int)c->trainer.input_nc,
                                            (int)c->trainer.output_nc) /
               1e6,
           (double)net_discriminator_parameters(&c->trainer, (int)c->trainer.input_nc) / 1e6);
    config_free(c);
    return ERR_OK;
}
