#!/usr/bin/env bash
# tests/peers/gpu.sh BUILD DEVICE ARCH,SIZE,BATCH - a training step of ours and of PyTorch on the
# local GPU, one shape a call (`make gpu-peers SHAPE=resnet_9blocks,128,1`). PyTorch in three ways:
# eager with TF32, automatic bfloat16 in channels_last, and compiled within a CUDA graph. The last
# lines are ratios to the fastest of them. Without a GPU or PyTorch: `not run`, exit status 77.
set -u
BUILD=$1 DEVICE=$2 SHAPE=$3
IFS=, read -r ARCH SIZE BATCH <<<"$SHAPE"
PYTHON=${PYTHON:-python3}
STEPS=${STEPS:-50}
cd "$(dirname "$0")/../.." || exit 1
WORK=$(mktemp -d "${TMPDIR:-/tmp}/gpu_peers_XXXXXX") || exit 1
trap 'rm -rf "$WORK"' EXIT

"$BUILD/bin/gpu_check" --device "$DEVICE" --only speed --shape "$SHAPE" >"$WORK/ours" || {
    cat "$WORK/ours"
    exit 77
}
grep ' ms ' "$WORK/ours"
"$PYTHON" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || {
    echo "not run: PyTorch's steps: $PYTHON has no torch that sees a GPU (PYTHON=FILE names another)"
    exit 77
}

peer() { # name options...
    local name=$1
    shift
    timeout 500 "$PYTHON" tests/peers/torch_step.py --device cuda --size "$SIZE" --batch "$BATCH" \
        --blocks "${ARCH//[!0-9]/}" --steps "$STEPS" --label "$name" "$@" \
        >"$WORK/$name.json" 2>"$WORK/$name.log" || {
        echo "not run: $name: $(tail -n 1 "$WORK/$name.log")"
        rm -f "$WORK/$name.json"
    }
}

peer eager_tf32 --dtype tf32
peer amp_bf16_channels_last --dtype bf16 --channels-last
peer compiled_cuda_graph --dtype bf16 --channels-last --norm manual \
    --compile max-autotune-no-cudagraphs --cuda-graph --adam fused --merge

"$PYTHON" - "$WORK" <<'PY'
import glob, json, re, sys
work = sys.argv[1]
peers = [json.load(open(f)) for f in sorted(glob.glob(f"{work}/*.json"))]
for p in peers:
    print(f"PyTorch {p['label']:24} {p['median_s_per_step'] * 1e3:8.3f} ms  {p['peak_gpu_mb']:6} MiB")
if peers:
    best = min(peers, key=lambda p: p["median_s_per_step"])
    for line in open(f"{work}/ours"):
        m = re.match(r"(\w+) .* ([\d.]+) ms +(\d+) MiB", line)
        if m:
            print(f"{m[1]}: {best['median_s_per_step'] * 1e3 / float(m[2]):.2f} times as fast as "
                  f"{best['label']}, {int(m[3]) / best['peak_gpu_mb']:.2f} of its memory")
PY
