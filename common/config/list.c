// Lists of texts: kept as one text with a newline behind each item.
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "config/key.h"

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

void config_list_parse(const char *text, struct config_value *ret) {
    struct text texts = {0};
    const char *end = text + strlen(text);
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
        while (!quoted && to > from && to[-1] == ' ')
            to--;
        if (to > from)
            text_add(&texts, "%.*s\n", (int)(to - from), from);
        if (quoted)
            text += strspn(text, " ,");
    }
    ret->type = strchr(ret->text, '\n') ? VALUE_OTHER : VALUE_TEXTS;
    ret->texts = texts.bytes;
}

void config_list_text(const char *list, char *ret, size_t n) {
    struct text t = {0};
    const char *item;
    size_t size;
    text_add(&t, "[");
    while (config_list_next(&list, &item, &size)) {
        const char *mark = memchr(item, ',', size) || *item == ' ' ? "\"" : "";
        text_add(&t, "%s%s%.*s%s", t.size > 1 ? ", " : "", mark, (int)size, item, mark);
    }
    text_add(&t, "]");
    (void)text_copy(ret, n, t.bytes); // as a long text is
    free(t.bytes);
}

char *config_list_literal(const char *list) {
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
