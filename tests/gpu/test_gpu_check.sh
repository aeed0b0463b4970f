#!/usr/bin/env bash
# The correctness part of gpu_check, tried on the emulation in short; and tests/gpu/check, with a
# compute-sanitizer that says what it is told to.
# shellcheck source-path=SCRIPTDIR source=../pipeline/lib.sh
# shellcheck disable=SC2016,SC2317 # functions are called through ok, text is expanded by eval
source "$(dirname "$0")/../pipeline/lib.sh"

if [ ! -x "$BUILD/bin/gpu_check" ] || [ ! -e "$BUILD/lib/device_cuda-host.so" ]; then
    skip "gpu_check: no gpu_check or no emulation was built"
    finish
fi

check() { # options...
    "$BUILD/bin/gpu_check" --device cuda-host --small "$@" >"$WORK/out" 2>&1 || {
        grep -v '^ok ' "$WORK/out"
        return 1
    }
}

says() { # pattern
    grep -Eq -- "$1" "$WORK/out" || {
        cat "$WORK/out"
        return 1
    }
}

ok "every op is right in every dtype" check --only ops
ok "both ways of instance norm have run" eval \
    'says "^ok   bf16 .*instance.*one pass" && says "^ok   bf16 .*instance.*two passes"'
ok "all of it is counted" says '^[12][0-9]{3} checks, 0 failed, 0 not run, '
ok "nets and steps are right" check --only nets --dtype fp32
ok "steps have the same bits again" check --only bits --dtype bf16
ok "in every recipe" eval 'says "cycle_gan .*in halves 0" && says "pix2pix .*dropout" && says "cut "'

small_gpu() {
    printf 'gpu 9.0 200 a small one\n' >"$WORK/machine"
    CUDA_HOST_MACHINE=$WORK/machine check --only large
}
ok "a large picture is the same all over, a GPU that others fill is no lost one" small_gpu
ok "the picture's repetitions are compared" says '^ok   bf16 .*160x96 in one piece.* the last repetition'
ok "memory is found at last" says '^ok   bf16, memory held by others: [1-9][0-9]* tries with no memory'

rows() { # file
    check --only ops --dtype fp32 --seed 5 && grep '^ok ' "$WORK/out" >"$1"
}
ok "a seed repeats a run" eval 'rows "$WORK/a" && rows "$WORK/b" && cmp "$WORK/a" "$WORK/b"'
ok "a part that is none is refused" eval '! check --only everything >"$WORK/refused"'

# ---- tests/gpu/check ----

parts() { # PARTS...: on the emulation
    tests/gpu/check "$BUILD" cuda-host none "$@" >"$WORK/out" 2>&1
    CODE=$?
}

# One op of one type is broken: its kernel fails as with an illegal address, and the GPU with it.
broken_op() {
    printf 'fail kernel:tangent_forward_bf16 1 700 stays\n' >"$WORK/machine"
    CUDA_HOST_MACHINE=$WORK/machine parts ops-bf16 ops-fp32 golden speed profile
}
broken_op
ok "one broken op fails the whole" [ "$CODE" = 1 ]
ok "its part is lost, and told with its end" says '^FAIL +ops-bf16 +[0-9]+ s '
ok "with the GPU's own words" says 'an illegal memory access was encountered'
for part in ops-fp32 speed profile; do
    ok "no other part is: $part" says "^ok +$part +[0-9]+ s .* 0 failed"
done
ok "the whole says its time" says '^whole: [0-9]+ s of 3600$'
ok "a part that is none is refused" eval 'parts everything; [ "$CODE" = 2 ]'

# A gpu_check that does what its part's name wants.
mkdir -p "$WORK/bin" "$WORK/build/bin"
cat >"$WORK/build/bin/gpu_check" <<'CHECK'
#!/usr/bin/env bash
case "$*" in
*'--only nets'*) exec sleep 20 ;;
*'--only golden'*) kill -SEGV $$ ;;
*'--only speed'*)
    echo 'bf16 256x256 resnet_9blocks batch 6   99.000 (99-99)  goal 35.0: missed'
    echo 'bf16 128x128 resnet_9blocks batch 1   99.000 (99-99)  goal 4.3: missed'
    ;;
*'--only profile'*) echo "profiled: $*" ;;
esac
CHECK
chmod +x "$WORK/build/bin/gpu_check"
played() { # seconds PARTS...
    local whole=$1
    shift
    WHOLE=$whole tests/gpu/check "$WORK/build" cuda none "$@" >"$WORK/out" 2>&1
    CODE=$?
}
played 3 golden nets bits
ok "a crash is a failure" eval '[ "$CODE" = 1 ] && says "^FAIL +golden .*exit status 139"'
ok "a part that is cut is not failed, but not finished" says '^not finished nets +[23] s '
ok "what was not begun is told with the command for it" says '^not finished bits .*PARTS=bits does it'
played 4 bits nets
ok "not finished is an exit status of its own" [ "$CODE" = 75 ]
played 9 speed profile
ok "what missed its goal is profiled" says 'profiled: .*--shape resnet_9blocks,256,6'
ok "once" eval '! grep -q -- "--shape resnet_9blocks,128,1" "$WORK/out" && [ "$CODE" = 0 ]'

# ---- tests/gpu/sanitize.sh ----

printf '#!/bin/sh\nexit 0\n' >"$WORK/build/bin/gpu_check"
cat >"$WORK/bin/compute-sanitizer" <<'SANITIZER'
#!/usr/bin/env bash
# racecheck complains about steps, synccheck takes too long, initcheck dies of the ops.
[ "$1" != --help ] || exec echo '  --kernel-regex-exclude arg  kernels that are left out'
part=$(sed 's/.*--only \([a-z]*\).*/\1/' <<<"$*")
echo "$*"
case $2-$part in
racecheck-bits)
    printf '=========     at %s+0x10 in k.cu\n' resident resident apply
    echo '========= RACECHECK SUMMARY: 3 hazards'
    exit 3
    ;;
synccheck-*) exec sleep 20 ;;
initcheck-ops) exit 139 ;;
esac
echo '========= ERROR SUMMARY: 0 errors'
SANITIZER
chmod +x "$WORK/bin/compute-sanitizer"
sanitize() { # TOOL...
    PATH=$WORK/bin:$PATH LIMIT=2 tests/gpu/sanitize.sh "$WORK/build" cuda "$@" >"$WORK/out" 2>&1
    CODE=$?
}
sanitize
ok "a complaint of a sanitizer fails" [ "$CODE" = 1 ]
ok "what is clean is told per tool and part" says '^ok   .*--tool memcheck, bits: .* 0 errors'
ok "what is not, too" says '^FAIL .*--tool racecheck, bits: .*3 hazards'
ok "with the kernels" says '^ +2 =+ +at resident$'
ok "a crash is no complaint" says '^FAIL .*--tool initcheck, ops: .*exit status 139'
ok "a tool that takes too long is not finished" says '^not finished: .*--tool synccheck, ops: [23] s of 2'
ok "memcheck looks at all kernels" eval '! grep -q exclude "$WORK/build/sanitizer_memcheck_ops.log"'
ok "the others at ours" grep -q 'regex-exclude kns=cudnn|' "$WORK/build/sanitizer_racecheck_ops.log"
sanitize memcheck synccheck
ok "that alone is no failure" [ "$CODE" = 75 ]
ok "without the tool it is not run" eval 'tests/gpu/sanitize.sh "$WORK/build" cuda-host >"$WORK/out"; [ $? = 77 ]'
finish
