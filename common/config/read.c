// Reading a layer: a libconfig file, or one --set.
#include "config/draft.h"
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// libconfig has a config_write too; it is not used here, and its prototype must not meet ours.
#define config_write libconfig_config_write
#include <libconfig.h>
#undef config_write

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

#define FILE_MAX (1 << 20)

struct reading {
    struct config_draft *draft;
    const char *path;
    int layer;
};

static void blame_line(struct reading *r, int line, const char *text) {
    char where[512];
    snprintf(where, sizeof where, "%s:%d", r->path, line);
    config_blame(r->draft, where, "%s", text);
}

// ---- mistakes that libconfig accepts silently ----

// Comments may hold anything, so they are skipped as libconfig does.
static const char *skip_comment(const char *at) {
    if (at[0] == '#' || (at[0] == '/' && at[1] == '/'))
        return at + strcspn(at, "\n");
    const char *end = strstr(at + 2, "*/");
    return end ? end + 2 : at + strlen(at);
}

static const char *skip_string(const char *at) {
    // An escaped quote does not end the text.
    for (at++; *at && *at != '"'; at++)
        if (at[0] == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

// libconfig 1.5 silently cuts whole numbers to 32 bits.
static const char *scan_number(struct reading *r, int line, const char *at) {
    char token[64], text[160];
    // Everything that may belong to a number, also of bases and suffixes.
    size_t length = strspn(at + 1, "0123456789abcdefABCDEFxXLl.") + 1;
    bool decimal = strspn(at + 1, "0123456789") + 1 == length;
    bool hexadecimal = strncasecmp(at + (*at == '-' || *at == '+'), "0x", 2) == 0;
    snprintf(token, sizeof token, "%.*s", (int)length, at);
    errno = 0;
    long long value = strtoll(token, NULL, decimal ? 10 : 16);
    // Reals are not checked here: libconfig reads them as doubles.
    if ((decimal || hexadecimal) && (errno || value > INT32_MAX || value < INT32_MIN)) {
        snprintf(text, sizeof text,
                 "%s does not fit into 32 bits; a size in bytes is a text as \"128 MiB\"", token);
        blame_line(r, line, text);
    }
    return at + length;
}

static bool is_comment(const char *at) {
    return at[0] == '#' || (at[0] == '/' && (at[1] == '/' || at[1] == '*'));
}

static bool is_number(const char *at) {
    return isdigit((unsigned char)at[(*at == '-' || *at == '+') ? 1 : 0]);
}

// False: a problem was found, and libconfig must not read the text.
static bool scan_text(struct reading *r, const char *text) {
    int before = r->draft->problems->count, line = 1;
    // Names may hold digits, so they are skipped as a whole.
    for (const char *at = text, *next; *at; at = next) {
        if (is_comment(at))
            next = skip_comment(at);
        else if (*at == '"')
            next = skip_string(at);
        else if (isalpha((unsigned char)*at) || *at == '*')
            next = at + 1 +
                   strspn(at + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_*");
        else if (is_number(at))
            next = scan_number(r, line, at);
        else
            next = at + 1;
        if (*at == '@')
            blame_line(r, line, "@include is not taken here; use preset = \"NAME\"");
        // Newlines inside comments and texts count as lines too.
        for (; at < next; at++)
            line += *at == '\n';
    }
    return r->draft->problems->count == before;
}

// ---- the tree ----

// A list holds only whole numbers or only texts. An empty one counts as texts.
static void read_list(const config_setting_t *s, struct config_value *v) {
    struct text texts = {0};
    int n = config_setting_length(s), numbers = 0, strings = 0;
    text_add(&texts, "%s", "");
    for (int i = 0; i < n; i++) {
        const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);
        const char *string = config_setting_get_string(item);
        if (string && !strchr(string, '\n')) {
            text_add(&texts, "%s\n", string);
            strings++;
        } else if (config_setting_type(item) == CONFIG_TYPE_INT && numbers++ < 2) {
            v->list[numbers - 1] = config_setting_get_int64(item);
        }
    }
    v->count = n;
    v->type = strings == n ? VALUE_TEXTS : numbers == n ? VALUE_LIST : VALUE_OTHER;
    if (v->type == VALUE_TEXTS)
        v->texts = texts.bytes;
    else
        free(texts.bytes);
}

static struct config_value value_of(const config_setting_t *s) {
    struct config_value v = {.type = VALUE_OTHER};
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        v.type = VALUE_INT;
        v.integer = config_setting_get_int64(s);
        break;
    case CONFIG_TYPE_FLOAT:
        v.type = VALUE_REAL;
        v.real = config_setting_get_float(s);
        break;
    case CONFIG_TYPE_BOOL:
        v.type = VALUE_BOOL;
        v.integer = config_setting_get_bool(s);
        break;
    case CONFIG_TYPE_STRING:
        v.type = VALUE_TEXT;
        v.text = config_setting_get_string(s);
        break;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        read_list(s, &v);
        break;
    }
    return v;
}

static void set_value(struct config_draft *d, const char *where, int layer,
                      const struct config_key *key, int domain, const struct config_value *value) {
    char path[128], problem[400];
    config_key_path(key, domain, path, sizeof path);
    if (!config_value_store(d->config, key, domain, value, problem, sizeof problem)) {
        config_blame(d, where, "%s: %s", path, problem);
        return;
    }
    struct config_origin *origin = config_origin(d, key, domain);
    origin->layer = layer;
    config_set_text(&origin->where, where);
}

static void read_key(struct reading *r, config_setting_t *s, enum config_section_id section,
                     int domain) {
    const char *name = config_setting_name(s);
    const struct config_key *key = config_key_in(section, name);
    char where[512], suggestion[200];
    snprintf(where, sizeof where, "%s:%d", r->path, (int)config_setting_source_line(s));
    if (!key) {
        config_key_suggest(section, name, suggestion, sizeof suggestion);
        config_blame(r->draft, where, "unknown key `%s`%s%s%s", name,
                     section == CONFIG_SECTION_top ? "" : " in ",
                     section == CONFIG_SECTION_top ? "" : config_sections[section].name,
                     suggestion);
        return;
    }
    struct config_value value = value_of(s);
    set_value(r->draft, where, r->layer, key, domain, &value);
    config_value_fini(&value);
}

static void read_group(struct reading *r, config_setting_t *group, enum config_section_id section,
                       int domain) {
    for (int i = 0; i < config_setting_length(group); i++)
        read_key(r, config_setting_get_elem(group, (unsigned)i), section, domain);
}

static bool is_group(struct reading *r, config_setting_t *s) {
    char text[200];
    if (config_setting_is_group(s))
        return true;
    snprintf(text, sizeof text, "`%.64s` is a group: %.64s = { ... }", config_setting_name(s),
             config_setting_name(s));
    blame_line(r, config_setting_source_line(s), text);
    return false;
}

static void read_curators(struct reading *r, config_setting_t *group) {
    for (int i = 0; i < config_setting_length(group); i++) {
        config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(s);
        if (strcmp(name, "A") != 0 && strcmp(name, "B") != 0)
            blame_line(r, config_setting_source_line(s),
                       "curator has two groups: curator = { A = { ... } B = { ... } }");
        else if (is_group(r, s))
            read_group(r, s, CONFIG_SECTION_curator, name[0] - 'A');
    }
}

static void read_root(struct reading *r, config_setting_t *root) {
    for (int i = 0; i < config_setting_length(root); i++) {
        config_setting_t *s = config_setting_get_elem(root, (unsigned)i);
        int section = CONFIG_SECTION_top + 1;
        while (section < CONFIG_SECTIONS &&
               strcmp(config_sections[section].name, config_setting_name(s)) != 0)
            section++;
        if (section == CONFIG_SECTIONS)
            read_key(r, s, CONFIG_SECTION_top, 0);
        else if (!is_group(r, s))
            continue;
        else if (section == CONFIG_SECTION_curator)
            read_curators(r, s);
        else
            read_group(r, s, (enum config_section_id)section, 0);
    }
}

// The first line whose last string is not closed on it; 0: none. libconfig reads on to the next
// quote, so it finds the error in a later line.
static int unclosed_line(const char *text) {
    bool inside = false, comment = false;
    int line = 1;
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            if (inside)
                return line;
            comment = false;
            line++;
        } else if (!comment && !inside && (*c == '#' || (*c == '/' && c[1] == '/'))) {
            comment = true;
        } else if (inside && *c == '\\' && c[1] && c[1] != '\n') {
            c++; // an escaped quote, or any other
        } else if (!comment && *c == '"') {
            inside = !inside;
        }
    }
    return inside ? line : 0;
}

