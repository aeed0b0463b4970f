#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digest.h"
#include "err.h"
#include "fs.h"
#include "safetensors.h"
#include "text.h"
#include "util.h"

#define OPTIMIZER_FILE "optimizer.safetensors"
#define POOL_FILE "pool.bin"

static void join(char ret[CHECKPOINT_PATH], const char *folder, const char *name) {
    if (snprintf(ret, CHECKPOINT_PATH, "%s/%s", folder, name) >= CHECKPOINT_PATH)
        BUG("path too long: %s/%s", folder, name);
}

static void step_path(const char *root, const char *form, uint64_t step,
                      char ret[CHECKPOINT_PATH]) {
    char name[64];

    (void)snprintf(name, sizeof name, form, (unsigned long long)step); // fits
    join(ret, root, name);
}

void checkpoint_path(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]) {
    step_path(root, "step_%08llu", step, ret_path);
}

int checkpoint_begin(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]) {
    char path[CHECKPOINT_PATH];
    int err;

    step_path(root, ".step_%08llu.new", step, path);
    err = fs_remove_tree(path);
    if (!err)
        err = fs_mkdirs(path, 0755);
    if (!err)
        memcpy(ret_path, path, sizeof path);
    return err;
}

// ---- what the files hold ----

static struct safetensor tensor_of(const struct model_param *p, const char *name,
                                   const void *data) {
    struct safetensor t = {.name = name, .rank = p->rank, .data = data};

    if (p->kind == PARAM_BATCHES) {
        t.type = SAFETENSORS_I64;
        t.data = p->batches;
    }
    memcpy(t.dims, p->dims, sizeof t.dims);
    return t;
}

static int add_digest(const char *folder, const char *name, struct state *s) {
    char path[CHECKPOINT_PATH], hex[65];
    uint8_t digest[32];
    uint64_t size;
    int err;

    join(path, folder, name);
    err = digest_file(path, digest, &size);
    if (err)
        return err;
    digest_hex(digest, hex);
    state_add_file(s, name, hex);
    return ERR_OK;
}

static void net_file(const struct model_net *net, char ret[64]) {
    if (snprintf(ret, 64, "%s.safetensors", net->name) >= 64)
        BUG("net name '%s'", net->name);
}

static int write_net(const char *folder, const struct model_net *net, struct state *s) {
    struct safetensor *tensors = xcalloc((size_t)net->n_params, sizeof *tensors);
    char path[CHECKPOINT_PATH], name[64];
    int err;

    for (int i = 0; i < net->n_params; i++)
        tensors[i] = tensor_of(&net->params[i], net->params[i].key, net->params[i].w);
    net_file(net, name);
    join(path, folder, name);
    err = safetensors_write(path, tensors, net->n_params);
    free(tensors);
    return err ? err : add_digest(folder, name, s);
}

// The optimizer's tensors of all nets; `data` of each is where it lies in the model. The names are
// heap strings.
static struct safetensor *optimizer_tensors(struct model_net *const *nets, int n_nets, int *ret_n) {
    struct safetensor *tensors = NULL;
    int n = 0;

    for (int k = 0; k < n_nets; k++) {
        const struct model_net *net = nets[k];

        tensors = xrealloc(tensors, (size_t)(n + 2 * net->n_params + 1) * sizeof *tensors);
        if (net->adam_steps)
            tensors[n++] = (struct safetensor){.name = xasprintf("adam.t.%s", net->name),
                                               .type = SAFETENSORS_I64,
                                               .data = net->adam_steps};
        for (int i = 0; i < net->n_params; i++) {
            const struct model_param *p = &net->params[i];

            if (!p->m)
                continue;
            tensors[n++] = tensor_of(p, xasprintf("adam.m.%s.%s", net->name, p->key), p->m);
            tensors[n++] = tensor_of(p, xasprintf("adam.v.%s.%s", net->name, p->key), p->v);
        }
    }
    *ret_n = n;
    return tensors;
}

static void free_tensors(struct safetensor *tensors, int n) {
    for (int i = 0; i < n; i++)
        free((char *)tensors[i].name);
    free(tensors);
}

