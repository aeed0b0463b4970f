// config - the settings of a run, typed and checked.
//
// Three layers of libconfig files make one: the preset (presets/NAME.conf), the user's file, and
// --set a.b=v. `ctl` and `up` resolve them (config_resolve) and write the effective settings, with
// absolute paths, to runs/NAME/pipeline.conf, which every process reads (config_load_effective).
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SECTION(section, title) struct config_##section {
#define INT(section, key, value, min, max, unit, help) int64_t key;
#define REAL(section, key, value, min, max, unit, help) double key;
#define BOOL(section, key, value, help) bool key;
#define STR(section, key, value, help) char *key;
#define CHOICE(section, key, value, choices, help) char *key;
#define SIZE(section, key, value, help) int64_t key;
#define RANGE(section, key, low, high, min, max, unit, help) int64_t key[2];
#define LIST(section, key, help) char *key;
#define END(section)                                                                               \
    }                                                                                              \
    ;
#include "config/config.def"

// Domains have a struct each; the other sections exist once.
struct config {
    struct config_top top;
    struct config_curator curator[2]; // 0 is A, 1 is B
    struct config_loader loader;
    struct config_trainer trainer;
    struct config_pool pool;
    struct config_monitor monitor;
    struct config_translate translate;
    struct config_supervisor supervisor;
};

// One problem of a configuration. All are collected before the configuration is refused.
struct config_problem {
    char where[512]; // "pipeline.conf:31" or "--set loader.batch_size=x"
    char text[512];  // what is wrong and what to do
};
struct config_problems {
    int count;
    struct config_problem *items;
};
void config_problems_fini(struct config_problems *problems);

// Reads preset, file and sets; checks kinds, ranges, unknown keys (with the nearest known one) and
// cross-conditions (crop <= load, sizes divide, the pool fits its budget, folders exist, ...).
//   file      path of the user's file; NULL: none (only sets)
//   presets   folder of the presets
//   sets      "section.key=value", n_sets of them
// ERR_CONFIG if there are problems. ret_problems is valid after every call; free it with
// config_problems_fini. On success *ret_config is complete, with absolute paths.
int config_resolve(const char *file, const char *presets, const char *const *sets, int n_sets,
                   struct config **ret_config, struct config_problems *ret_problems);

// Reads a file of config_write: no preset, no recipe, no checks between keys. ERR_CONFIG, ERR_IO.
int config_load_effective(const char *path, struct config **ret_config);

// All defaults, without a recipe.
struct config *config_new(void);
void config_free(struct config *c); // accepts NULL

// Iterates over the texts of a LIST. *at starts as the setting's value and is moved. *ret_text is
// lent: *ret_size bytes without a 0 behind them. False at the end.
bool config_list_next(const char **at, const char **ret_text, size_t *ret_size);

// Whether `text` is one of them.
bool config_list_has(const char *list, const char *text);

// Stores a copy of `text` in a STR, CHOICE or LIST setting and frees the old value.
void config_set_text(char **field, const char *text);

// Writes every setting with its section in the order of config.def. The text has no time, host or
// origin: equal settings give equal bytes.
int config_write(const struct config *c, FILE *out);

// The value of a key ("loader.batch_size", "curator.A.root", "name") as --set spells it, with texts
// bare, into ret (n bytes). False: there is no such key.
bool config_get_text(const struct config *c, const char *path, char *ret, size_t n);

// The value that --set PATH=TEXT would set, as the file spells it; the caller frees it. NULL if the
// key does not accept TEXT (ret_problem, n bytes, has the reason), or if there is no such key
// (ret_problem is "").
char *config_spell(const char *path, const char *text, char *ret_problem, size_t n);

// Calls `each` for every key with its dotted path and its value as text.
void config_each(const struct config *c, void *context,
                 void (*each)(void *context, const char *path, const char *value));

// Calls `each` for every key of one curator's section with its name and its value as text.
void config_each_of_curator(const struct config_curator *settings, void *context,
                            void (*each)(void *context, const char *name, const char *value));

// The differences between two configurations that a resumed run may not have (keys of MATH in
// config.def, and the curators' sections): one line "section.key: old -> new" each, "" for none.
// The caller frees it. n_epochs, n_epochs_decay and max_steps may grow.
char *config_math_differences(const struct config *saved, const struct config *now);

// Prints the reference of all settings: as --help text, as Markdown, as a commented file.
void config_print_help(FILE *out);
void config_print_markdown(FILE *out);
void config_print_conf(FILE *out);

#endif
