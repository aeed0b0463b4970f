// cpu_simd - one C source, several instruction sets, chosen when the program starts.
//
// CPU_CLONES before a function compiles it for AVX-512, AVX2 and plain x86-64. It is for leaf loops
// over channels: no OpenMP inside (the compiler does not clone the outlined body). Since nothing is
// contracted or reordered (-ffp-contract=off), all clones give the same bits.
#ifndef CPU_SIMD_H
#define CPU_SIMD_H

#if defined(__x86_64__)
#define CPU_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CPU_CLONES
#endif

#endif
