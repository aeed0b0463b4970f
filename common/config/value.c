// Values: from text, into struct config after a check, and back to text.
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"

// ---- the struct ----

struct config *config_new(void) {
    struct config *c = xcalloc(1, sizeof *c);
    for (int i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        for (int domain = 0; domain < config_domains(key); domain++) {
            // Every value starts as its default; layers overwrite it.
            void *at = config_value_at(c, key, domain);
            int64_t *numbers = at;
            if (key->kind == CONFIG_REAL)
                *(double *)at = key->real;
            else if (key->kind == CONFIG_BOOL)
                *(bool *)at = key->low != 0;
            else if (config_key_is_text(key))
                *(char **)at = xstrdup(key->text);
            else if (key->kind == CONFIG_SIZE && !parse_size(key->text, at))
                BUG("default of %s", key->name);
            else if (key->kind == CONFIG_INT || key->kind == CONFIG_RANGE)
                numbers[0] = key->low;
            if (key->kind == CONFIG_RANGE)
                numbers[1] = key->high;
        }
    }
    return c;
}

void config_free(struct config *c) {
    if (!c)
        return;
    for (int i = 0; i < config_key_count; i++)
        for (int domain = 0; domain < config_domains(&config_keys[i]); domain++)
            // Only texts own memory.
            if (config_key_is_text(&config_keys[i]))
                free(*(char **)config_value_at(c, &config_keys[i], domain));
    free(c);
}

void config_set_text(char **field, const char *text) {
    // Copied first: `text` may be the old value or a part of it.
    char *copy = xstrdup(text);
    free(*field);
    *field = copy;
}

// ---- lists of texts ----

// A list is one text with a newline behind each item; "" is the empty list.
bool config_list_next(const char **at, const char **ret_text, size_t *ret_size) {
    const char *end = strchr(*at, '\n');
    if (!end)
        return false;
    *ret_text = *at;
    *ret_size = (size_t)(end - *at);
    *at = end + 1;
    return true;
}

bool config_list_has(const char *list, const char *text) {
    const char *item;
    size_t size;
    while (config_list_next(&list, &item, &size))
        if (size == strlen(text) && memcmp(item, text, size) == 0)
            return true;
    return false;
}

// A list from --set, as "[night, dawn/dusk]", with or without brackets and quotes. A comma within
// quotes is a letter.
static void parse_texts(const char *text, struct config_value *ret) {
    struct text texts = {0};
    const char *end = text + strlen(text);
    // The last character is read only if the first is '[', so never before the text.
    bool brackets = *text == '[' && end[-1] == ']';
    text_add(&texts, "%s", "");
    text += brackets;
    end -= brackets;
    while (text < end) {
        text += strspn(text, " ");
        bool quoted = *text == '"' && memchr(text + 1, '"', (size_t)(end - text - 1));
        const char *stop = quoted ? strchr(text + 1, '"') : memchr(text, ',', (size_t)(end - text));
        const char *from = text + quoted, *to = stop ? stop : end;
        text = stop ? stop + 1 : end;
        // Blanks around unquoted items are not part of them.
        while (!quoted && to > from && to[-1] == ' ')
            to--;
        if (to > from)
            text_add(&texts, "%.*s\n", (int)(to - from), from);
        if (quoted)
            text += strspn(text, " ,");
    }
    // A newline would split one item in two.
    ret->type = strchr(ret->text, '\n') ? VALUE_OTHER : VALUE_TEXTS;
    ret->texts = texts.bytes;
}

// The list as --set spells it.
static void print_texts(const char *list, char *ret, size_t n) {
    struct text t = {0};
    const char *item;
    size_t size;
    text_add(&t, "[");
    while (config_list_next(&list, &item, &size)) {
        // Quotes only where the item would be read differently without them.
        const char *mark = memchr(item, ',', size) || *item == ' ' ? "\"" : "";
        text_add(&t, "%s%s%.*s%s", t.size > 1 ? ", " : "", mark, (int)size, item, mark);
    }
    text_add(&t, "]");
    (void)text_copy(ret, n, t.bytes); // may be cut
    free(t.bytes);
}

// The list as the file spells it; the caller frees it.
static char *texts_literal(const char *list) {
    struct text t = {0};
    const char *item;
    size_t size;
    text_add(&t, "[");
    while (config_list_next(&list, &item, &size)) {
        char *copy = xasprintf("%.*s", (int)size, item), *quoted = config_quote(copy);
        text_add(&t, "%s%s", t.size > 1 ? ", " : "", quoted);
        free(copy);
        free(quoted);
    }
    text_add(&t, "]");
    return t.bytes;
}

