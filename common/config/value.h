// value - one value of a setting: read from text, checked, stored in struct config, and written as
// text again. For config/ only.
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "config/key.h"

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
    // Exactly one of the following is set, by `type`.
    int64_t integer; // VALUE_INT, VALUE_BOOL
    double real;     // VALUE_REAL
    const char *text;
    int count;       // VALUE_LIST: of integers, all of them
    int64_t list[2]; // the first two
    char *texts;     // VALUE_TEXTS: in the form of a LIST; freed by config_value_fini
};

void config_value_fini(struct config_value *value);

// Reads the text of a --set according to the key's kind.
void config_value_parse(const struct config_key *key, const char *text, struct config_value *ret);
// Checks kind and range, and stores the value. False: ret_problem (n bytes) has the problem.
bool config_value_store(struct config *c, const struct config_key *key, int domain,
                        const struct config_value *value, char *ret_problem, size_t n);
// The value as --set would spell it; strings bare.
void config_value_text(const struct config *c, const struct config_key *key, int domain, char *ret,
                       size_t n);
// The value as the file spells it; strings quoted. Caller frees.
char *config_value_literal(const struct config *c, const struct config_key *key, int domain);
// A text as the file spells it, in quotes. Caller frees.
char *config_quote(const char *text);

#endif
