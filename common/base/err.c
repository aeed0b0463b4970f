// err - one text of the last error for each thread, and the table made from err.def.
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char last_text[1024];

// Codes are negative and count down from 0, so -err is the index.
static const struct {
    const char *name;
    int exit_code;
} table[] = {
    {"ERR_OK", 0},
#define ERR(name, code, text) {"ERR_" #name, code},
#include "base/err.def"
#undef ERR
};

#define N_ERRORS ((int)(sizeof table / sizeof *table))

// In parentheses it is no macro; see err.h.
int(err_set)(int err, const char *format, ...) {
    char text[sizeof last_text]; // arguments may point into the old text
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); // may be cut
    va_end(args);
    memcpy(last_text, text, sizeof text);
    return err;
}

int(err_prefix)(int err, const char *format, ...) {
    char text[2 * sizeof last_text]; // room for the prefix; what is too long is cut below
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    // A prefix that fills the buffer alone is dropped; the text itself matters more.
    if (n < 0 || n >= (int)sizeof last_text)
        return err;
    (void)snprintf(text + n, sizeof text - (size_t)n, ": %s", last_text);
    memcpy(last_text, text, sizeof last_text);
    last_text[sizeof last_text - 1] = 0;
    return err;
}

const char *err_text(void) {
    return last_text;
}

const char *err_name(int err) {
    // Unknown codes may come from a peer's message, so they are no bug.
    return err > 0 || -err >= N_ERRORS ? "ERR_?" : table[-err].name;
}

int err_exit_code(int err) {
    return err > 0 || -err >= N_ERRORS ? 1 : table[-err].exit_code;
}

void bug_at(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "BUG at %s:%d: ", file, line);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    // abort leaves a core file with the stack of the fault.
    abort();
}
