// progress_bar - shows the progress of a translation: a bar on a terminal, else a line every few
// seconds. Each failure gets a line of its own. All functions are thread-safe.
#ifndef PROGRESS_BAR_H
#define PROGRESS_BAR_H

#include <stdbool.h>

struct progress_bar;

// For `total` images. `quiet`: prints failures and the sum only.
struct progress_bar *progress_bar_new(int total, bool quiet);
// One image is done. `problem` is NULL, or the reason of the failure.
void progress_bar_ended(struct progress_bar *t, const char *problem);
// Progress of the current image, 0 to 1.
void progress_bar_part(struct progress_bar *t, double part);
// Prints a line of text.
void progress_bar_print(struct progress_bar *t, const char *text);
// Number of images that ended with a problem. To be called when no worker runs any more.
int progress_bar_failed(const struct progress_bar *t);
// Prints the sum and frees the bar. `present`: number of outputs that existed and were kept.
void progress_bar_end(struct progress_bar *t, int present);

#endif
