// key - the list of settings as a table, and values on their way into struct config. For
// config/ only.
#ifndef CONFIG_KEY_H
#define CONFIG_KEY_H

#include "config/config.h"

enum config_kind {
    CONFIG_INT,
    CONFIG_REAL,
    CONFIG_BOOL,
    CONFIG_STR,
    CONFIG_CHOICE,
    CONFIG_SIZE,
    CONFIG_RANGE,
    CONFIG_LIST
};

enum config_section_id {
#define SECTION(section, title) CONFIG_SECTION_##section,
#include "config/config.def"
    CONFIG_SECTIONS
};

struct config_section {
    const char *name, *title;
    size_t offset; // in struct config
    size_t size;   // of one struct of it
};

struct config_key {
    enum config_section_id section;
    const char *name;
    enum config_kind kind;
    size_t offset;       // in the section's struct
    int64_t low, high;   // default of INT, BOOL (low), RANGE
    double real;         // default of REAL
    const char *text;    // default of STR, CHOICE, SIZE
    double min, max;     // INT, REAL, RANGE
    const char *choices; // CHOICE: "a|b|c"
    const char *unit, *help;
};

extern const struct config_section config_sections[CONFIG_SECTIONS];
extern const struct config_key config_keys[];
extern const int config_key_count;

// Where a key's value lies in c; `domain` 0 or 1 for a curator's, else 0.
void *config_value_at(const struct config *c, const struct config_key *key, int domain);
// 2 for a curator's key, else 1.
int config_domains(const struct config_key *key);
// "loader.batch_size", "curator.A.root", "name".
void config_key_path(const struct config_key *key, int domain, char *ret, size_t n);
// The key of that path; NULL if there is none.
const struct config_key *config_key_find(const char *path, int *ret_domain);
// The key of that name in a section; NULL if there is none.
const struct config_key *config_key_in(enum config_section_id section, const char *name);
// Whether a resumed run may not change it.
bool config_key_is_math(const struct config_key *key);
// Whether its value is a char * of its own: STR, CHOICE, LIST.
bool config_key_is_text(const struct config_key *key);
// For an unknown name in a section (or CONFIG_SECTIONS: any): ", did you mean ...?" or "".
void config_key_suggest(enum config_section_id section, const char *name, char *ret, size_t n);

// A value as libconfig or --set gave it, not yet checked.
struct config_value {
    enum {
        VALUE_INT,
        VALUE_REAL,
        VALUE_BOOL,
        VALUE_TEXT,
        VALUE_LIST,
        VALUE_TEXTS,
        VALUE_OTHER
    } type;
    int64_t integer; // VALUE_INT, VALUE_BOOL
    double real;     // VALUE_REAL
    const char *text;
    int count;       // VALUE_LIST: of integers, all of them
    int64_t list[2]; // the first two
    char *texts;     // VALUE_TEXTS: as a LIST has them; owned, freed by config_value_fini
};

void config_value_fini(struct config_value *value);

// Reads the text of a --set as the key's kind wants it.
void config_value_parse(const struct config_key *key, const char *text, struct config_value *ret);
// Checks kind and range and stores. False: `ret_problem` (n bytes) says what is wrong.
bool config_value_store(struct config *c, const struct config_key *key, int domain,
                        const struct config_value *value, char *ret_problem, size_t n);
// The value as --set would spell it; strings bare.
void config_value_text(const struct config *c, const struct config_key *key, int domain, char *ret,
                       size_t n);
// The value as the file spells it; strings quoted. Caller frees.
char *config_value_literal(const struct config *c, const struct config_key *key, int domain);
// A text as the file spells it, in quotes. Caller frees.
char *config_quote(const char *text);
// config_list: a list from --set, as "[night, dawn/dusk]", with or without brackets and quotes (a
// comma within quotes is a letter); as --set spells it; as the file spells it, to be freed.
void config_list_parse(const char *text, struct config_value *ret);
void config_list_text(const char *list, char *ret, size_t n);
char *config_list_literal(const char *list);

struct config *config_new(void); // all defaults

// ---- a configuration being put together ----

// Where each value came from, to blame it.
struct config_origin {
    int layer; // 0 default, 1 preset, 2 file, 3 --set
    char *where;
};
struct config_draft {
    struct config *config;
    struct config_origin *origins; // [config_key_count][2]
    struct config_problems *problems;
    bool misread; // something was not understood: what is not set may have been meant by it
};

struct config_origin *config_origin(const struct config_draft *d, const struct config_key *key,
                                    int domain);
void config_blame(struct config_draft *d, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// config_read: lays a file's settings over the draft. Problems are collected, never returned.
void config_read_layer(struct config_draft *d, const char *path, int layer);
// Lays one "section.key=value" over it.
void config_read_set(struct config_draft *d, const char *set);
// config_recipe: defaults of a model that differ from the general ones; ends with a NULL model.
struct config_recipe {
    const char *model, *path, *value;
};
extern const struct config_recipe config_recipes[];
// Sets them where no layer has set anything.
void config_take_recipe(struct config_draft *d);
// config_check: derives what dataroot says, makes paths absolute, then the cross-conditions. Where
// reading has found problems it is silent about what may only follow from them.
void config_check(struct config_draft *d);

#endif
