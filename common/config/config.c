#include "config/config.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/util.h"
#include "config/key.h"

// ---- the struct ----

struct config *config_new(void) {
    struct config *c = xcalloc(1, sizeof *c);
    for (int i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        for (int domain = 0; domain < config_domains(key); domain++) {
            void *at = config_value_at(c, key, domain);
            int64_t *numbers = at;
            if (key->kind == CONFIG_REAL)
                *(double *)at = key->real;
            else if (key->kind == CONFIG_BOOL)
                *(bool *)at = key->low != 0;
            else if (config_key_is_text(key))
                *(char **)at = xstrdup(key->text);
            else if (key->kind == CONFIG_SIZE && !parse_size(key->text, at))
                BUG("default of %s", key->name);
            else if (key->kind == CONFIG_INT || key->kind == CONFIG_RANGE)
                numbers[0] = key->low;
            if (key->kind == CONFIG_RANGE)
                numbers[1] = key->high;
        }
    }
    return c;
}

void config_free(struct config *c) {
    if (!c)
        return;
    for (int i = 0; i < config_key_count; i++)
        for (int domain = 0; domain < config_domains(&config_keys[i]); domain++)
            if (config_key_is_text(&config_keys[i]))
                free(*(char **)config_value_at(c, &config_keys[i], domain));
    free(c);
}

// ---- resolving ----

void config_problems_fini(struct config_problems *problems) {
    free(problems->items);
    *problems = (struct config_problems){0};
}

void config_blame(struct config_draft *d, const char *where, const char *format, ...) {
    struct config_problems *p = d->problems;
    va_list arguments;
    p->items = xrealloc(p->items, (size_t)(p->count + 1) * sizeof *p->items);
    struct config_problem *item = &p->items[p->count++];
    (void)text_copy(item->where, sizeof item->where, where);
    va_start(arguments, format);
    vsnprintf(item->text, sizeof item->text, format, arguments);
    va_end(arguments);
}

struct config_origin *config_origin(const struct config_draft *d, const struct config_key *key,
                                    int domain) {
    return &d->origins[(key - config_keys) * 2 + domain];
}

static void draft_init(struct config_draft *d, struct config_problems *problems) {
    *problems = (struct config_problems){0};
    d->config = config_new();
    d->origins = xcalloc((size_t)config_key_count * 2, sizeof *d->origins);
    d->problems = problems;
}

// Ends the draft; its configuration goes to *ret_config if there was no problem.
static int draft_end(struct config_draft *d, struct config **ret_config) {
    for (int i = 0; i < config_key_count * 2; i++)
        free(d->origins[i].where);
    free(d->origins);
    if (d->problems->count == 0) {
        *ret_config = d->config;
        return ERR_OK;
    }
    config_free(d->config);
    return err_set(ERR_CONFIG, "%s: %s%s", d->problems->items[0].where, d->problems->items[0].text,
                   d->problems->count > 1 ? " (and more)" : "");
}

// The preset that file and sets name, from a reading of its own whose complaints are not kept.
static char *preset_name(const char *file, const char *const *sets, int n_sets) {
    struct config_problems unheard;
    struct config_draft d;
    draft_init(&d, &unheard);
    if (file)
        config_read_layer(&d, file, 2);
    for (int i = 0; i < n_sets; i++)
        config_read_set(&d, sets[i]);
    char *name = xstrdup(d.config->top.preset);
    for (int i = 0; i < config_key_count * 2; i++)
        free(d.origins[i].where);
    free(d.origins);
    config_free(d.config);
    config_problems_fini(&unheard);
    return name;
}

static void list_presets(const char *folder, char *ret, size_t n) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t used = 0;
    ret[0] = 0;
    while (dir && (entry = readdir(dir))) {
        char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".conf") == 0 && used < n)
            used += (size_t)snprintf(ret + used, n - used, " %.*s", (int)(dot - entry->d_name),
                                     entry->d_name);
    }
    if (dir)
        closedir(dir);
}

static void read_preset(struct config_draft *d, const char *presets, const char *name) {
    char *path = xasprintf("%s/%s.conf", presets, name);
    char known[300];
    if (strchr(name, '/') || !fs_exists(path)) {
        list_presets(presets, known, sizeof known);
        config_blame(d, "preset", "there is no preset '%.100s'; there are:%s", name, known);
    } else {
        config_read_layer(d, path, 1);
        if (*d->config->top.preset)
            config_blame(d, path, "a preset cannot name a preset");
    }
    free(path);
}

