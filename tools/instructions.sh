#!/usr/bin/env bash
# tools/instructions.sh SET COMMAND... - runs COMMAND as on a processor without newer vector
# instructions than SET: plain (SSE2 to SSE4.1), avx2, avx512 (no limit).
#
# Each library that chooses its code by the processor has its own switch. libwebp, libspng and libsodium
# have none, but their results are exact.
set -eu
case ${1:-} in
plain)
    export PIPELINE_INSTRUCTIONS=plain
    export ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem JSIMD_FORCENONE=1
    export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA
    ;;
avx2)
    export PIPELINE_INSTRUCTIONS=avx2
    export ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell
    export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F
    ;;
avx512) ;;
*)
    echo 'tools/instructions.sh: usage: tools/instructions.sh plain|avx2|avx512 COMMAND...' >&2
    exit 2
    ;;
esac
shift
exec "$@"
