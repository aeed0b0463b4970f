// kernel_list - which kernels a training has used: lines of text, sorted, each once.
//
// Kernel choices are part of the bits, so a checkpoint names them. Tapes come and go, and a resumed
// training has not built yet what its predecessor had: the list only ever grows.
#ifndef KERNELS_H
#define KERNELS_H

// All lines of both texts. `old` is freed and may be NULL; the result is the caller's.
char *kernels_merge(char *old, const char *more);

// A line of `now` whose convolution (what is before ": ") has lines in `old`, but none of them is
// this one. NULL: there is none. Caller frees.
char *kernels_changed(const char *old, const char *now);

#endif
