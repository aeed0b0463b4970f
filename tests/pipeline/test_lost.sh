#!/usr/bin/env bash
# A device that is lost again and again ends the run, also where each time takes longer than the
# window of failures allows for; one that is lost as often, with a checkpoint in between, does not.
# The trainer is one that ends with 69.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

mkdir -p "$WORK/build/bin"
cp "$BUILD"/bin/* "$WORK/build/bin"
[ ! -d "$BUILD/lib" ] || cp -r "$BUILD/lib" "$WORK/build"
mv "$WORK/build/bin/trainer" "$WORK/build/bin/whole_trainer"
cat >"$WORK/build/bin/trainer" <<SH
#!/usr/bin/env bash
# The first \$LOSE_TIMES times, step by step. Each life that is among the first \$SAVE_TIMES saves.
[ "\$1" != --which-device ] || exec "$WORK/build/bin/whole_trainer" "\$@"
run=\$2 life=\$(cat "\$2/lives" 2>/dev/null || echo 0)
[ "\$life" -lt \$LOSE_TIMES ] || { : >"\$run/finished"; exit 0; }
echo \$((life + 1)) >"\$run/lives"
mkdir -p "\$run/checkpoints"
[ "\$life" -ge \$SAVE_TIMES ] || ln -sfn "step_\$life" "\$run/checkpoints/latest"
exit 69
SH
chmod +x "$WORK/build/bin/trainer"
BUILD=$(realpath --relative-to=. "$WORK/build")
export BUILD LOSE_TIMES SAVE_TIMES

up_exits() { # CODE NAME: failures so far apart that the window has one at a time
    local code
    small_conf "$2" "supervisor = { max_failures = 2; failure_window_s = 1 }"
    timeout 60 ./pipeline up --conf "$WORK/$2.conf" --runs "$WORK/runs" >"$WORK/out" 2>&1
    code=$?
    [ "$code" = "$1" ] || tail -n 20 "$WORK/out"
    [ "$code" = "$1" ]
}

lives() { # RUN
    cat "$WORK/runs/$1/lives"
}

ok "pictures are drawn" draw_data
LOSE_TIMES=1000 SAVE_TIMES=0
ok "a device that is lost each time ends the run" up_exits 1 lost
ok "after the usual tries" [ "$(lives lost)" = 2 ]
ok "saying so" grep -q "lost its device 2 times and saved nothing" "$WORK/out"
LOSE_TIMES=3 SAVE_TIMES=3
ok "one that is lost three times, with checkpoints, does not" up_exits 0 saving
ok "its trainer began three times and ended once" [ "$(lives saving)" = 3 ]
finish