static void blame_syntax(struct reading *r, const char *text, const config_t *tree) {
    int line = unclosed_line(text);
    char *missing = xasprintf("%s: a quote is missing", config_error_text(tree));
    if (line && line <= config_error_line(tree))
        blame_line(r, line, missing);
    else
        blame_line(r, config_error_line(tree), config_error_text(tree));
    free(missing);
}

static void read_text(struct reading *r, const char *text) {
    config_t tree;
    config_init(&tree);
    if (config_read_string(&tree, text))
        read_root(r, config_root_setting(&tree));
    else
        blame_syntax(r, text, &tree);
    config_destroy(&tree);
}

void config_read_layer(struct config_draft *d, const char *path, int layer) {
    struct reading r = {.draft = d, .path = path, .layer = layer};
    uint8_t *text;
    size_t size;
    if (fs_read(path, FILE_MAX, &text, &size)) {
        config_blame(d, path, "%s", err_text());
        return;
    }
    const char *begin = (char *)text + text_mark_bytes(text, size);
    if (memchr(text, 0, size))
        config_blame(d, path, "is not a text file");
    else if (scan_text(&r, begin))
        read_text(&r, begin);
    free(text);
}

void config_read_set(struct config_draft *d, const char *set) {
    char where[512], path[128], suggestion[200];
    const char *equals = strchr(set, '=');
    struct config_value value;
    int domain;
    snprintf(where, sizeof where, "--set %s", set);
    if (!equals || equals - set >= (long)sizeof path) {
        config_blame(d, where, "write --set section.key=value");
        return;
    }
    snprintf(path, sizeof path, "%.*s", (int)(equals - set), set);
    const struct config_key *key = config_key_find(path, &domain);
    if (!key) {
        const char *dot = strrchr(path, '.');
        int section = CONFIG_SECTION_top;
        for (int i = 1; i < CONFIG_SECTIONS; i++)
            if (dot && strncmp(path, config_sections[i].name, strlen(config_sections[i].name)) == 0)
                section = i;
        config_key_suggest((enum config_section_id)section, dot ? dot + 1 : path, suggestion,
                           sizeof suggestion);
        config_blame(d, where, "unknown key `%s`%s", path, suggestion);
        return;
    }
    config_value_parse(key, equals + 1, &value);
    set_value(d, where, 3, key, domain, &value);
    config_value_fini(&value);
}
