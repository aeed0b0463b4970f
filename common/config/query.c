// Reading a finished configuration by the names of its settings, and comparing two of them.
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "config/value.h"

void config_each(const struct config *c, void *context,
                 void (*each)(void *context, const char *path, const char *value)) {
    // Keys of A come first, all of them, then those of B.
    for (int domain = 0, i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char path[128], value[4096];
        config_key_path(key, domain, path, sizeof path);
        config_value_text(c, key, domain, value, sizeof value);
        each(context, path, value);
        // A section's keys are neighbours in the table.
        bool last = i + 1 == config_key_count || config_keys[i + 1].section != key->section;
        if (last && domain + 1 < config_domains(key)) { // back to the section's first key, for B
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
    // A struct of one curator as domain A of a whole configuration.
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
    // Any configuration will do: the value is stored only to be checked.
    struct config *c = config_new();
    config_value_parse(key, text, &value);
    if (config_value_store(c, key, domain, &value, ret_problem, n))
        literal = config_value_literal(c, key, domain);
    config_value_fini(&value);
    config_free(c);
    return literal;
}

// Whether a resumed run may change the key from its saved value.
// These three may grow: a run is often continued for longer.
static bool may_change(const char *path, const struct config *saved, const struct config *now) {
    int domain;
    if (strcmp(path, "trainer.n_epochs") == 0)
        return now->trainer.n_epochs >= saved->trainer.n_epochs;
    if (strcmp(path, "trainer.n_epochs_decay") == 0)
        return now->trainer.n_epochs_decay >= saved->trainer.n_epochs_decay;
    if (strcmp(path, "trainer.max_steps") == 0)
        // 0 means no limit, which is longer than any other.
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
