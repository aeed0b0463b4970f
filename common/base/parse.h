// parse - numbers and sizes from text that a person wrote, and the nearest of several words.
//
// Each reads the whole text: anything before or behind the value makes it invalid.
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A decimal whole number, min <= *ret <= max. False: it is none, and *ret is untouched.
bool parse_whole(const char *text, int64_t min, int64_t max, int64_t *ret);

// A finite decimal number. False: it is none, and *ret is untouched.
bool parse_real(const char *text, double *ret);

// "1 GiB", "1.5MB": a number of at least 0 with a unit (B, KiB, MiB, GiB, TiB, kB, MB, GB). The
// result is a whole number of bytes, at most 9e15, which a double holds exactly. False: it is none.
bool parse_size(const char *text, int64_t *ret_bytes);

// The inverse, with the largest binary unit that divides `bytes`: "256 MiB", "1000 B".
void parse_print_size(int64_t bytes, char *ret, size_t n);

// Edits from a to b: insert, delete or replace a letter, or swap two neighbours (optimal string
// alignment). Only the first 63 letters count.
int parse_edit_distance(const char *a, const char *b);

// The most edits for which one word still counts as a misspelling of `word`: 1 + length / 3.
int parse_edits_allowed(const char *word);

#endif
