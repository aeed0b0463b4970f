#!/usr/bin/env bash
# trainer.accumulate: updates by several batches, with checkpoints between updates only, and the same
# bits whatever interrupts it. 35 pictures of a domain in batches of 2 are 18 batches an epoch: with
# 4 to an update, the last has 2.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

up() { # NAME [options]
    ./pipeline up --conf "$WORK/$1.conf" --runs "$WORK/runs" "${@:2}" >"$WORK/out" 2>&1 ||
        ! tail -n 20 "$WORK/out"
}

saved() {
    (cd "$WORK/runs/$1/checkpoints" && printf '%s ' step_*)
}

updates() { # RUN STEP: Adam's count, from the file's header
    python3 - "$WORK/runs/$1/checkpoints/step_000000$2/optimizer.safetensors" <<'PY'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", data[:8])[0]
begin, end = json.loads(data[8:8 + size])["adam.t.G_A"]["data_offsets"]
print(struct.unpack("<q", data[8 + size + begin:8 + size + end])[0])
PY
}

same_files() {
    diff <(checkpoint_sums "$1") <(checkpoint_sums "$2")
}

same_rows() {
    diff <(replayable "$1") <(replayable "$2")
}

ok "pictures are drawn" draw_data
for name in whole killed stopped saving; do
    small_conf "$name"
done
MORE=(--set trainer.accumulate=4 --set trainer.keep=20 --set trainer.max_steps=41
    --set trainer.save_every_steps=10)
ok "a run with four batches to an update" up whole "${MORE[@]}"
EPOCH=$(sql "select count(*) from metrics where run = 'whole' and key = 'epoch' and value = 1")
ok "an epoch has 18 batches" [ "$EPOCH" = 18 ]
# Updates end behind batches 4 8 12 16 18, 22 26 30 34 36, 40 41.
ok "checkpoints lie behind updates" [ "$(saved whole)" = \
    "step_00000012 step_00000022 step_00000030 step_00000040 step_00000041 " ]
ok "41 batches were 12 updates" [ "$(updates whole 41)" = 12 ]
ok "every batch has its losses" [ "$(sql "select count(*) from losses where run = 'whole'")" = 41 ]

start_run killed "${MORE[@]}"
ok "a run comes into the middle of an update" wait_step killed 25
kill -KILL "$(status killed trainer pid)"
wait "$UP"
ok "killed there, it ends with the same files" same_files whole killed
ok "and the same rows" same_rows whole killed

start_run stopped "${MORE[@]}"
ok "another one does so" wait_step stopped 25
kill -TERM "$UP"
wait "$UP"
ok "stopped, it goes on" up stopped "${MORE[@]}"
rm -rf "$WORK/runs/stopped/checkpoints/"step_000000{26,30,34,36} # of where it happened to stop
rm -rf "$WORK/runs/whole/checkpoints/step_00000030"
ok "and has the same files" diff <(checkpoint_sums whole | grep step_00000041) \
    <(checkpoint_sums stopped | grep step_00000041)
ok "and the same rows, too" same_rows whole stopped

# An epoch to an update.
start_run saving --set trainer.accumulate=18 --set trainer.max_steps=360
ok "a run is in its first update" wait_step saving 2
kill -TERM "$UP"
wait "$UP"
ends_update() {
    local step
    step=$(basename "$(readlink "$WORK/runs/saving/checkpoints/latest")")
    [ -n "$step" ] && [ $((10#${step#step_} % 18)) = 0 ]
}
ok "stopped, it ends the update and saves" ends_update
finish
