// draft - a configuration that is being put together: its values, the origin of each, and the
// problems found so far. For config/ only.
//
// Problems are collected, never returned: a user sees all of them at once. Order: init, one
// config_read_layer or _set for each layer from the lowest up, config_take_recipe, config_check,
// end.
#ifndef CONFIG_DRAFT_H
#define CONFIG_DRAFT_H

#include "config/key.h"

struct config_origin {
    int layer;   // 0 default, 1 preset, 2 file, 3 --set; read in this order, so the last one wins
    char *where; // "pipeline.conf:31" for messages; owned; NULL: the default
};

struct config_draft {
    // The values so far: defaults, then each layer over them.
    struct config *config;
    struct config_origin *origins; // [config_key_count][2]
    struct config_problems *problems;
    bool misread; // a line was not understood, so a key that seems unset may have been meant by it
};

// `problems` receives what is found; it is emptied first.
void config_draft_init(struct config_draft *d, struct config_problems *problems);
// Frees the draft with its configuration; the problems stay.
void config_draft_fini(struct config_draft *d);
// Frees the draft. Without a problem *ret_config is its configuration, else ERR_CONFIG with the
// first problem as text.
int config_draft_end(struct config_draft *d, struct config **ret_config);

struct config_origin *config_origin(const struct config_draft *d, const struct config_key *key,
                                    int domain);
// Adds a problem; both texts are cut at the size of struct config_problem.
void config_blame(struct config_draft *d, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Lays a file's settings over the draft (read.c).
void config_read_layer(struct config_draft *d, const char *path, int layer);
// Lays one "section.key=value" over it (read.c).
void config_read_set(struct config_draft *d, const char *set);

// A default that a model changes; the list ends with a NULL model.
struct config_recipe {
    const char *model, *path, *value;
};
extern const struct config_recipe config_recipes[];
// Applies the defaults of the draft's model to every key that no layer has set.
void config_take_recipe(struct config_draft *d);

// Derives the domains' folders from dataroot, makes paths absolute, then checks the conditions
// between keys. After a misread line it skips conditions whose keys may be unset because of it
// (check.c).
void config_check(struct config_draft *d);

#endif