int config_resolve(const char *file, const char *presets, const char *const *sets, int n_sets,
                   struct config **ret_config, struct config_problems *ret_problems) {
    struct config_draft d;
    char *preset = preset_name(file, sets, n_sets);
    draft_init(&d, ret_problems);
    if (*preset)
        read_preset(&d, presets, preset);
    free(preset);
    if (file)
        config_read_layer(&d, file, 2);
    for (int i = 0; i < n_sets; i++)
        config_read_set(&d, sets[i]);
    config_take_recipe(&d);
    config_check(&d);
    return draft_end(&d, ret_config);
}

// What was settled before there was a choice computed with fp32.
static void settle_dtype(struct config *c) {
    if (strcmp(c->trainer.device, "cpu") == 0 && strcmp(c->trainer.dtype, "auto") == 0)
        config_set_text(&c->trainer.dtype, "fp32");
}

int config_load_effective(const char *path, struct config **ret_config) {
    struct config_problems problems;
    struct config_draft d;
    if (!fs_exists(path))
        return err_set(ERR_IO, "there is no %s", path);
    draft_init(&d, &problems);
    config_read_layer(&d, path, 2);
    int err = draft_end(&d, ret_config);
    config_problems_fini(&problems);
    if (!err)
        settle_dtype(*ret_config);
    return err;
}

// ---- looking at it ----

void config_each(const struct config *c, void *context,
                 void (*each)(void *context, const char *path, const char *value)) {
    for (int domain = 0, i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char path[128], value[4096];
        config_key_path(key, domain, path, sizeof path);
        config_value_text(c, key, domain, value, sizeof value);
        each(context, path, value);
        bool last = i + 1 == config_key_count || config_keys[i + 1].section != key->section;
        if (last && domain + 1 < config_domains(key)) { // curator A is done, now B
            domain++;
            while (i >= 0 && config_keys[i].section == key->section)
                i--;
        } else if (last) {
            domain = 0;
        }
    }
}

void config_each_of_curator(const struct config_curator *settings, void *context,
                            void (*each)(void *context, const char *name, const char *value)) {
    struct config whole = {.curator = {*settings}}; // the other sections are not read
    char value[65536];                              // a list may be long
    for (int i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != CONFIG_SECTION_curator)
            continue;
        config_value_text(&whole, key, 0, value, sizeof value);
        each(context, key->name, value);
    }
}

bool config_get_text(const struct config *c, const char *path, char *ret, size_t n) {
    int domain;
    const struct config_key *key = config_key_find(path, &domain);
    if (!key)
        return false;
    config_value_text(c, key, domain, ret, n);
    return true;
}

char *config_spell(const char *path, const char *text, char *ret_problem, size_t n) {
    int domain;
    const struct config_key *key = config_key_find(path, &domain);
    struct config_value value;
    char *literal = NULL;
    ret_problem[0] = 0;
    if (!key)
        return NULL;
    struct config *c = config_new();
    config_value_parse(key, text, &value);
    if (config_value_store(c, key, domain, &value, ret_problem, n))
        literal = config_value_literal(c, key, domain);
    config_value_fini(&value);
    config_free(c);
    return literal;
}

// Whether the key may be other in a run that goes on.
static bool may_change(const char *path, const struct config *saved, const struct config *now) {
    int domain;
    if (strcmp(path, "trainer.n_epochs") == 0)
        return now->trainer.n_epochs >= saved->trainer.n_epochs;
    if (strcmp(path, "trainer.n_epochs_decay") == 0)
        return now->trainer.n_epochs_decay >= saved->trainer.n_epochs_decay;
    if (strcmp(path, "trainer.max_steps") == 0)
        return now->trainer.max_steps == 0 ||
               (saved->trainer.max_steps > 0 && now->trainer.max_steps >= saved->trainer.max_steps);
    return !config_key_is_math(config_key_find(path, &domain));
}

char *config_math_differences(const struct config *saved, const struct config *now) {
    char *text = xstrdup("");
    for (int i = 0; i < config_key_count; i++)
        for (int domain = 0; domain < config_domains(&config_keys[i]); domain++) {
            char path[128], old[2048], new[2048];
            config_key_path(&config_keys[i], domain, path, sizeof path);
            config_value_text(saved, &config_keys[i], domain, old, sizeof old);
            config_value_text(now, &config_keys[i], domain, new, sizeof new);
            if (strcmp(old, new) == 0 || may_change(path, saved, now))
                continue;
            char *longer = xasprintf("%s%s: %s -> %s\n", text, path, old, new);
            free(text);
            text = longer;
        }
    return text;
}
