// parse - numbers and sizes as users write them: decimal, complete, in range.
#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

// The first four are the units that parse_print_size writes.
static const struct {
    const char *name;
    int64_t bytes;
} units[] = {
    {"TiB", INT64_C(1) << 40},  {"GiB", 1 << 30},    {"MiB", 1 << 20}, {"KiB", 1 << 10},
    {"GB", 1000 * 1000 * 1000}, {"MB", 1000 * 1000}, {"kB", 1000},     {"B", 1},
};

// strtoll and strtod skip leading spaces and accept "+", "nan" and hexadecimal: none is wanted.
static bool is_decimal(const char *text) {
    const char *digits = text + (*text == '-');
    bool starts = isdigit((unsigned char)digits[0]) ||
                  (digits[0] == '.' && isdigit((unsigned char)digits[1]));
    return starts && !(digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X'));
}

bool parse_whole(const char *text, int64_t min, int64_t max, int64_t *ret) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    // strtoll stops at the first other character; the text has to end there.
    if (!is_decimal(text) || end == text || *end || errno || value < min || value > max)
        return false;
    *ret = value;
    return true;
}

bool parse_real(const char *text, double *ret) {
    char *end;
    double value = strtod(text, &end);
    if (!is_decimal(text) || *end || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

bool parse_size(const char *text, int64_t *ret_bytes) {
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    // "0x" and a leading sign or blank are refused as in is_decimal.
    if (!isdigit((unsigned char)text[0]) || errno || text[1] == 'x')
        return false;
    end += strspn(end, " ");
    for (size_t i = 0; i < COUNT(units); i++)
        if (strcmp(end, units[i].name) == 0) {
            double bytes = number * (double)units[i].bytes;
            // Only whole bytes: 1.5 KiB is fine, 0.3 KiB is not.
            if (bytes > 9e15 || bytes != floor(bytes)) // 2^53: exact in a double
                return false;
            *ret_bytes = (int64_t)bytes;
            return true;
        }
    return false;
}

// The largest unit that divides the number, so parse_size gives the same number back.
void parse_print_size(int64_t bytes, char *ret, size_t n) {
    for (size_t i = 0; i < 4; i++)
        if (bytes > 0 && bytes % units[i].bytes == 0) {
            (void)snprintf(ret, n, "%lld %s", (long long)(bytes / units[i].bytes), units[i].name);
            return;
        }
    (void)snprintf(ret, n, "%lld B", (long long)bytes);
}

// Damerau's distance (optimal string alignment): a swap of neighbours counts once.
int parse_edit_distance(const char *a, const char *b) {
    // Longer words are cut: settings and options are shorter.
    int rows[64][64];
    int n = (int)MIN(strlen(a), 63), m = (int)MIN(strlen(b), 63);
    for (int i = 0; i <= n; i++)
        rows[i][0] = i;
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, rows[i - 2][j - 2] + 1);
            rows[i][j] = best;
        }
    return rows[n][m];
}

// A third of the word: short words have few near neighbours by chance.
int parse_edits_allowed(const char *word) {
    return (int)strlen(word) / 3 + 1;
}
