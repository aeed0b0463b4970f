// each_instructions - tries every instruction set that this machine has, within one program.
//
// It takes the place of common/base/instructions.c, which asks once.
#ifndef EACH_INSTRUCTIONS_H
#define EACH_INSTRUCTIONS_H

#include "base/instructions.h"

static enum instructions tried = INSTRUCTIONS_AVX512;

static enum instructions machine_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return INSTRUCTIONS_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return INSTRUCTIONS_AVX2;
#endif
    return INSTRUCTIONS_PLAIN;
}

enum instructions instructions_best(void) {
    return tried < machine_best() ? tried : machine_best();
}

// Leaves the best one chosen.
#define FOR_EACH_INSTRUCTIONS                                                                      \
    for (int one = INSTRUCTIONS_PLAIN; one <= (int)machine_best(); one++)                          \
        if ((tried = (enum instructions)one) <= machine_best())

#endif
