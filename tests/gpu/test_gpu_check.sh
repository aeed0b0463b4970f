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

rows() { # file
    check --only ops --dtype fp32 --seed 5 && grep '^ok ' "$WORK/out" >"$1"
}
ok "a seed repeats a run" eval 'rows "$WORK/a" && rows "$WORK/b" && cmp "$WORK/a" "$WORK/b"'
ok "a part that is none is refused" eval '! check --only everything >"$WORK/refused"'

# ---- tests/gpu/check ----

mkdir -p "$WORK/bin" "$WORK/build/bin"
cat >"$WORK/bin/compute-sanitizer" <<'SANITIZER'
#!/usr/bin/env bash
# racecheck complains about steps, synccheck takes too long, initcheck dies of the ops.
part=$(sed 's/.*--only \([a-z]*\).*/\1/' <<<"$*")
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
printf '#!/bin/sh\nexit 0\n' >"$WORK/build/bin/gpu_check"
chmod +x "$WORK/bin/compute-sanitizer" "$WORK/build/bin/gpu_check"
PATH=$WORK/bin:$PATH LIMIT=2 tests/gpu/check "$WORK/build" cuda none >"$WORK/out" 2>&1
CODE=$?
ok "a complaint of a sanitizer fails" [ "$CODE" = 1 ]
ok "what is clean is told per tool and part" says '^ok   .*--tool memcheck, bits: .* 0 errors'
ok "what is not, too" says '^FAIL .*--tool racecheck, bits: .*3 hazards'
ok "with the kernels" says '^ +2 =+ +at resident$'
ok "a crash is no complaint" says '^FAIL .*--tool initcheck, ops: exit status 139'
ok "a tool that takes too long is ended" says '^FAIL .*--tool synccheck, ops: more than 2 s'
finish
