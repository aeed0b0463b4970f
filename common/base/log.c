// Short: the log has one reader, a person, and one format.
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/util.h"

static const char *name = "pipeline";

void log_name(const char *process) {
    name = process;
}

void log_line(const char *format, ...) {
    char text[2048], stamp[32];
    struct tm t;
    va_list args;
    time_t now = (time_t)(wall_us() / 1000000);
    (void)localtime_r(&now, &t);
    (void)strftime(stamp, sizeof stamp, "%F %T", &t);
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); // may be cut
    va_end(args);
    // One call a line: lines of several processes do not mix.
    (void)fprintf(stderr, "%s %s: %s\n", stamp, name, text); // a failure could only be logged here
}
