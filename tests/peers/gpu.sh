#!/usr/bin/env bash
# tests/peers/gpu.sh BUILD DEVICE SHAPE - a training step of ours and of PyTorch on the local GPU
# (`make gpu-peers SHAPE=resnet_9blocks,128,1`; several with blanks between them; all: those of
# gpu_check --shapes). What was measured is kept in $BUILD/gpu_peers: a call measures what is missing
# until BUDGET seconds (480) are over, and prints the table of all there is. FRESH=1 measures anew.
# Without a GPU or PyTorch: `not run`, exit status 77.
#
# PyTorch's ways, from its plainest to its fastest, all computing the same step (torch_step.py):
#   eager_tf32      as it comes, cuDNN's autotuner on
#   amp_bf16        automatic bfloat16, channels_last
#   graph_bf16      that, forwards with shared weights as one batch, fused Adam, a norm that stays
#                   in channels_last, all of a step captured as a CUDA graph
#   compiled_bf16   that, compiled (mode default)
#   autotuned_bf16  that, mode max-autotune-no-cudagraphs: minutes to compile a shape
# Expected, not measured: 20 s a shape for ours and for each of the first three, 1 to 2 minutes for
# the fourth, up to 6 for the last, which is measured when all others are. One shape fits in a call,
# without the last two or three.
#
# Bars: the fastest of PyTorch's ways at batch 1 takes at least 3 times as long as ours in bf16, at
# batch 4 twice, at 6 and 16 1.5 times; ours holds at most half its memory.
set -u
BUILD=$1 DEVICE=$2 SHAPE=$3
PYTHON=${PYTHON:-python3}
STEPS=${STEPS:-50}
BUDGET=${BUDGET:-480}
TORCH_DEVICE=${TORCH_DEVICE:-cuda} # cpu: to try this script
cd "$(dirname "$0")/../.." || exit 1
WORK=$PWD/$BUILD/gpu_peers
END=$((SECONDS + BUDGET))
[ -z "${FRESH:-}" ] || rm -rf "$WORK"
mkdir -p "$WORK"
export TORCHINDUCTOR_CACHE_DIR=$WORK/inductor TRITON_CACHE_DIR=$WORK/triton
CHECK=("$BUILD/bin/gpu_check" --device "$DEVICE")
[ "$DEVICE" = cuda ] || CHECK+=(--small)

WAYS=(eager_tf32 amp_bf16 graph_bf16 compiled_bf16 autotuned_bf16)
merged="--dtype bf16 --channels-last --norm manual --merge --adam fused --cuda-graph"
declare -A OPTIONS=(
    [eager_tf32]="--dtype tf32"
    [amp_bf16]="--dtype bf16 --channels-last"
    [graph_bf16]=$merged
    [compiled_bf16]="$merged --compile default"
    [autotuned_bf16]="$merged --compile max-autotune-no-cudagraphs"
)

"${CHECK[@]}" --only none >"$WORK/device" || {
    cat "$WORK/device"
    exit 77
}
read -ra SHAPES <<<"$SHAPE"
[ "$SHAPE" != all ] || mapfile -t SHAPES < <("${CHECK[@]}" --shapes)

time_left() { # SECONDS that it takes at least
    [ $((END - SECONDS)) -ge "$1" ] || LATER=1
    [ $((END - SECONDS)) -ge "$1" ]
}

ours() { # SHAPE
    local file=$WORK/$1.ours
    [ -s "$file" ] && return
    time_left 30 || return
    rm -f "$file"
    timeout $((END - SECONDS)) "${CHECK[@]}" --only speed --shape "$1" --json "$file" \
        >"$WORK/$1.log" 2>&1 || echo "FAIL $1: $(grep FAIL "$WORK/$1.log" || tail -n 1 "$WORK/$1.log")"
}

peer() { # SHAPE WAY
    local file=$WORK/$1.$2 arch size batch code options
    IFS=, read -r arch size batch <<<"$1"
    [ ! -s "$file.json" ] && [ ! -e "$file.failed" ] || return 0
    time_left 30 || return 0
    read -ra options <<<"${OPTIONS[$2]} ${PEER_OPTIONS:-}"
    timeout $((END - SECONDS)) "$PYTHON" tests/peers/torch_step.py --device "$TORCH_DEVICE" \
        --size "$size" --batch "$batch" --blocks "${arch//[!0-9]/}" --steps "$STEPS" --label "$2" \
        "${options[@]}" >"$file.out" 2>"$file.log" && mv "$file.out" "$file.json"
    code=$?
    if [ $code = 124 ]; then
        LATER=1
    elif [ $code != 0 ]; then
        tail -n 1 "$file.log" >"$file.failed"
    fi
}

LATER=0
HAS_TORCH=1
"$PYTHON" -c 'import sys, torch
sys.exit(sys.argv[1] == "cuda" and not torch.cuda.is_available())' "$TORCH_DEVICE" 2>/dev/null || HAS_TORCH=0
for shape in "${SHAPES[@]}"; do
    ours "$shape"
    [ $HAS_TORCH = 1 ] || continue
    for way in "${WAYS[@]:0:4}"; do
        peer "$shape" "$way"
    done
done
for shape in "${SHAPES[@]}"; do
    [ $HAS_TORCH = 0 ] || peer "$shape" "${WAYS[4]}"
done

"$PYTHON" tests/peers/gpu_table.py "$WORK" "${WAYS[@]}" -- "${SHAPES[@]}"
[ $LATER = 0 ] || echo "not finished within $BUDGET s: the same command measures what is missing"
[ $HAS_TORCH = 1 ] || {
    echo "not run: PyTorch's steps: $PYTHON has no torch that sees a GPU (PYTHON=FILE names another)"
    exit 77
}
