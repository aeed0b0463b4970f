// instructions - which of the processor's vector instructions our own code uses.
//
// The best set that the processor has, at most the one that PIPELINE_INSTRUCTIONS names:
// "plain", "avx2" or "avx512". tools/instructions.sh runs a command with this limit and with the
// like switches of the libraries, so that one machine tries the code of several.
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

// Each contains those before it.
enum instructions {
    INSTRUCTIONS_PLAIN, // the baseline of the architecture; of x86-64: SSE2
    INSTRUCTIONS_AVX2,  // AVX2 and FMA
    INSTRUCTIONS_AVX512 // AVX-512F
};

// Asks the processor and the environment once; cheap afterwards, from any thread. A limit of
// another name is none; instructions_check refuses it.
enum instructions instructions_best(void);

// "plain", "avx2", "avx512"
const char *instructions_name(enum instructions which);

// ERR_CONFIG, if PIPELINE_INSTRUCTIONS is none of the names.
int instructions_check(void);

#endif
