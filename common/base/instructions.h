// instructions - the set of vector instructions that our own code uses.
//
// It is the best set of the processor, limited by PIPELINE_INSTRUCTIONS: "plain", "avx2" or
// "avx512". tools/instructions.sh runs a command with this limit and with the corresponding
// switches of the libraries, so that one machine tests the code of several.
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

// Each contains those before it.
enum instructions {
    INSTRUCTIONS_PLAIN, // the baseline of the architecture; of x86-64: SSE2
    INSTRUCTIONS_AVX2,  // AVX2 and FMA
    INSTRUCTIONS_AVX512 // AVX-512F
};

// Asks the processor and the environment at the first call; later calls are cheap. Any thread. An
// unknown name of a limit is ignored here; instructions_check refuses it.
enum instructions instructions_best(void);

// "plain", "avx2", "avx512"
const char *instructions_name(enum instructions which);

// ERR_CONFIG if PIPELINE_INSTRUCTIONS is set to an unknown name.
int instructions_check(void);

#endif