static int write_optimizer(const char *folder, const struct checkpoint_content *c,
                           struct state *s) {
    char path[CHECKPOINT_PATH];
    int n, err;
    struct safetensor *tensors = optimizer_tensors(c->nets, c->n_nets, &n);

    join(path, folder, OPTIMIZER_FILE);
    err = safetensors_write(path, tensors, n);
    free_tensors(tensors, n);
    return err ? err : add_digest(folder, OPTIMIZER_FILE, s);
}

static int write_text(const char *folder, const char *name, const char *text, struct state *s) {
    char path[CHECKPOINT_PATH];
    int err;

    join(path, folder, name);
    err = fs_write_atomic(path, text, strlen(text));
    return err ? err : add_digest(folder, name, s);
}

#define SECTION(section, title)
#define INT(section, key, value, min, max, unit, help)
#define REAL(section, key, value, min, max, unit, help)
#define BOOL(section, key, value, help)
#define STR(section, key, value, help)
#define CHOICE(section, key, value, choices, help)
#define SIZE(section, key, value, help)
#define RANGE(section, key, low, high, min, max, unit, help)
#define END(section)
#define MATH(path) #path,
static const char *const math_keys[] = {
#include "config.def"
    "trainer.n_epochs",
    "trainer.n_epochs_decay",
};
#undef MATH
#undef STR
#define STR(section, key, value, help) #section "." #key,
#undef CHOICE
#define CHOICE(section, key, value, choices, help) #section "." #key,
static const char *const word_keys[] = {
#include "config.def"
};
#undef SECTION
#undef INT
#undef REAL
#undef BOOL
#undef STR
#undef CHOICE
#undef SIZE
#undef RANGE
#undef END

static bool is_word(const char *key) {
    for (size_t i = 0; i < COUNT(word_keys); i++)
        if (!strcmp(word_keys[i], key))
            return true;
    return false;
}

static void print_section(FILE *out, const struct config *config, const char *section) {
    size_t n = strlen(section);
    bool top = !strcmp(section, "top");

    for (size_t i = 0; i < COUNT(math_keys); i++) {
        const char *key = math_keys[i];
        char value[4096];

        if (strncmp(key, section, n) != 0 || key[n] != '.')
            continue;
        if (!config_get_text(config, top ? key + n + 1 : key, value, sizeof value))
            BUG("no setting '%s'", key);
        const char *quote = is_word(key) ? "\"" : "";
        fprintf(out, "%s%s = %s%s%s;\n", top ? "" : "    ", key + n + 1, quote, value, quote);
    }
}

static char *canonical_conf(const struct config *config) {
    static const char *const sections[] = {"loader", "trainer", "pool"};
    char *text = NULL;
    size_t size;
    FILE *out = text_open(&text, &size);
    fputs("# The settings that decide the bits of this checkpoint.\n", out);
    print_section(out, config, "top");
    for (size_t i = 0; i < COUNT(sections); i++) {
        fprintf(out, "%s = {\n", sections[i]);
        print_section(out, config, sections[i]);
        fputs("};\n", out);
    }
    text_close(out);
    return text;
}

int checkpoint_write(const char *path, const struct checkpoint_content *content, struct state *s) {
    char state_path[CHECKPOINT_PATH];
    char *conf = canonical_conf(content->config);
    int err = ERR_OK;

    s->n_files = 0;
    for (int i = 0; i < content->n_nets && !err; i++)
        err = write_net(path, content->nets[i], s);
    if (!err)
        err = write_optimizer(path, content, s);
    if (!err && content->pool_digest)
        state_add_file(s, POOL_FILE, content->pool_digest);
    if (!err && content->plans)
        err = add_digest(path, CHECKPOINT_PLANS, s);
    if (!err)
        err = write_text(path, "kernels.txt", content->kernels, s);
    if (!err)
        err = write_text(path, "pipeline.conf", conf, s);
    free(conf);
    if (err)
        return err;
    join(state_path, path, "state.json");
    return state_save(s, state_path);
}

// ---- names ----

// For file systems that cannot exchange: for an instant this step has no checkpoint.
static int replace(const char *root, const char *path, const char *final, uint64_t step) {
    char old[CHECKPOINT_PATH];

    step_path(root, ".step_%08llu.old", step, old);
    if (rename(final, old))
        return fs_failed("rename", final);
    if (rename(path, final))
        return fs_failed("rename", path);
    return fs_remove_tree(old);
}

