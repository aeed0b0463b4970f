#!/usr/bin/env bash
# tests/gpu/first_hour.sh [FOLDER [STEP...]] - what a GPU that is lent for half an hour is asked, the
# most valuable first (docs/cuda.md, "The first GPU"). Each step's tables go to FOLDER/STEP.txt, how
# it ended and how long it took to FOLDER/summary.txt; FOLDER (build/gpu_first_hour) is all that has
# to be copied out.
#
# One call takes LIMIT seconds (570) at most. Then, or when it is stopped, the same command goes on:
# a step that has ended, well or not, is not repeated unless it is named. Works in a checkout that was
# built, and in a bare one beside which PACK (gpu-pack) lies, see `make gpu-pack`.
#
# Exit status: 77 if there is no GPU, 75 if something is left, 1 if a step failed, else 0.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
FOLDER=${1:-build/gpu_first_hour}
[ $# = 0 ] || shift
ALL=(machine ops bits golden speed nets large profile pipeline peers dtypes sanitize)
DEVICE=${DEVICE:-cuda} PACK=${PACK:-gpu-pack} LIMIT=${LIMIT:-570}
BUILD=${BUILD:-build}
MAKE=${MAKE:-make} SCRIPTS=${SCRIPTS:-tests/gpu} # other ones for tests
STEPS=("${ALL[@]}")
[ $# = 0 ] || STEPS=("$@")
export PACK

# Seconds without which a step is not begun. Guesses; LEAST for tests.
least() { # STEP
    case ${LEAST:+all}$1 in
    all*) echo "$LEAST" ;;
    machine | ops | speed) echo 120 ;;
    pipeline | peers | dtypes) echo 180 ;;
    *) echo 60 ;;
    esac
}

check() { # PART...
    WHOLE=$LEFT "$SCRIPTS/check" "$BUILD" "$DEVICE" "$PACK/golden.bin" "$@"
}

# Code for this GPU alone: the build is part of the time. make's status says nothing of `not run`.
machine() {
    local said
    nvidia-smi || true # it may be missing where CUDA works
    said=$("$MAKE" -s -j"$(nproc)" gpu-plugin "$BUILD/bin/gpu_check" "DEVICE=$DEVICE" \
        "GPU_PACK=$PACK" 2>&1) || {
        echo "$said"
        ! grep -q '^not run: ' <<<"$said" || return 77
        return 1
    }
    "$BUILD/bin/gpu_check" --device "$DEVICE" --only none
}

do_step() { # STEP
    case $1 in
    machine) machine ;;
    ops) check ops-bf16 ops-tf32 ops-fp32 ;;
    profile) check profile=resnet_9blocks,256,6 ;;
    bits | golden | nets | large | speed) check "$1" ;;
    pipeline | dtypes) LIMIT=$LEFT "$SCRIPTS/$1.sh" ;;
    peers) BUDGET=$((LEFT - 60)) "$SCRIPTS/../peers/gpu.sh" "$BUILD" "$DEVICE" resnet_9blocks,128,1 ;;
    sanitize) LIMIT=$((LEFT / 2 - 10)) "$SCRIPTS/sanitize.sh" "$BUILD" "$DEVICE" ;;
    esac
}

word() { # exit status
    case $1 in
    0) echo ok ;;
    75) echo 'not finished' ;;
    77) echo 'not run' ;;
    *) echo FAIL ;;
    esac
}

summary() {
    local step code seconds
    for step in "${ALL[@]}"; do
        if [ -e "$FOLDER/$step.ended" ]; then
            read -r code seconds <"$FOLDER/$step.ended"
            printf '%-10s %-12s %5d s  %s\n' "$step" "$(word "$code")" "$seconds" \
                "$(tail -n 1 "$FOLDER/$step.txt")"
        else
            printf '%-10s %-12s\n' "$step" 'not begun'
        fi
    done
}

# A step that was stopped from outside has left no `.ended`; what was built may be gone with the
# machine.
has_ended() { # STEP
    local code=75
    [ "$1" != machine ] || [ -x "$BUILD/bin/gpu_check" ] || return 1
    [ ! -e "$FOLDER/$1.ended" ] || read -r code _ <"$FOLDER/$1.ended"
    [ "$code" != 75 ]
}

step() { # STEP
    local start=$SECONDS code
    LEFT=$((LIMIT - SECONDS - 5))
    [ "$LEFT" -ge "$(least "$1")" ] || return 75
    echo "== $1"
    export -f do_step check machine
    export LEFT BUILD DEVICE MAKE SCRIPTS
    rm -f "$FOLDER/$1.ended"
    timeout -k 5 "$LEFT" bash -c "do_step $1" 2>&1 | tee "$FOLDER/$1.txt"
    code=${PIPESTATUS[0]}
    case $code in 124 | 137) code=75 ;; esac
    echo "$code $((SECONDS - start))" >"$FOLDER/$1.ended"
    return "$code"
}

for s in "${STEPS[@]}"; do
    [[ " ${ALL[*]} " == *" $s "* ]] || {
        echo "first_hour: $s is none of ${ALL[*]}" >&2
        exit 2
    }
done
mkdir -p "$FOLDER"
CODE=0
for s in "${STEPS[@]}"; do
    [ $# -gt 0 ] || ! has_ended "$s" || continue
    code=0
    step "$s" || code=$?
    summary >"$FOLDER/summary.txt"
    if [ "$code" = 75 ] || { [ "$s" = machine ] && [ "$code" != 0 ]; }; then
        CODE=$code
        break
    fi
done
echo
cat "$FOLDER/summary.txt"
[ "$CODE" != 75 ] || echo "not finished within $LIMIT s: the same command goes on where it stopped"
[ "$CODE" != 0 ] || ! grep -q ' FAIL ' "$FOLDER/summary.txt" || CODE=1
exit "$CODE"
