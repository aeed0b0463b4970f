// instructions - the instruction set that kernels may use: what the processor has, limited by the
// environment. Tests use the limit to run every variant on one machine.
#include "base/instructions.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define VARIABLE "PIPELINE_INSTRUCTIONS"

static const char *const names[] = {"plain", "avx2", "avx512"};

const char *instructions_name(enum instructions which) {
    return names[which];
}

// The limit of the environment; -1: an unknown name.
static int limit_set(void) {
    const char *text = getenv(VARIABLE);

    if (!text || !*text)
        // No limit.
        return INSTRUCTIONS_AVX512;
    for (int i = 0; i < (int)COUNT(names); i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

int instructions_check(void) {
    if (limit_set() < 0)
        return err_set(ERR_CONFIG, VARIABLE "='%s': it is plain, avx2 or avx512", getenv(VARIABLE));
    return ERR_OK;
}

static enum instructions processor_set(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return INSTRUCTIONS_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return INSTRUCTIONS_AVX2;
#endif
    return INSTRUCTIONS_PLAIN;
}

enum instructions instructions_best(void) {
    static int known = -1; // not asked yet
    int best = __atomic_load_n(&known, __ATOMIC_RELAXED);

    if (best < 0) {
        int most = limit_set();
        best = processor_set();
        // An invalid limit was refused by instructions_check at the start of the process.
        if (most >= 0 && most < best)
            best = most;
        __atomic_store_n(&known, best, __ATOMIC_RELAXED); // every thread finds the same
    }
    return (enum instructions)best;
}
