// option_dump - the option dump that the PyTorch repositories leave beside their checkpoints
// (train_opt.txt): "name: value", a tab and "[default: ...]" where it differs, between two rules.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct option_line {
    char *name, *value; // the value without blanks around it; "" for none
};

struct options {
    struct option_line *lines; // in the file's order
    int count;
};

// ERR_IO; ERR_DATA if the file holds no option, or a line that is none.
int options_read(const char *path, struct options *ret_options);
void options_fini(struct options *o);

// The value of an option, the last one if it occurs twice; `missing` if there is none.
const char *options_value(const struct options *o, const char *name, const char *missing);
// As a whole number; `missing` if there is none or it is no number.
long long options_number(const struct options *o, const char *name, long long missing);
// Whether it is True.
bool options_flag(const struct options *o, const char *name);

#endif
