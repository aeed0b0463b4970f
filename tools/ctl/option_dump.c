// option_dump - the parser of train_opt.txt. It knows the format of lines, and nothing of any
// option.
#include "ctl/option_dump.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"

#define FILE_MAX_BYTES (1 << 20)
#define BLANKS " \t\r"

// A copy, because the text of the file is freed.
static char *trimmed(const char *text, size_t size) {
    size_t skip = MIN(strspn(text, BLANKS), size);
    text += skip;
    size -= skip;
    while (size > 0 && strchr(BLANKS, text[size - 1]))
        size--;
    return xasprintf("%.*s", (int)size, text);
}

static int add_line(struct options *o, const char *path, const char *line) {
    const char *colon = strchr(line, ':'), *start = line + strspn(line, BLANKS);
    if (*start == 0 || *start == '-')
        return ERR_OK; // empty, or a line of dashes
    if (!colon || colon == start)
        return err_set(ERR_DATA, "%s: '%.80s' is no line of an option dump (name: value)", path,
                       start);
    // Behind the value only: a value may hold the words without the tab.
    const char *mark = strstr(colon, "\t[default: ");
    size_t size = mark ? (size_t)(mark - colon - 1) : strlen(colon + 1);
    o->lines = xrealloc(o->lines, ((size_t)o->count + 1) * sizeof *o->lines);
    o->lines[o->count++] = (struct option_line){
        .name = trimmed(line, (size_t)(colon - line)),
        .value = trimmed(colon + 1, size),
    };
    return ERR_OK;
}

int options_read(const char *path, struct options *ret_options) {
    struct options o = {0};
    uint8_t *bytes;
    size_t size;
    int err = fs_read(path, FILE_MAX_BYTES, &bytes, &size);
    if (err)
        return err;
    // Windows editors add a byte order mark.
    size_t mark = text_mark_bytes(bytes, size);
    char *text = xasprintf("%.*s", (int)(size - mark), (const char *)bytes + mark), *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line && !err; line = strtok_r(NULL, "\n", &rest))
        err = add_line(&o, path, line);
    free(text);
    free(bytes);
    if (!err && o.count == 0)
        err = err_set(ERR_DATA, "%s holds no options", path);
    if (err)
        options_fini(&o);
    else
        *ret_options = o;
    return err;
}

void options_fini(struct options *o) {
    for (int i = 0; i < o->count; i++) {
        free(o->lines[i].name);
        free(o->lines[i].value);
    }
    free(o->lines);
    *o = (struct options){0};
}

const char *options_value(const struct options *o, const char *name, const char *missing) {
    // From the end: a dump that was appended to has newer lines below.
    for (int i = o->count - 1; i >= 0; i--)
        if (strcmp(o->lines[i].name, name) == 0)
            return o->lines[i].value;
    return missing;
}

long long options_number(const struct options *o, const char *name, long long missing) {
    const char *text = options_value(o, name, "");
    char *end;
    long long number = strtoll(text, &end, 10);
    return *text && !*end ? number : missing;
}

// Python's spelling.
bool options_flag(const struct options *o, const char *name) {
    return strcmp(options_value(o, name, "False"), "True") == 0;
}
