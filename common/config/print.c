// Prints the settings of a run (config_write), and the reference of all settings as help, as
// Markdown and as a commented file.
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "config/draft.h"
#include "config/value.h"

// In the order of config.def, so equal settings give equal files.
static void write_section(const struct config *c, FILE *out, enum config_section_id section,
                          int domain, const char *indent) {
    for (int i = 0; i < config_key_count; i++) {
        if (config_keys[i].section != section)
            continue;
        char *literal = config_value_literal(c, &config_keys[i], domain);
        fprintf(out, "%s%s = %s;\n", indent, config_keys[i].name, literal);
        free(literal);
    }
}

int config_write(const struct config *c, FILE *out) {
    for (int s = 0; s < CONFIG_SECTIONS; s++) {
        const char *name = config_sections[s].name;
        if (s == CONFIG_SECTION_top) {
            write_section(c, out, s, 0, "");
        } else if (s == CONFIG_SECTION_curator) {
            fprintf(out, "\n%s = {\n    A = {\n", name);
            write_section(c, out, s, 0, "        ");
            fprintf(out, "    };\n    B = {\n");
            write_section(c, out, s, 1, "        ");
            fprintf(out, "    };\n};\n");
        } else {
            fprintf(out, "\n%s = {\n", name);
            write_section(c, out, s, 0, "    ");
            fprintf(out, "};\n");
        }
    }
    // Errors of all fprintf calls are kept by the stream until here.
    if (fflush(out) || ferror(out))
        return err_set(ERR_IO, "write the settings: %m");
    return ERR_OK;
}

// "a|b|c" as "a, b, c".
static void list_choices(const char *choices, char *ret, size_t n) {
    size_t used = 0;
    for (; *choices && used + 2 < n; choices++) {
        ret[used++] = *choices == '|' ? ',' : *choices;
        if (*choices == '|')
            ret[used++] = ' ';
    }
    ret[used] = 0;
}

// "1 to 1024 images", "auto, cpu, cuda", ...
static void allowed(const struct config_key *key, char *ret, size_t n) {
    const char *space = *key->unit ? " " : "";
    switch (key->kind) {
    case CONFIG_INT:
    case CONFIG_REAL:
        snprintf(ret, n, "%.10g to %.10g%s%s", key->min, key->max, space, key->unit);
        break;
    case CONFIG_RANGE:
        snprintf(ret, n, "[low, high] of %.10g to %.10g%s%s", key->min, key->max, space, key->unit);
        break;
    case CONFIG_BOOL:
        (void)text_copy(ret, n, "true, false");
        break;
    case CONFIG_STR:
        (void)text_copy(ret, n, "text");
        break;
    case CONFIG_LIST:
        (void)text_copy(ret, n, "list of texts");
        break;
    case CONFIG_SIZE:
        (void)text_copy(ret, n, "size, as \"128 MiB\"");
        break;
    case CONFIG_CHOICE:
        list_choices(key->choices, ret, n);
        break;
    }
}

static const char *title_prefix(int section) {
    return section == CONFIG_SECTION_top       ? "top level"
           : section == CONFIG_SECTION_curator ? "curator.A, curator.B"
                                               : config_sections[section].name;
}

void config_print_help(FILE *out) {
    // A configuration of defaults is printed, so texts and program cannot differ.
    struct config *c = config_new();
    for (int s = 0; s < CONFIG_SECTIONS; s++) {
        fprintf(out, "%s%s - %s\n", s ? "\n" : "", title_prefix(s), config_sections[s].title);
        for (int i = 0; i < config_key_count; i++) {
            const struct config_key *key = &config_keys[i];
            char range[200];
            if ((int)key->section != s)
                continue;
            // Both domains have the same defaults.
            char *literal = config_value_literal(c, key, 0);
            allowed(key, range, sizeof range);
            fprintf(out, "  %-18s %s\n  %-18s (%s; %s)\n", key->name, key->help, "", literal,
                    range);
            free(literal);
        }
    }
    config_free(c);
}

void config_print_markdown(FILE *out) {
    struct config *c = config_new();
    fprintf(
        out,
        "# Settings\n\nMade by `build/bin/ctl config-markdown` from `common/config/config.def`.\n\n"
        "The file is libconfig: `key = value;`, groups in braces, `#` comments. Three layers "
        "make\nthe settings of a run: the preset, the file, `--set section.key=value`; the "
        "later one wins.\nKeys marked * cannot change when a run goes on; use `--fork NEW` or "
        "`--fresh` then.\n");
    for (int s = 0; s < CONFIG_SECTIONS; s++) {
        fprintf(out, "\n## %s: %s\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n",
                title_prefix(s), config_sections[s].title);
        for (int i = 0; i < config_key_count; i++) {
            const struct config_key *key = &config_keys[i];
            char range[200];
            if ((int)key->section != s)
                continue;
            char *literal = config_value_literal(c, key, 0);
            allowed(key, range, sizeof range);
            fprintf(out, "| `%s`%s | `%s` | %s | %s |\n", key->name,
                    config_key_is_math(key) ? " *" : "", literal, range, key->help);
            free(literal);
        }
    }
    fprintf(out, "\n## Defaults that trainer.model changes\n\nWhat any layer sets stands.\n\n"
                 "| model | key | default |\n|---|---|---|\n");
    for (const struct config_recipe *r = config_recipes; r->model; r++)
        fprintf(out, "| %s | `%s` | `%s` |\n", r->model, r->path, r->value);
    config_free(c);
}

void config_print_conf(FILE *out) {
    struct config *c = config_new();
    fprintf(out, "# Every setting with its default.\n");
    for (int s = 0; s < CONFIG_SECTIONS; s++) {
        const char *indent = s == CONFIG_SECTION_top ? "" : "    ";
        fprintf(out, "\n# %s\n", config_sections[s].title);
        if (s == CONFIG_SECTION_curator)
            fprintf(out, "curator = { A = {\n");
        else if (s != CONFIG_SECTION_top)
            fprintf(out, "%s = {\n", config_sections[s].name);
        for (int i = 0; i < config_key_count; i++) {
            const struct config_key *key = &config_keys[i];
            char range[200];
            if ((int)key->section != s)
                continue;
            char *literal = config_value_literal(c, key, 0);
            allowed(key, range, sizeof range);
            fprintf(out, "%s# %s (%s)\n%s%s = %s;\n", indent, key->help, range, indent, key->name,
                    literal);
            free(literal);
        }
        if (s == CONFIG_SECTION_curator)
            fprintf(out, "}; B = { /* the same keys */ }; };\n");
        else if (s != CONFIG_SECTION_top)
            fprintf(out, "};\n");
    }
    config_free(c);
}
