// kernel_list - the kernels that a training has used, as sorted lines without duplicates.
//
// The choice of kernels influences the last bits, so a checkpoint names them. The list only grows:
// tapes come and go, and a resumed training builds them again only later.
#ifndef KERNELS_H
#define KERNELS_H

// The union of the lines. Frees `old`, which may be NULL. The caller frees the result.
char *kernels_merge(char *old, const char *more);

// A line of `now` whose convolution (the text before ": ") has lines in `old`, but not this one.
// NULL: there is none. The caller frees it.
char *kernels_changed(const char *old, const char *now);

#endif