static int move_into_place(const char *root, const char *path, uint64_t step) {
    char final[CHECKPOINT_PATH];
    int err;

    checkpoint_path(root, step, final);
    if (!renameat2(AT_FDCWD, path, AT_FDCWD, final, RENAME_NOREPLACE))
        return fs_sync_dir(root);
    if (errno == EINVAL && !fs_exists(final) && !rename(path, final))
        return fs_sync_dir(root);
    if (renameat2(AT_FDCWD, path, AT_FDCWD, final, RENAME_EXCHANGE)) {
        if (errno != EINVAL && errno != ENOSYS)
            return fs_failed("exchange", final);
        return replace(root, path, final, step);
    }
    err = fs_sync_dir(root);
    return err ? err : fs_remove_tree(path);
}

// Lets ROOT/NAME point to the folder of a step.
static int move_link(const char *root, const char *name, uint64_t step) {
    char link[CHECKPOINT_PATH], latest[CHECKPOINT_PATH], target[64];

    join(link, root, ".link");
    join(latest, root, name);
    (void)snprintf(target, sizeof target, "step_%08llu", (unsigned long long)step); // fits
    if (unlink(link) && errno != ENOENT)
        return fs_failed("remove", link);
    if (symlink(target, link))
        return fs_failed("link", link);
    if (rename(link, latest))
        return fs_failed("rename", latest);
    return fs_sync_dir(root);
}

int checkpoint_commit(const char *root, const char *path, uint64_t step) {
    int err = fs_sync_dir(path);

    if (!err)
        err = move_into_place(root, path, step);
    return err ? err : move_link(root, "latest", step);
}

int checkpoint_mark_best(const char *root, uint64_t step) {
    return step ? move_link(root, "best", step) : ERR_OK;
}

// ---- what there is ----

struct steps {
    int n;
    uint64_t *items; // ascending
};

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool parse_step(const char *name, uint64_t *ret_step) {
    unsigned long long step;
    int end = 0;

    if (sscanf(name, "step_%20[0-9]%n", (char[21]){0}, &end) != 1 || name[end] || end < 13)
        return false;
    errno = 0;
    step = strtoull(name + 5, NULL, 10);
    *ret_step = step;
    return !errno;
}

static bool is_leftover(const char *name) {
    const char *dot = strrchr(name, '.');

    return !strncmp(name, ".step_", 6) && (!strcmp(dot, ".new") || !strcmp(dot, ".old"));
}

// Finds the steps; with `clean`, removes what a killed process has left.
static int list_steps(const char *root, bool clean, struct steps *ret) {
    DIR *d = opendir(root);
    struct dirent *entry;
    uint64_t step;

    *ret = (struct steps){0};
    if (!d)
        return errno == ENOENT ? ERR_OK : fs_failed("open", root);
    while ((entry = readdir(d)) != NULL) {
        if (clean && is_leftover(entry->d_name)) {
            char path[CHECKPOINT_PATH];

            join(path, root, entry->d_name);
            (void)fs_remove_tree(path); // tried again next time
        }
        if (!parse_step(entry->d_name, &step))
            continue;
        ret->items = xrealloc(ret->items, (size_t)(ret->n + 1) * sizeof *ret->items);
        ret->items[ret->n++] = step;
    }
    (void)closedir(d); // only read from
    if (ret->n)
        qsort(ret->items, (size_t)ret->n, sizeof *ret->items, by_value);
    return ERR_OK;
}

// ---- retention ----

static int remove_whole(const char *root, uint64_t step) {
    char path[CHECKPOINT_PATH], old[CHECKPOINT_PATH];

    checkpoint_path(root, step, path);
    step_path(root, ".step_%08llu.old", step, old);
    if (rename(path, old)) // a half-removed one must not look like one
        return fs_failed("rename", path);
    return fs_remove_tree(old);
}

static int remove_all_but_weights(const char *root, uint64_t step) {
    static const char *const names[] = {OPTIMIZER_FILE, POOL_FILE};
    char folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH];

    checkpoint_path(root, step, folder);
    for (size_t i = 0; i < COUNT(names); i++) {
        join(path, folder, names[i]);
        if (unlink(path) && errno != ENOENT)
            return fs_failed("remove", path);
    }
    return ERR_OK;
}