// ---- from text ----

static bool parse_integer(const char *text, char **ret_end, int64_t *ret) {
    errno = 0;
    // Base 0: hexadecimal is accepted, as libconfig does.
    *ret = strtoll(text, ret_end, 0);
    return *ret_end != text && errno == 0;
}

static bool parse_list(const char *text, struct config_value *ret) {
    char *end;
    text += strspn(text, " [(");
    for (ret->count = 0; ret->count < 2; ret->count++) {
        if (!parse_integer(text, &end, &ret->list[ret->count]))
            return false;
        text = end + strspn(end, " ,");
    }
    return text[strspn(text, " ])")] == 0;
}

void config_value_fini(struct config_value *value) {
    free(value->texts);
    value->texts = NULL;
}

void config_value_parse(const struct config_key *key, const char *text, struct config_value *ret) {
    char *end;
    // A text that is no number stays VALUE_TEXT; storing it explains the problem.
    *ret = (struct config_value){.type = VALUE_TEXT, .text = text};
    switch (key->kind) {
    case CONFIG_INT:
        if (parse_integer(text, &end, &ret->integer) && *end == 0)
            ret->type = VALUE_INT;
        break;
    case CONFIG_REAL:
        ret->real = strtod(text, &end);
        if (end != text && *end == 0)
            ret->type = VALUE_REAL;
        break;
    case CONFIG_BOOL:
        ret->integer = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
        if (ret->integer || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            ret->type = VALUE_BOOL;
        break;
    case CONFIG_RANGE:
        if (parse_list(text, ret))
            ret->type = VALUE_LIST;
        break;
    case CONFIG_LIST:
        parse_texts(text, ret);
        break;
    case CONFIG_STR:
    case CONFIG_CHOICE:
    case CONFIG_SIZE:
        break;
    }
}

// ---- into the struct ----

// Writes the problem; false, so that a check can return it.
static bool refuse_value(char *ret, size_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse_value(char *ret, size_t n, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ret, n, format, arguments);
    va_end(arguments);
    return false;
}

static bool in_range(const struct config_key *key, double value, char *ret, size_t n) {
    // Comparisons with NaN are false.
    if (value >= key->min && value <= key->max) // false for NaN
        return true;
    return refuse_value(ret, n, "%.17g is out of range, %.17g to %.17g%s%s", value, key->min,
                        key->max, *key->unit ? " " : "", key->unit);
}

// Whether `text` is the choice at `choice`, which ends with | or 0. A # in it stands for a number
// from 1 to 999.
static bool is_this_choice(const char *choice, const char *text) {
    for (; *choice && *choice != '|'; choice++) {
        if (*choice != '#') {
            if (*choice != *text++)
                return false;
            continue;
        }
        // 1 to 999, without a leading 0.
        size_t digits = strspn(text, "0123456789");
        if (!digits || digits > 3 || *text == '0')
            return false;
        text += digits;
    }
    return !*text;
}

static bool is_choice(const char *choices, const char *text) {
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (is_this_choice(at, text))
            return true;
    }
    return false;
}

static bool store_numbers(void *at, const struct config_key *key, const struct config_value *value,
                          char *ret, size_t n) {
    int64_t *range = at;
    if (value->type != VALUE_LIST || value->count != 2)
        return refuse_value(ret, n, "wants two whole numbers, as [%lld, %lld]", (long long)key->low,
                            (long long)key->high);
    if (!in_range(key, (double)value->list[0], ret, n) ||
        !in_range(key, (double)value->list[1], ret, n))
        return false;
    if (value->list[0] > value->list[1])
        return refuse_value(ret, n, "the first number is larger than the second");
    range[0] = value->list[0];
    range[1] = value->list[1];
    return true;
}

static bool store_number(void *at, const struct config_key *key, const struct config_value *value,
                         char *ret, size_t n) {
    // A whole number may stand for a real one, not the reverse.
    double number = value->type == VALUE_INT ? (double)value->integer : value->real;
    bool whole = key->kind == CONFIG_INT;
    if (value->type != VALUE_INT && (whole || value->type != VALUE_REAL))
        return refuse_value(ret, n, "wants a %snumber, %.17g to %.17g%s%s", whole ? "whole " : "",
                            key->min, key->max, *key->unit ? " " : "", key->unit);
    if (!in_range(key, number, ret, n))
        return false;
    if (whole)
        *(int64_t *)at = value->integer;
    else
        *(double *)at = number;
    return true;
}

