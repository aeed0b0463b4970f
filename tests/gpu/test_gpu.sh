#!/usr/bin/env bash
# What a machine with a GPU is given, tried on the emulation: gpu_check's tables are complete, the
# pack holds all that the pipeline needs, the comparisons with PyTorch and with the bare step say
# what they should. (What they measure means nothing here.)
# shellcheck source-path=SCRIPTDIR source=../pipeline/lib.sh
# shellcheck disable=SC2016,SC2317 # functions are called through ok, text is for another shell
source "$(dirname "$0")/../pipeline/lib.sh"

if [ ! -x "$BUILD/bin/gpu_check" ] || [ ! -e "$BUILD/lib/device_cuda-host.so" ]; then
    skip "gpu: no gpu_check or no emulation was built"
    finish
fi
PLUGIN=$BUILD/lib/device_cuda-host.so

# ---- gpu_check ----

check() { # options...
    "$BUILD/bin/gpu_check" --device cuda-host --small "$@" >"$WORK/out" 2>&1
}

says() { # pattern
    grep -Eq -- "$1" "$WORK/out" || ! cat "$WORK/out"
}

# GFLOP of a step at 32x32 with 9 blocks, 4 channels, batch 1, from the layers: pixels of the output
# (of a transposed one: of the input) x channels in x out x taps. G runs 6 times in both directions
# together, D twice for G and 4 times for itself; data gradients go back to what needs one.
expected_gflop() {
    awk 'BEGIN {
        first = 1024 * 3 * 4 * 49
        G = first + 256 * 4 * 8 * 9 + 64 * 8 * 16 * 9 + 18 * 64 * 16 * 16 * 9
        G += 64 * 16 * 8 * 9 + 256 * 8 * 4 * 9 + 1024 * 4 * 3 * 49
        D1 = 256 * 3 * 4 * 16
        D = D1 + 64 * 4 * 8 * 16 + 16 * 8 * 16 * 16 + 9 * 16 * 32 * 16 + 4 * 32 * 1 * 16
        all = 6 * G + 6 * D + 6 * G + 4 * D + 6 * G - 4 * first + 2 * D + 4 * (D - D1)
        printf "%.6f", 2e-9 * all
    }'
}

gflop() {
    sed 's/.*"gflop": \([0-9.]*\).*/\1/' "$WORK/speed.json"
}

ok "a step is timed" check --only speed --json "$WORK/speed.json"
ok "in one line" says '^bf16 32x32 resnet_9blocks batch 1 '
ok "its operations are those of the nets" [ "$(gflop)" = "$(expected_gflop)" ]
ok "a step is taken apart" check --only profile
ok "convolutions are told from all else" says '^convolutions +[0-9]+ .* at best '
ok "kind by kind" says '^Adam +2 .* at best '
ok "beside the recorded step" says '^[0-9]+ ops one after another: .* the recorded step: '
ok "every residual convolution is counted: 9 blocks, 2 generators" \
    says '^conv dw +2 x 10x10, 16 to 16, 3x3 / 1 +36 '
ok "a shape that is not timed is refused" eval '! check --only speed --shape unet,128,1'

# ---- the table beside PyTorch's ----

peer() { # WAY seconds MiB
    echo "{\"label\": \"$1\", \"median_s_per_step\": $2, \"low_s\": $2, \"high_s\": $2," \
        "\"peak_gpu_mb\": $3, \"peak_rss_mb\": 1}" >"$WORK/peers/a,128,1.$1.json"
}

table() {
    mkdir -p "$WORK/peers"
    echo '{"dtype": "bf16", "waited_ms": 2.1, "ahead_ms": 2.0, "low_ms": 1.9, "high_ms": 2.2,' \
        '"exchange_ms": 2.1, "peak_mib": 600}' >"$WORK/peers/a,128,1.ours"
    peer slow 0.010 1000
    peer fast 0.007 1300
    echo 'no compiler' >"$WORK/peers/a,128,1.broken.failed"
    tests/peers/gpu_table.py "$WORK/peers" slow fast broken later -- a,128,1 b,256,6 >"$WORK/out"
}

