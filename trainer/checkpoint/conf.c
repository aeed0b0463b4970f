// Prints the settings that decide a checkpoint's bits. config.def is expanded twice: MATH marks
// those settings, STR and CHOICE those that need quotes.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "checkpoint/parts.h"

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
#include "config/config.def"
    // These two decide the schedule, but may change when a run is continued.
    "trainer.n_epochs",
    "trainer.n_epochs_decay",
};
#undef MATH
#undef STR
#define STR(section, key, value, help) #section "." #key,
#undef CHOICE
#define CHOICE(section, key, value, choices, help) #section "." #key,
static const char *const word_keys[] = {
#include "config/config.def"
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
        if (strcmp(word_keys[i], key) == 0)
            return true;
    return false;
}

static void print_section(FILE *out, const struct config *config, const char *section) {
    size_t n = strlen(section);
    bool top = strcmp(section, "top") == 0;

    for (size_t i = 0; i < COUNT(math_keys); i++) {
        const char *key = math_keys[i];
        char value[4096];

        // The dot: a key must have the whole name of the section in front.
        if (strncmp(key, section, n) != 0 || key[n] != '.')
            continue;
        if (!config_get_text(config, top ? key + n + 1 : key, value, sizeof value))
            BUG("no setting '%s'", key);
        const char *quote = is_word(key) ? "\"" : "";
        fprintf(out, "%s%s = %s%s%s;\n", top ? "" : "    ", key + n + 1, quote, value, quote);
    }
}

char *checkpoint_conf(const struct config *config) {
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
