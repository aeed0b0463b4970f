// flags - reads a command line by a table, and prints --help from the same table.
//
//     const struct flag rows[] = {
//         {.name = "--run", .value = "DIR", .text = &r->run, .required = true, .help = "the run"},
//         {.name = "--jobs", .value = "N", .number = &r->jobs, .min = 1, .max = 64,
//          .help = "threads that read and write images; default 2"},
//         {.name = "--format", .choice = &r->format, .choices = "png|jpg", .help = "..."},
//         {.name = "--recursive", .letter = 'r', .on = &r->recursive, .help = "..."},
//         {.name = "IN", .text = &r->in, .required = true},
//     };
//     const struct flags flags = {"translate", intro, rows, COUNT(rows), notes};
//     err = flags_read(&flags, argc, argv);
//
// A row whose name begins with "--" is an option, any other a positional argument; these are filled
// in the order of the rows. Options and arguments may be mixed. "--name VALUE" and "--name=VALUE"
// are the same, "-" alone is an argument, and all that follows "--" is an argument. An option that
// comes twice keeps the last value. --help, -h and --version need no row.
#ifndef FLAGS_H
#define FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Values in the order they came. The array is the caller's to free, also after a failure; the texts
// are those of argv.
struct flag_texts {
    const char **at;
    int n;
};

struct flag {
    const char *name;    // "--run"; of a positional argument what messages call it: "IN"
    char letter;         // 'r': "-r" is the same option; 0: none
    const char *value;   // how --help calls the value: "DIR"; of a choice NULL gives `choices`
    const char *help;    // wrapped by --help; NULL: the row is not listed
    bool required;       // whether its absence is an error
    int64_t min, max;    // bounds of number, whole and real, inclusive; max 0 with min >= 0: none
    const char *choices; // "png|jpg"

    // Exactly one is set. It says of which kind the row is, and where its value goes.
    bool *on;                 // a switch; takes no value
    const char **text;        // any text, lent from argv
    const char **choice;      // one of `choices`, lent from argv
    int *number;              // a whole number
    int64_t *whole;           // the same, of 64 bits
    double *real;             // a finite number
    int64_t *bytes;           // a size like "1 GiB"
    struct flag_texts *texts; // may come several times; as an argument it takes all that are left
};

struct flags {
    const char *program;     // for messages and --version
    const char *intro;       // what --help prints before the table: purpose and usage
    const struct flag *rows; // at most 64
    size_t count;
    const char *notes; // what --help prints behind the table; NULL: nothing
};

// Reads argv[1] .. argv[argc - 1]. Destinations of rows that do not occur keep their values, so
// these are the defaults. A value is stored as soon as it is read, even if a later one is invalid.
//
// ERR_STOPPED after --help and --version, which print to stdout. ERR_USAGE for an unknown option
// (the text proposes the nearest), a missing or an invalid value, an argument too many, and a
// required row that did not occur.
int flags_read(const struct flags *flags, int argc, char **argv);

// What --help prints; for tests and documents. The caller frees it.
char *flags_help(const struct flags *flags);

#endif
