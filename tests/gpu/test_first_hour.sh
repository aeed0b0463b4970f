#!/usr/bin/env bash
# The plan of the first half hour with a GPU, played: what is done in which order, what is kept, and
# how it goes on. Then its first steps on the emulation.
# shellcheck source-path=SCRIPTDIR source=../pipeline/lib.sh
# shellcheck disable=SC2016,SC2317 # functions are called through ok, text is for other shells
source "$(dirname "$0")/../pipeline/lib.sh"

PLAYED=$WORK/played
mkdir -p "$PLAYED/gpu" "$PLAYED/peers" "$PLAYED/build/bin"
# A step that says what it was called with; what lies in `status` decides how it ends.
cat >"$PLAYED/gpu/check" <<'STEP'
#!/usr/bin/env bash
echo "${0##*/} $*" | tee -a "$(dirname "$0")/../calls"
[ ! -e "$(dirname "$0")/../sleeps" ] || sleep 20
exit "$(cat "$(dirname "$0")/../status" 2>/dev/null || echo 0)"
STEP
chmod +x "$PLAYED/gpu/check"
for script in gpu/sanitize.sh gpu/pipeline.sh gpu/dtypes.sh peers/gpu.sh make build/bin/gpu_check; do
    cp "$PLAYED/gpu/check" "$PLAYED/$script"
    [[ $script == build/* ]] || continue
    sed -i 's|/../calls|/../../calls|; s|/../status|/../../status|; s|/../sleeps|/../../none|' \
        "$PLAYED/$script"
done
sed -i 's|/../|/|g' "$PLAYED/make"

hour() { # arguments...
    MAKE=$PLAYED/make SCRIPTS=$PLAYED/gpu BUILD=$PLAYED/build \
        tests/gpu/first_hour.sh "$WORK/tables" "$@" >"$WORK/out" 2>&1
    CODE=$?
}

says() { # pattern
    grep -Eq -- "$1" "$WORK/out" || {
        cat "$WORK/out"
        return 1
    }
}

order() { # words: the first of each call's parts
    [ "$(sed 's/.*golden.bin \([a-z]*\).*/\1/; s/ .*//' "$PLAYED/calls" | tr '\n' ' ')" = "$1 " ] ||
        ! cat "$PLAYED/calls"
}

LIMIT=121 hour
ok "what has no time left is not begun" eval '[ "$CODE" = 75 ] && says "goes on where it stopped"'
ok "nothing but what was done is told" eval 'says "^machine +not begun" && [ ! -e "$PLAYED/calls" ]'

hour
ok "all steps, the most valuable first" order \
    'make gpu_check ops bits golden speed nets large profile pipeline.sh gpu.sh dtypes.sh sanitize.sh'
ok "it ends well" [ "$CODE" = 0 ]
ok "each leaves its table" eval '[ -s "$WORK/tables/ops.txt" ] && [ -s "$WORK/tables/dtypes.txt" ]'
ok "and its time" says '^bits +ok +[0-9]+ s '
rm "$PLAYED/calls"
hour
ok "what has ended is not repeated" eval '[ "$CODE" = 0 ] && [ ! -e "$PLAYED/calls" ]'
hour speed
ok "unless it is named" order speed

rm -rf "$WORK/tables" "$PLAYED/calls"
echo 1 >"$PLAYED/status"
hour
ok "without a build nothing else is tried" eval '[ "$CODE" = 1 ] && order make'
rm -rf "$WORK/tables" "$PLAYED/calls" "$PLAYED/status"
hour machine
echo 1 >"$PLAYED/status"
hour ops bits
ok "a step that fails does not end it" eval '[ "$CODE" = 1 ] && says "^ops +FAIL" && says "^bits +FAIL"'
rm -rf "$PLAYED/calls" "$PLAYED/status"
touch "$PLAYED/sleeps"
LIMIT=8 LEAST=1 hour golden
ok "a step is stopped when the time is up" eval '[ "$CODE" = 75 ] && says "^golden +not finished"'
rm -f "$PLAYED/sleeps"
echo 75 >"$PLAYED/status"
hour pipeline
ok "one that wants to go on is not finished" eval '[ "$CODE" = 75 ] && says "^pipeline +not finished"'
rm "$PLAYED/status" "$PLAYED/calls"
hour
ok "and is begun again" order 'golden speed nets large profile pipeline.sh gpu.sh dtypes.sh sanitize.sh'
printf '#!/bin/sh\necho "not run: nvcc: not found"\nexit 2\n' >"$PLAYED/make"
rm -rf "$WORK/tables"
hour
ok "without the tools it is not run" eval '[ "$CODE" = 77 ] && says "^machine +not run"'
ok "a step that is none is refused" eval 'hour everything; [ "$CODE" = 2 ]'

if [ -x "$BUILD/bin/gpu_check" ] && [ -e "$BUILD/lib/device_cuda-host.so" ]; then
    emulated() {
        DEVICE=cuda-host PACK=$WORK/no_pack tests/gpu/first_hour.sh "$WORK/emulated" machine speed \
            sanitize >"$WORK/out" 2>&1
    }
    ok "its first steps run on the emulation" emulated
    ok "with the table of step times" grep -q '^bf16 32x32 resnet_9blocks batch 1' "$WORK/emulated/speed.txt"
    ok "sanitizers need a GPU" says '^sanitize +not run'
else
    skip "the emulation: it was not built"
fi
finish
