#!/usr/bin/env bash
# kill -9 of each process in the middle of a run: the run ends by itself with the same bits.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

KILL_AT=${KILL_AT:-33}

same_as_undisturbed() { # NAME
    diff <(checkpoint_sums undisturbed) <(checkpoint_sums "$1") >"$WORK/$1.sums" &&
        [ -s "$WORK/undisturbed.sha" ]
}

same_metrics() {
    diff <(replayable undisturbed) <(replayable "$1") >"$WORK/$1.rows"
}

# Steps whose losses a process incarnation other than the first wrote again would show as events;
# the trainer's pid tells whether it was restarted.
one_trainer() {
    [ "$(sql "select count(*) from process join run using (run_id)
              where name = '$1' and process = 'trainer'")" = 1 ]
}

resumed_from() {
    sql "select step from event join run using (run_id)
         where name = '$1' and code = 'resumed' order by ts_us desc limit 1"
}

kill_run() { # PROCESS
    local victim=$1 name=kill_$1 pid
    small_conf "$name"
    start_run "$name"
    ok "$name: step $KILL_AT is reached" wait_step "$name" "$KILL_AT"
    pid=$(status "$name" "$victim" pid)
    ok "$name: $victim is killed" kill -9 "${pid:-none}"
    wait "$UP"
    ok "$name: the run ends by itself with 0" [ $? -eq 0 ]
    ok "$name: checkpoints equal the undisturbed ones" same_as_undisturbed "$name"
    ok "$name: replayable metrics equal the undisturbed ones" same_metrics "$name"
    ok "$name: the restart is recorded" [ "$(sql "select count(*) from process join run using (run_id)
        where name = '$name' and process = '$victim'")" = 2 ]
    if [ "$victim" = trainer ]; then
        ok "$name: an event says from which checkpoint it went on" [ "$(resumed_from "$name")" = 20 ]
    else
        ok "$name: the trainer was not restarted" one_trainer "$name"
    fi
}

ok "pictures are drawn" draw_data
small_conf undisturbed
start_run undisturbed
wait "$UP"
ok "undisturbed: ends with 0" [ $? -eq 0 ]
checkpoint_sums undisturbed >"$WORK/undisturbed.sha"
ok "undisturbed: the last checkpoint is there" [ -f "$WORK/runs/undisturbed/checkpoints/step_00000060/state.json" ]
ok "undisturbed: 60 rows of each loss" [ "$(sql "select count(*) from losses where run = 'undisturbed'")" = 60 ]

for victim in ${VICTIMS:-trainer loader pool curator-A monitor}; do
    kill_run "$victim"
done
finish
