// flags - reads a command line by a table of rows, and prints the help from the same table.
#include "base/flags.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"
#include "base/version_text.h"

#define ROWS_MAX 64
#define HELP_COLUMN_MAX 22 // names that reach it get a line of their own
#define HELP_WIDTH 79

// One pass over a command line.
struct reader {
    const struct flags *flags;
    char **argv;
    int argc, at;     // argv[at] is read next
    size_t next_word; // the row from which the next positional argument's row is looked for
    bool only_words;  // "--" has come
    bool seen[ROWS_MAX];
};

static bool is_option(const struct flag *row) {
    return strncmp(row->name, "--", 2) == 0;
}

// ---- values ----

static int store_choice(const struct flag *row, const char *text) {
    size_t size = strlen(text);
    if (!row->choices)
        BUG("%s has no choices", row->name);
    for (const char *word = row->choices; word; word = strchr(word, '|')) {
        // The pointer is at a '
        // ' for every word but the first.
        word += *word == '|';
        if (size == strcspn(word, "|") && strncmp(word, text, size) == 0) {
            *row->choice = text;
            return ERR_OK;
        }
    }
    // "png, jpg or webp"
    struct text list = {0};
    for (const char *word = row->choices; *word; word += *word == '|') {
        int length = (int)strcspn(word, "|");
        bool last = !strchr(word, '|');
        text_add(&list, "%s%.*s", !list.size ? "" : last ? " or " : ", ", length, word);
        word += length;
    }
    int err = err_set(ERR_USAGE, "%s is %s, not '%s'", row->name, list.bytes, text);
    free(list.bytes);
    return err;
}

static int store_whole(const struct flag *row, const char *text) {
    int64_t value, limit = row->number ? INT_MAX : INT64_MAX;
    // 0 for both bounds is no upper bound: most rows leave both out.
    bool bounded = row->max != 0 || row->min < 0;
    if (!parse_whole(text, row->min, bounded ? row->max : limit, &value)) {
        if (bounded)
            return err_set(ERR_USAGE, "%s: '%s' is not a number from %lld to %lld", row->name, text,
                           (long long)row->min, (long long)row->max);
        return err_set(ERR_USAGE, "%s: '%s' is not a number of at least %lld", row->name, text,
                       (long long)row->min);
    }
    if (row->number)
        *row->number = (int)value;
    else
        *row->whole = value;
    return ERR_OK;
}

static int store_real(const struct flag *row, const char *text) {
    double value;
    bool bounded = row->max != 0 || row->min < 0;
    if (!parse_real(text, &value) || value < (double)row->min ||
        (bounded && value > (double)row->max))
        return err_set(ERR_USAGE, "%s: '%s' is not a number that it takes", row->name, text);
    *row->real = value;
    return ERR_OK;
}

static int store_bytes(const struct flag *row, const char *text) {
    if (!parse_size(text, row->bytes))
        return err_set(ERR_USAGE, "%s is a size like \"1 GiB\", not '%s'", row->name, text);
    return ERR_OK;
}

static int store(struct reader *r, const struct flag *row, const char *text) {
    // Only the reader knows which rows occurred; required rows are checked at the end.
    r->seen[row - r->flags->rows] = true;
    if (row->choice)
        return store_choice(row, text);
    if (row->number || row->whole)
        return store_whole(row, text);
    if (row->real)
        return store_real(row, text);
    if (row->bytes)
        return store_bytes(row, text);
    if (row->texts) {
        struct flag_texts *t = row->texts;
        t->at = xrealloc(t->at, ((size_t)t->n + 1) * sizeof *t->at);
        t->at[t->n++] = text;
        return ERR_OK;
    }
    if (!row->text)
        BUG("%s has no destination", row->name);
    *row->text = text;
    return ERR_OK;
}

// ---- options and arguments ----

static int refuse_option(const struct reader *r, const char *word, size_t size) {
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)MIN(size, sizeof name), word); // cut if longer
    const char *nearest = NULL;
    // One more than allowed, so that the first name within the limit is taken.
    int best = parse_edits_allowed(name) + 1;
    for (size_t i = 0; i < r->flags->count; i++) {
        const struct flag *row = &r->flags->rows[i];
        int distance = parse_edit_distance(name, row->name);
        if (is_option(row) && distance < best) {
            best = distance;
            nearest = row->name;
        }
    }
    if (nearest)
        return err_set(ERR_USAGE, "there is no option '%s', did you mean %s?", name, nearest);
    return err_set(ERR_USAGE, "there is no option '%s'; see %s --help", name, r->flags->program);
}

// `size` letters of `name` are "--run" or "-r".
// Options are compared in full: abbreviations would change their meaning with new options.
static const struct flag *find_option(const struct flags *flags, const char *name, size_t size) {
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *row = &flags->rows[i];
        if (is_option(row) && size == strlen(row->name) && memcmp(name, row->name, size) == 0)
            return row;
        if (row->letter && size == 2 && name[0] == '-' && name[1] == row->letter)
            return row;
    }
    return NULL;
}

