// fuzz - what the fuzz targets share. A target is a reader of foreign bytes: it takes any input,
// refuses or accepts it, and checks what it accepted by another way (written again, counted, ...).
// Its working directory is its own.
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

// Each target defines these two; libFuzzer calls the first. `fuzz_X seeds` calls the second, which
// writes small valid inputs into the working directory.
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
void fuzz_seeds(void);

int LLVMFuzzerInitialize(int *argc, char ***argv);

// Makes or replaces the file.
void fuzz_write(const char *path, const void *bytes, size_t size);
// Makes the file `path` of a text.
void fuzz_write_text(const char *path, const char *text);

// Anything but true is a finding.
#define FUZZ_CHECK(claim)                                                                          \
    do {                                                                                           \
        if (!(claim))                                                                              \
            BUG("not so: %s", #claim);                                                             \
    } while (0)

#endif