struct kept {
    uint64_t step;
    uint64_t epochs_done;
    bool scheduled;
};

// A folder whose state cannot be read counts as scheduled, in epoch 0.
static struct kept look_at(const char *root, uint64_t step) {
    char folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH];
    struct state s;
    checkpoint_path(root, step, folder);
    join(path, folder, "state.json");
    if (state_load(path, &s))
        return (struct kept){.step = step, .scheduled = true};
    return (struct kept){step, s.epoch - 1, s.scheduled};
}

static int retain_older(const char *root, const struct kept *all, int n, uint64_t every) {
    uint64_t kept = 0;
    int err = ERR_OK;
    for (int i = 0; i < n && !err; i++) {
        uint64_t done = all[i].epochs_done / every;
        if (done > kept)
            err = remove_all_but_weights(root, all[i].step);
        else
            err = remove_whole(root, all[i].step);
        kept = MAX(kept, done);
    }
    return err;
}

int checkpoint_retain(const char *root, const struct state *s, int keep, int keep_weights_every) {
    struct steps steps;
    int n = 0, err = list_steps(root, true, &steps);
    struct kept *scheduled = xcalloc((size_t)steps.n + 1, sizeof *scheduled);
    for (int i = 0; i < steps.n && steps.items[i] <= s->step && !err; i++) {
        struct kept k = look_at(root, steps.items[i]);
        if (k.step == s->best.step)
            continue;
        if (k.scheduled)
            scheduled[n++] = k;
        else if (k.step < s->step)
            err = remove_whole(root, k.step);
    }
    if (!err)
        err = retain_older(root, scheduled, n - keep, (uint64_t)keep_weights_every);
    free(scheduled);
    free(steps.items);
    return err;
}

// ---- finding ----

static int check_digest(const char *path, const char *want) {
    char hex[65];
    uint8_t digest[32];
    uint64_t size;
    int err = digest_file(path, digest, &size);

    if (err)
        return err;
    digest_hex(digest, hex);
    if (strcmp(hex, want) != 0)
        return err_set(ERR_FORMAT, "'%s' has been changed or damaged: its digest does not hold",
                       path);
    return ERR_OK;
}

static int check_whole(const char *folder, uint64_t step, struct state *ret_state) {
    char path[CHECKPOINT_PATH];
    struct state s;
    int err;

    join(path, folder, "state.json");
    err = state_load(path, &s);
    if (err)
        return err;
    if (s.step != step)
        return err_set(ERR_FORMAT, "state.json is of step %llu", (unsigned long long)s.step);
    if (!state_digest(&s, OPTIMIZER_FILE))
        return err_set(ERR_FORMAT, "state.json does not name " OPTIMIZER_FILE);
    for (int i = 0; i < s.n_files; i++) {
        join(path, folder, s.files[i].name);
        err = check_digest(path, s.files[i].digest);
        if (err)
            return err;
    }
    *ret_state = s;
    return ERR_OK;
}

int checkpoint_find(const char *root, const struct checkpoint_refusals *refusals,
                    char ret_path[CHECKPOINT_PATH], struct state *ret_state) {
    struct steps steps;
    char path[CHECKPOINT_PATH];
    int err = list_steps(root, false, &steps);

    if (err)
        return err;
    err = steps.n ? ERR_FORMAT : ERR_AGAIN;
    for (int i = steps.n - 1; i >= 0 && err; i--) {
        checkpoint_path(root, steps.items[i], path);
        err = check_whole(path, steps.items[i], ret_state);
        if (err && refusals->refused)
            refusals->refused(refusals->context, path, err_text());
    }
    free(steps.items);
    if (!err)
        memcpy(ret_path, path, sizeof path);
    if (err == ERR_AGAIN)
        return err_set(err, "no checkpoint in '%s'", root);
    return err ? err_set(ERR_FORMAT, "no checkpoint in '%s' can be used", root) : ERR_OK;
}

// ---- loading ----

