#!/usr/bin/env bash
# tests/gpu/sanitize.sh BUILD DEVICE [TOOL...] - compute-sanitizer on small ops and, in bf16, on the
# steps of `bits` with small nets (`make gpu-sanitize`). Without a TOOL: memcheck, racecheck,
# initcheck and synccheck, side by side. memcheck looks at all kernels, the others at our own: what
# cuDNN's do between themselves is not ours to judge.
#
# A part ends as `ok`, `FAIL` (a complaint, or the program died) or `not finished` (after LIMIT
# seconds, 240). Exit status: 1 if one failed, else 75 if one was not finished, 77 without a GPU or
# the tool, else 0.
set -u
BUILD=$1 DEVICE=$2
shift 2
TOOLS=(memcheck racecheck initcheck synccheck)
[ $# = 0 ] || TOOLS=("$@")
LIMIT=${LIMIT:-240}
# Parts of names of NVIDIA's kernels.
FOREIGN='cudnn|cutlass|xmma|nvjet|cask|sm[0-9]+_|implicit_convolve|wgrad|dgrad'
export OMP_NUM_THREADS=4 # the tools share the cores

not_run() {
    echo "not run: compute-sanitizer, ${TOOLS[*]} ($*)"
    exit 77
}

[ "$DEVICE" = cuda ] || not_run "the emulation has no machine code to look into"
command -v compute-sanitizer >/dev/null || not_run "there is no such program"
"$BUILD/bin/gpu_check" --device "$DEVICE" --only none || exit

# How this version of the tool leaves kernels out, if it can.
without_foreign() {
    local help
    help=$(compute-sanitizer --help 2>&1)
    if grep -q -e --kernel-regex-exclude <<<"$help"; then
        echo "--kernel-regex-exclude kns=$FOREIGN"
    else
        echo "NVIDIA's kernels are judged too: this compute-sanitizer cannot leave them out" >&2
    fi
}

# Kernels that a log complains about.
complaints() { # log
    grep -o '^=========  *at [^ +]*' "$1" | sort | uniq -c | sort -nr | sed -n '1,5s/^/     /p'
}

part() { # tool part arguments of gpu_check...
    local tool=$1 log=$BUILD/sanitizer_$1_$2.log options=() start=$SECONDS code
    # Every failed call of the runtime is told by the backend; cuDNN tries some that may fail.
    if [ "$tool" = memcheck ]; then
        options=(--report-api-errors no)
    else
        read -ra options <<<"$EXCLUDE"
    fi
    timeout -k 10 "$LIMIT" compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 3 \
        "$BUILD/bin/gpu_check" --device "$DEVICE" --small --only "${@:2}" >"$log" 2>&1
    code=$?
    local what="compute-sanitizer --tool $tool, $2: $((SECONDS - start)) s"
    case $code in
    0)
        echo "ok   $what, $(tail -n 1 "$log")"
        return 0
        ;;
    124 | 137)
        echo "not finished: $what of $LIMIT; see $log"
        return 75
        ;;
    3) echo "FAIL $what, $(tail -n 1 "$log"); see $log" ;;
    *) echo "FAIL $what, exit status $code; see $log" ;;
    esac
    complaints "$log"
    return 1
}

worse() { # status status
    if [ "$1" = 1 ] || [ "$2" = 1 ]; then
        echo 1
    else
        echo $(($1 > $2 ? $1 : $2))
    fi
}

# Into a file: the tools work side by side.
tool() { # tool
    local code=0 more=0
    part "$1" ops || code=$?
    part "$1" bits --dtype bf16 || more=$?
    return "$(worse "$code" "$more")"
}

EXCLUDE=$(without_foreign)
CODE=0 PIDS=()
for t in "${TOOLS[@]}"; do
    tool "$t" >"$BUILD/sanitizer_$t.txt" &
    PIDS+=($!)
done
for i in "${!TOOLS[@]}"; do
    wait "${PIDS[i]}"
    CODE=$(worse "$CODE" $?)
    cat "$BUILD/sanitizer_${TOOLS[i]}.txt"
done
echo "compute-sanitizer: $SECONDS s"
exit "$CODE"