static bool store_text(void *at, const struct config_key *key, const struct config_value *value,
                       char *ret, size_t n) {
    if (key->kind == CONFIG_SIZE) {
        if (value->type == VALUE_TEXT && parse_size(value->text, at))
            return true;
        return refuse_value(ret, n,
                            "wants a size with a unit in quotes, as \"%s\" (B, KiB, MiB, GiB, "
                            "TiB, kB, MB, GB)",
                            key->text);
    }
    if (value->type != VALUE_TEXT)
        return refuse_value(ret, n, "wants a text in quotes");
    if (key->kind == CONFIG_CHOICE && !is_choice(key->choices, value->text))
        return refuse_value(ret, n, "'%s' is none of %s", value->text, key->choices);
    config_set_text(at, value->text);
    return true;
}

bool config_value_store(struct config *c, const struct config_key *key, int domain,
                        const struct config_value *value, char *ret_problem, size_t n) {
    void *at = config_value_at(c, key, domain);
    switch (key->kind) {
    case CONFIG_INT:
    case CONFIG_REAL:
        return store_number(at, key, value, ret_problem, n);
    case CONFIG_RANGE:
        return store_numbers(at, key, value, ret_problem, n);
    case CONFIG_BOOL:
        if (value->type != VALUE_BOOL)
            return refuse_value(ret_problem, n, "wants true or false");
        *(bool *)at = value->integer != 0;
        return true;
    case CONFIG_LIST:
        if (value->type != VALUE_TEXTS)
            return refuse_value(ret_problem, n, "wants a list of texts, as [\"a\", \"b\"]");
        config_set_text(at, value->texts);
        return true;
    case CONFIG_STR:
    case CONFIG_CHOICE:
    case CONFIG_SIZE:
        break;
    }
    return store_text(at, key, value, ret_problem, n);
}

// ---- back to text ----

// The shortest text of 15 to 17 digits that reads back as the same number. It always has a point,
// since libconfig reads "1" as an integer.
static void real_text(double value, char *ret, size_t n) {
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    char *exponent = strchr(digits, 'e');
    bool point = strchr(digits, '.') != NULL;
    int mantissa = (int)(exponent ? (size_t)(exponent - digits) : strlen(digits));
    snprintf(ret, n, "%.*s%s%s", mantissa, digits, point ? "" : ".0", exponent ? exponent : "");
}

void config_value_text(const struct config *c, const struct config_key *key, int domain, char *ret,
                       size_t n) {
    const void *at = config_value_at(c, key, domain);
    const int64_t *numbers = at;
    switch (key->kind) {
    case CONFIG_INT:
        snprintf(ret, n, "%lld", (long long)*numbers);
        break;
    case CONFIG_REAL:
        real_text(*(const double *)at, ret, n);
        break;
    case CONFIG_BOOL:
        (void)text_copy(ret, n, *(const bool *)at ? "true" : "false");
        break;
    case CONFIG_STR:
    case CONFIG_CHOICE:
        (void)text_copy(ret, n, *(char *const *)at);
        break;
    case CONFIG_SIZE:
        parse_print_size(*numbers, ret, n);
        break;
    case CONFIG_LIST:
        print_texts(*(char *const *)at, ret, n);
        break;
    case CONFIG_RANGE:
        snprintf(ret, n, "[%lld, %lld]", (long long)numbers[0], (long long)numbers[1]);
        break;
    }
}

char *config_quote(const char *text) {
    // At most 4 bytes for each: \x and two digits.
    char *quoted = xmalloc(4 * strlen(text) + 3), *to = quoted;
    *to++ = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            to += sprintf(to, "\\%c", c);
        // libconfig accepts \x escapes, but no raw control characters.
        else if (c < 0x20)
            to += sprintf(to, "\\x%02x", c);
        else
            *to++ = (char)c;
    }
    to[0] = '"';
    to[1] = 0;
    return quoted;
}

char *config_value_literal(const struct config *c, const struct config_key *key, int domain) {
    // Numbers, booleans and ranges are short.
    char text[128];
    if (key->kind == CONFIG_STR || key->kind == CONFIG_CHOICE)
        return config_quote(*(char *const *)config_value_at(c, key, domain));
    if (key->kind == CONFIG_LIST)
        return texts_literal(*(char *const *)config_value_at(c, key, domain));
    config_value_text(c, key, domain, text, sizeof text);
    return key->kind == CONFIG_SIZE ? config_quote(text) : xstrdup(text);
}
