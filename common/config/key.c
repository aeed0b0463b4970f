// key - config.def included three times: as sections, as keys, and as the list of math keys.
#include "config/key.h"

#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"

#define SECTION(section, title)                                                                    \
    [CONFIG_SECTION_##section] = {#section, title, offsetof(struct config, section),               \
                                  sizeof(struct config_##section)},
const struct config_section config_sections[CONFIG_SECTIONS] = {
#include "config/config.def"
};

// offsetof makes one reader and one printer work for every key.
#define AT(s, k) .section = CONFIG_SECTION_##s, .name = #k, .offset = offsetof(struct config_##s, k)
#define INT(s, k, value, lo, hi, u, h)                                                             \
    {AT(s, k), .kind = CONFIG_INT, .low = value, .min = lo, .max = hi, .unit = u, .help = h},
#define REAL(s, k, value, lo, hi, u, h)                                                            \
    {AT(s, k), .kind = CONFIG_REAL, .real = value, .min = lo, .max = hi, .unit = u, .help = h},
#define BOOL(s, k, value, h) {AT(s, k), .kind = CONFIG_BOOL, .low = value, .unit = "", .help = h},
#define STR(s, k, value, h) {AT(s, k), .kind = CONFIG_STR, .text = value, .unit = "", .help = h},
#define CHOICE(s, k, value, c, h)                                                                  \
    {AT(s, k), .kind = CONFIG_CHOICE, .text = value, .choices = c, .unit = "", .help = h},
#define SIZE(s, k, value, h) {AT(s, k), .kind = CONFIG_SIZE, .text = value, .unit = "", .help = h},
#define RANGE(s, k, l, h, lo, hi, u, text)                                                         \
    {AT(s, k),  .kind = CONFIG_RANGE, .low = l, .high = h, .min = lo, .max = hi,                   \
     .unit = u, .help = text},
#define LIST(s, k, h) {AT(s, k), .kind = CONFIG_LIST, .text = "", .unit = "", .help = h},
const struct config_key config_keys[] = {
#include "config/config.def"
};

const int config_key_count = COUNT(config_keys);

// Keys whose change would make a resumed run another experiment.
#define MATH(path) #path,
static const char *const math_paths[] = {
#include "config/config.def"
};

void *config_value_at(const struct config *c, const struct config_key *key, int domain) {
    // The two structs of the curators follow each other.
    const struct config_section *s = &config_sections[key->section];
    return (char *)c + s->offset + (size_t)domain * s->size + key->offset;
}

int config_domains(const struct config_key *key) {
    return key->section == CONFIG_SECTION_curator ? 2 : 1;
}

void config_key_path(const struct config_key *key, int domain, char *ret, size_t n) {
    const char *section = config_sections[key->section].name;
    if (key->section == CONFIG_SECTION_top)
        (void)text_copy(ret, n, key->name);
    else if (key->section == CONFIG_SECTION_curator)
        snprintf(ret, n, "%s.%c.%s", section, 'A' + domain, key->name);
    else
        snprintf(ret, n, "%s.%s", section, key->name);
}

// A linear search: settings are few and are read at the start.
const struct config_key *config_key_find(const char *path, int *ret_domain) {
    for (int i = 0; i < config_key_count; i++)
        for (int domain = 0; domain < config_domains(&config_keys[i]); domain++) {
            char name[128];
            config_key_path(&config_keys[i], domain, name, sizeof name);
            if (strcmp(name, path) == 0) {
                *ret_domain = domain;
                return &config_keys[i];
            }
        }
    return NULL;
}

const struct config_key *config_key_in(enum config_section_id section, const char *name) {
    for (int i = 0; i < config_key_count; i++)
        if (config_keys[i].section == section && strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}

bool config_key_is_text(const struct config_key *key) {
    return key->kind == CONFIG_STR || key->kind == CONFIG_CHOICE || key->kind == CONFIG_LIST;
}

bool config_key_is_math(const struct config_key *key) {
    char path[128];
    // Curators: everything matters but what changes no verdict.
    if (key->section == CONFIG_SECTION_curator) {
        // The manifest's digest tells whether the images are the same, wherever they lie.
        static const char *const free_to_change[] = {"threads",   "timeout_s", "root",  "held_out",
                                                     "landmarks", "lists",     "labels"};
        for (size_t i = 0; i < COUNT(free_to_change); i++)
            if (strcmp(key->name, free_to_change[i]) == 0)
                return false;
        return true;
    }
    snprintf(path, sizeof path, "%s.%s", config_sections[key->section].name, key->name);
    for (size_t i = 0; i < COUNT(math_paths); i++)
        if (strcmp(math_paths[i], path) == 0)
            return true;
    return false;
}

void config_key_suggest(enum config_section_id section, const char *name, char *ret, size_t n) {
    const char *nearest = NULL;
    // One more than allowed, so that the first key within the limit is taken.
    int best = parse_edits_allowed(name) + 1;
    ret[0] = 0;
    for (int i = 0; i < config_key_count; i++) {
        char path[128];
        config_key_path(&config_keys[i], 0, path, sizeof path);
        // The exact name in another section is the better hint than a similar one here.
        if (config_keys[i].section != section && strcmp(config_keys[i].name, name) == 0) {
            snprintf(ret, n, ", it is `%s`", path);
            return;
        }
        int distance = parse_edit_distance(name, config_keys[i].name);
        if (config_keys[i].section == section && distance < best) {
            best = distance;
            nearest = config_keys[i].name;
        }
    }
    // At the top level the name of a section may be meant.
    for (int i = 1; section == CONFIG_SECTION_top && i < CONFIG_SECTIONS; i++)
        if (parse_edit_distance(name, config_sections[i].name) < best) {
            best = parse_edit_distance(name, config_sections[i].name);
            nearest = config_sections[i].name;
        }
    if (nearest)
        snprintf(ret, n, ", did you mean `%s`?", nearest);
}
