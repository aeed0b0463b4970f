// key - the list of settings (config.def) as a table. Outside config/ a setting is a field of
// struct config, or is asked for by name (config_get_text).
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
// For an unknown name in a section: ", did you mean `key`?", ", it is `section.key`" or "".
void config_key_suggest(enum config_section_id section, const char *name, char *ret, size_t n);

#endif
