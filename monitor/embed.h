// embed - a file of this folder as a constant in the program.
#ifndef EMBED_H
#define EMBED_H

#include <stddef.h>

// Defines `const char NAME[]`, NUL-terminated, and `const char NAME_end[]`, its NUL.
#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n.global " #name "\n.global " #name "_end\n" #name ":\n"         \
            ".incbin \"" file "\"\n" #name "_end:\n.byte 0\n.popsection\n");                       \
    extern const char name[], name##_end[]

#define EMBED_SIZE(name) ((size_t)(name##_end - name))

#endif
