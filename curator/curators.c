#include "curators.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const struct curator *const table[] = {
    &curator_folder,
    &curator_celeba,
    &curator_anime,
    &curator_exec,
};

const struct curator *curator_find(const char *name) {
    for (size_t i = 0; i < COUNT(table); i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

char *curators_help(void) {
    char *text = xstrdup("");
    for (size_t i = 0; i < COUNT(table); i++) {
        char *longer = xasprintf("%s  %-8s %s\n", text, table[i]->name, table[i]->help);
        free(text);
        text = longer;
    }
    return text;
}

void curation_depends(struct curation *c, const char *format, ...) {
    char line[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); // longer than any path
    va_end(args);
    char *longer = xasprintf("%s%s\n", c->sources ? c->sources : "", line);
    free(c->sources);
    c->sources = longer;
}

void curation_say(const struct curation *c, const char *level, const char *code, const char *format,
                  ...) {
    char text[900];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); // a cut text is still a text
    va_end(args);
    c->say(c->context, level, code, text);
}