static int read_option(struct reader *r, const char *word) {
    const char *equals = strchr(word, '=');
    size_t size = equals ? (size_t)(equals - word) : strlen(word);
    const struct flag *row = find_option(r->flags, word, size);
    if (!row)
        return refuse_option(r, word, size);
    if (row->on) {
        if (equals)
            return err_set(ERR_USAGE, "%s takes no value", row->name);
        // An option without a value marks itself as seen here.
        r->seen[row - r->flags->rows] = *row->on = true;
        return ERR_OK;
    }
    if (equals)
        return store(r, row, equals + 1);
    if (r->at == r->argc)
        return err_set(ERR_USAGE, "%s needs a value", row->name);
    return store(r, row, r->argv[r->at++]);
}

static int read_argument(struct reader *r, const char *word) {
    const struct flags *f = r->flags;
    // Rows of options are skipped: positional rows are taken in their own order.
    while (r->next_word < f->count && is_option(&f->rows[r->next_word]))
        r->next_word++;
    if (r->next_word == f->count)
        return err_set(ERR_USAGE, "'%s' is one argument too many; see %s --help", word, f->program);
    const struct flag *row = &f->rows[r->next_word];
    r->next_word += !row->texts; // a list takes all that follow
    return store(r, row, word);
}

static int read_word(struct reader *r, const char *word) {
    // A lone "-" is an argument: many programs take it as stdin.
    if (r->only_words || word[0] != '-' || word[1] == 0)
        return read_argument(r, word);
    if (strcmp(word, "--") == 0) {
        r->only_words = true;
        return ERR_OK;
    }
    // Help and version are no options of the table: every program has them.
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        char *text = flags_help(r->flags);
        (void)fputs(text, stdout); // a closed pipe is the reader's wish
        free(text);
        return ERR_STOPPED;
    }
    if (strcmp(word, "--version") == 0) {
        (void)printf("%s %s\n", r->flags->program, version_text());
        return ERR_STOPPED;
    }
    return read_option(r, word);
}

int flags_read(const struct flags *flags, int argc, char **argv) {
    struct reader r = {.flags = flags, .argv = argv, .argc = argc, .at = 1};
    if (flags->count > ROWS_MAX)
        BUG("%s has %zu options", flags->program, flags->count);
    while (r.at < argc) {
        int err = read_word(&r, argv[r.at++]);
        if (err)
            return err;
    }
    // Only now: --help may stand behind what is incomplete.
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *row = &flags->rows[i];
        if (row->required && !r.seen[i])
            return err_set(ERR_USAGE, "%s%s%s is missing; see %s --help", row->name,
                           row->value ? " " : "", row->value ? row->value : "", flags->program);
    }
    return ERR_OK;
}

// ---- help ----

// "--recursive, -r", "--run DIR", "IN"
static void print_name(const struct flag *row, char *ret, size_t n) {
    const char *value = row->value ? row->value : row->choice ? row->choices : "";
    char letter[8] = "";
    if (row->letter)
        (void)snprintf(letter, sizeof letter, ", -%c", row->letter);
    (void)snprintf(ret, n, "%s%s%s%s", row->name, letter, *value ? " " : "", value);
}

// The text behind the name in lines of HELP_WIDTH; `column` is where the line stands already.
static void add_wrapped(struct text *t, const char *help, size_t indent) {
    size_t column = indent;
    // Words are broken at blanks only; a word longer than the line stands alone.
    for (const char *word = help + strspn(help, " "); *word;) {
        size_t size = strcspn(word, " ");
        bool first = column == indent;
        if (!first && column + 1 + size > HELP_WIDTH) {
            text_add(t, "\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        text_add(t, "%s%.*s", first ? "" : " ", (int)size, word);
        column += size + !first;
        word += size + strspn(word + size, " ");
    }
    text_add(t, "\n");
}

static size_t help_column(const struct flags *flags) {
    size_t column = strlen("--help, --version");
    for (size_t i = 0; i < flags->count; i++) {
        char name[200];
        print_name(&flags->rows[i], name, sizeof name);
        if (flags->rows[i].help)
            column = MAX(column, strlen(name));
    }
    return MIN(column + 4, HELP_COLUMN_MAX); // two spaces before the name and two behind it
}

char *flags_help(const struct flags *flags) {
    size_t column = help_column(flags);
    struct text t = {0};
    text_add(&t, "%s\n", flags->intro);
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *row = &flags->rows[i];
        char name[200];
        if (!row->help)
            continue;
        print_name(row, name, sizeof name);
        text_add(&t, "  %-*s", (int)column - 2, name);
        // A name as long as the column gets the help on a line of its own.
        if (strlen(name) + 4 > column)
            text_add(&t, "\n%*s", (int)column, "");
        add_wrapped(&t, row->help, column);
    }
    text_add(&t, "  --help, --version\n");
    if (flags->notes)
        text_add(&t, "\n%s", flags->notes);
    return t.bytes;
}
