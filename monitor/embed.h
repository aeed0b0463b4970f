// embed - puts a file of this folder into the program as a constant.
#ifndef EMBED_H
#define EMBED_H

// Defines `const char NAME[]`: the file and a NUL.
#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n.global " #name "\n" #name ":\n.incbin \"" file                 \
            "\"\n.byte 0\n.popsection\n");                                                         \
    extern const char name[]

#endif