static int differs(const struct safetensors *f, const struct safetensor *want,
                   const struct safetensor *got) {
    if (!got)
        return err_set(ERR_MISMATCH, "'%s' is of another architecture: it has no %s", f->path,
                       want->name);
    if (got->type != want->type || got->rank != want->rank ||
        memcmp(got->dims, want->dims, (size_t)want->rank * sizeof *want->dims) != 0) {
        return err_set(ERR_MISMATCH,
                       "'%s' is of another architecture: %s is [%lld,%lld,%lld,%lld] there and "
                       "[%lld,%lld,%lld,%lld] here",
                       f->path, want->name, (long long)got->dims[0], (long long)got->dims[1],
                       (long long)got->dims[2], (long long)got->dims[3], (long long)want->dims[0],
                       (long long)want->dims[1], (long long)want->dims[2],
                       (long long)want->dims[3]);
    }
    return ERR_OK;
}

static int check_tensors(const struct safetensors *f, const struct safetensor *want, int n) {
    for (int i = 0; i < n; i++) {
        int err = differs(f, &want[i], safetensors_find(f, want[i].name));

        if (err)
            return err;
    }
    if (f->count != n)
        return err_set(ERR_MISMATCH, "'%s' is of another architecture: %d tensors there, %d here",
                       f->path, f->count, n);
    return ERR_OK;
}

static int read_tensors(const struct safetensors *f, const struct safetensor *want, int n) {
    int err = ERR_OK;

    for (int i = 0; i < n && !err; i++)
        err = safetensors_read(f, safetensors_find(f, want[i].name), (void *)want[i].data);
    return err;
}

struct file_of_tensors {
    struct safetensors file;
    struct safetensor *want; // `data` is where to read to
    int n;
};

static int open_file(const char *folder, const char *name, struct file_of_tensors *f) {
    char path[CHECKPOINT_PATH];
    int err;

    join(path, folder, name);
    err = safetensors_open(path, &f->file);
    return err ? err : check_tensors(&f->file, f->want, f->n);
}

static void want_net(const struct model_net *net, struct file_of_tensors *ret) {
    ret->n = net->n_params;
    ret->want = xcalloc((size_t)net->n_params, sizeof *ret->want);
    for (int i = 0; i < net->n_params; i++)
        ret->want[i] = tensor_of(&net->params[i], xstrdup(net->params[i].key), net->params[i].w);
}

static void close_files(struct file_of_tensors *files, int n) {
    for (int i = 0; i < n; i++) {
        safetensors_close(&files[i].file);
        free_tensors(files[i].want, files[i].n);
    }
    free(files);
}

int checkpoint_load(const char *path, struct model_net *const *nets, int n_nets) {
    struct file_of_tensors *files = xcalloc((size_t)n_nets + 1, sizeof *files);
    struct file_of_tensors *optimizer = &files[n_nets];
    char name[64];
    int err = ERR_OK;

    for (int i = 0; i < n_nets; i++)
        want_net(nets[i], &files[i]);
    optimizer->want = optimizer_tensors(nets, n_nets, &optimizer->n);
    for (int i = 0; i < n_nets && !err; i++) {
        net_file(nets[i], name);
        err = open_file(path, name, &files[i]);
    }
    if (!err)
        err = open_file(path, OPTIMIZER_FILE, optimizer);
    for (int i = 0; i <= n_nets && !err; i++)
        err = read_tensors(&files[i].file, files[i].want, files[i].n);
    close_files(files, n_nets + 1);
    return err;
}

static int check_beside(const char *path, const char *name, const char *state_path) {
    struct state s;
    int err = state_load(state_path, &s);

    if (err)
        return err;
    const char *digest = state_digest(&s, name);
    return digest ? check_digest(path, digest)
                  : err_set(ERR_FORMAT, "'%s' does not name %s", state_path, name);
}

int checkpoint_check_file(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? xasprintf("%.*s", (int)(name - path), path) : xstrdup("./");
    char *beside = xasprintf("%sstate.json", folder);
    int err = fs_exists(beside) ? check_beside(path, name, beside) : ERR_OK;

    free(folder);
    free(beside);
    return err;
}

int checkpoint_load_net(const char *path, struct model_net *net) {
    struct file_of_tensors *file = xcalloc(1, sizeof *file);
    char name[64], whole[CHECKPOINT_PATH];
    int err;

    net_file(net, name);
    join(whole, path, name);
    err = checkpoint_check_file(whole);
    want_net(net, file);
    if (!err)
        err = open_file(path, name, file);
    if (!err)
        err = read_tensors(&file->file, file->want, file->n);
    close_files(file, 1);
    return err;
}
