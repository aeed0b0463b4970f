// tally - how far a translation has come, for a person: a bar on a terminal, else a line now and
// then; every failure on a line of its own. Functions may be called from any thread.
#ifndef TALLY_H
#define TALLY_H

#include <stdbool.h>

struct tally;

// `total` pictures; `quiet`: only failures and the end.
struct tally *tally_new(int total, bool quiet);
// A picture has ended; `problem`: NULL, or why there is none.
void tally_ended(struct tally *t, const char *problem);
// The one under way is done to this part (0 to 1).
void tally_part(struct tally *t, double part);
// A line of text between.
void tally_say(struct tally *t, const char *text);
int tally_failed(const struct tally *t);
// Prints the sum, `present` outputs that were there among it; frees it.
void tally_end(struct tally *t, int present);

#endif
