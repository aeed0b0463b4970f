// table - a text file of lines, each a name and some fields: CelebA's lists, official or Kaggle's.
//
//   official .txt              Kaggle .csv
//   202599                     image_id,lefteye_x,lefteye_y,...
//   lefteye_x lefteye_y ...    000001.jpg,69,109,...
//   000001.jpg  69  109 ...
//
// Fields are separated by blanks, tabs or commas; empty lines are passed over. A field may stand in
// quotes (RFC 4180), and a byte order mark may stand at the beginning.
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>

#define TABLE_FIELDS 64 // of a line; what is behind is not seen

struct table {
    const char *path; // lent
    char *text, *at;  // owned; cut into fields up to `at`
    int line;
    char *fields[TABLE_FIELDS]; // of the last line taken; point into text
    int count;
    long long rows; // what the first line of the official layout says, else -1
};

// Reads the file whole. ERR_DATA: not there, too large, not a text file.
int table_open(const char *path, struct table *ret);
void table_close(struct table *t);

// Cuts the next line into fields; false at the end of the file.
bool table_next(struct table *t);

// Takes the count in front of the official layout, if there is one (t->rows), and the line behind
// it, which has the columns' names or is the first row. ERR_DATA at the end of the file.
int table_head(struct table *t, const char *what);

// Compares t->rows with the rows there were. ERR_DATA.
int table_check_rows(const struct table *t, size_t rows);

// A finite number and nothing else.
bool table_number(const char *text, double *ret_number);

// Describes an error of the last line taken, as "file:line: ...". Returns ERR_DATA.
int table_refuse(const struct table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
