// names - a hash table from a picture's name to a row. The name is compared without its folder and
// without the extension of a picture: "1.jpg" equals "1", "1.2" does not.
//
// A hash table over rows in one array and names in one text: about 16 bytes and the name a row.
#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_MAX 2000000 // rows
#define NAME_MAX_BYTES 255

struct name_row {
    uint32_t offset; // of the name in `text`, which a 0 ends
    uint32_t line;   // of the file it stands in, or whatever the table's reader wants
    uint32_t value;  // the table's
};

// Zeroed at the start.
struct names {
    struct name_row *rows; // in the order they were added
    size_t count, capacity;
    char *text;
    size_t text_size, text_capacity;
    uint32_t *slots; // row + 1; 0: free; a power of two of them
    size_t slot_count;
};

// The row of a name, made with line and value 0 if there is none. Lent until the next call. NULL,
// and the error is set (ERR_DATA, about `name`): too long, empty or too many rows.
struct name_row *names_add(struct names *n, const char *name, size_t size, bool *ret_is_new);

// NULL if there is none.
struct name_row *names_find(const struct names *n, const char *name);

static inline const char *names_text(const struct names *n, const struct name_row *row) {
    return n->text + row->offset;
}

void names_fini(struct names *n);

#endif
