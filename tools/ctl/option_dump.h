// option_dump - reads the option dumps of the PyTorch repositories (train_opt.txt).
//
//     ----------------- Options ---------------
//                    batch_size: 4                                    [default: 1]
//                          name: horse2zebra
//     ----------------- End -------------------
//
// A line is "name: value", then a tab and "[default: ...]" if the value is not the default.
#ifndef OPTION_DUMP_H
#define OPTION_DUMP_H

#include <stdbool.h>
#include <stddef.h>

struct option_line {
    char *name, *value; // the value is trimmed; "" stands for none
};

struct options {
    struct option_line *lines; // in the order of the file
    int count;
};

// ERR_IO; ERR_DATA if the file has no option, or has a line that is none.
int options_read(const char *path, struct options *ret_options);
void options_fini(struct options *o);

// The last value of an option; `missing` if there is none. Lent until options_fini.
const char *options_value(const struct options *o, const char *name, const char *missing);
// The same as a whole number; `missing` also if it is no number.
long long options_number(const struct options *o, const char *name, long long missing);
// Whether the option is True.
bool options_flag(const struct options *o, const char *name);

#endif