ok "steps are compared" table
ok "with the fastest of PyTorch's" says 'bf16: 3.50 times as fast as fast, at least 3.0: reached'
ok "and its memory" says '0.46 of its memory, at most 0.5: reached'
ok "what failed says why" says 'PyTorch broken +not run: no compiler'
ok "what was not measured is not run" says 'PyTorch later +not run: no time yet'

# ---- the pack ----

unpacked() {
    tests/gpu/pack.sh "$BUILD" "$WORK/pack" "$WORK/data" >"$WORK/out" 2>&1 &&
        mkdir "$WORK/there" && tar -C "$WORK/there" -xf "$WORK/pack/pipeline.tar.gz"
}

# With nothing but libc and what comes with gcc from this machine.
needs_nothing_else() {
    ! LD_LIBRARY_PATH=$WORK/there/build/needs ldd "$WORK"/there/build/exec/* | grep '=>' |
        grep -v "=> $WORK/there/build/needs/" |
        grep -Ev 'lib(c|m|dl|rt|pthread|resolv|stdc\+\+|gcc_s)\.so'
}

# Libraries of this machine that LD_LIBRARY_PATH names are found behind the pack's own.
keeps_the_path() {
    printf '#!/bin/sh\necho "$LD_LIBRARY_PATH"\n' >"$WORK/there/build/exec/curator"
    LD_LIBRARY_PATH=/driver "$WORK/there/build/bin/curator" >"$WORK/out" &&
        says '/needs:/driver$' && LD_LIBRARY_PATH='' "$WORK/there/build/bin/curator" >"$WORK/out" &&
        says '/needs$'
}

# Architectures that make takes from an nvidia-smi that fails for one GPU and has two others.
architectures() {
    mkdir -p "$WORK/smi"
    printf '#!/bin/sh\necho "Failed to initialize NVML: 9.0"\necho 9.0\necho 7.5\n' >"$WORK/smi/nvidia-smi"
    chmod +x "$WORK/smi/nvidia-smi"
    PATH=$WORK/smi:$PATH make -n gpu-plugin CUDA=1 "BUILD=$WORK/none" 2>/dev/null |
        grep -o 'code=sm_[^ ]*' | sort -u >"$WORK/out"
    [ "$(cat "$WORK/out")" = code=sm_90 ]
}

SMALL=(NETG=resnet_6blocks NGF=4 WARM=1 BENCH_STEPS=2 DTYPES=bf16 PACKED=1 "PACK=$WORK/pack"
    "PLUGIN=$PLUGIN" "STAGE=$WORK/stage" "WORK=$WORK/whole")

whole() { # SCRIPT arguments...: on the pack, with the emulation
    local script=$1
    shift
    env "${SMALL[@]}" "tests/gpu/$script" "$@" >"$WORK/out" 2>&1
}

whole_without_time() {
    LIMIT=15 whole pipeline.sh '' 6 32
}

ends() { # CODES command...: with one of these codes
    local codes=$1 code
    shift
    "$@"
    code=$?
    [[ " $codes " == *" $code "* ]] || ! cat "$WORK/out"
}

ok "pictures are drawn" draw_data
ok "the pipeline is packed and unpacked" unpacked
ok "the pack has every library that its programs need" needs_nothing_else
ok "the machine's own library path is kept" keeps_the_path
ok "what nvidia-smi complains about is no architecture" architectures
ok "a call that has no time says so" ends 75 whole_without_time
ok "the packed pipeline trains and is measured" ends '0 1' whole pipeline.sh '' 6 32
ok "five steps of it" says '^bf16 +5 .* (ok|FAIL)'
ok "the second time it trains no more" ends '0 1' whole pipeline.sh '' 6 32
ok "the three types are compared" ends '0 1' whole dtypes.sh '' 4 1 32
ok "loss by loss" says '^(ok  |FAIL) bf16 +loss/G_A '
if [ -e "$BUILD/lib/device_cuda.so" ] && ! "$BUILD/bin/gpu_check" --only none >/dev/null; then
    SMALL+=("PLUGIN=$BUILD/lib/device_cuda.so")
    ok "without a GPU it is not run" ends 77 whole pipeline.sh '' 6 32
    ok "in those words" says '^not run: '
fi
finish
