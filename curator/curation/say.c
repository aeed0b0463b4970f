// say - what a curation reports to a person, and what its verdicts depend on.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/util.h"
#include "curation/curation.h"

void curation_depends(struct curation *c, const char *format, ...) {
    // A path of PATH_MAX and a digest fit.
    char line[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); // longer than any path
    va_end(args);
    // The lines are few (list files), so growing by copying is cheap.
    char *longer = xasprintf("%s%s\n", c->sources ? c->sources : "", line);
    free(c->sources);
    c->sources = longer;
}

int curation_depends_on(struct curation *c, const char *path) {
    uint8_t digest[32];
    uint64_t size;
    char hex[65];
    // digest_file reports ERR_IO; a list file that cannot be read is a fault of the data.
    if (digest_file(path, digest, &size))
        return err_set(ERR_DATA, "%s", err_text());
    digest_hex(digest, hex);
    // The name without its folder: a moved but equal file leaves the state as it is.
    curation_depends(c, "%s %s", picture_name(path), hex);
    return ERR_OK;
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
