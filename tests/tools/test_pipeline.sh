#!/usr/bin/env bash
# What the script says to bad input, and how it starts, restarts and stops: with stand-ins for the
# processes, so that nothing is trained here.
# shellcheck disable=SC2317,SC2016,SC2153 # functions and texts are run through ok; WORK is lib.sh's
set -u
# shellcheck source=tests/tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

refuses() { # text, then the lines of a file
    printf '%s\n' "${@:2}" >"$WORK/bad.conf"
    exits 78 ./pipeline check --conf "$WORK/bad.conf" --set "dataroot=$WORK/data" && says "$1"
}

# ---- bad input ----
ok 'help is help' exits 0 ./pipeline help
ok 'no command is help' exits 0 ./pipeline
ok 'an unknown command is a usage error' exits 2 ./pipeline upp
ok 'an unknown option is a usage error' exits 2 ./pipeline up --foo
ok 'an option of a setting is told how to give it' \
    eval 'exits 2 ./pipeline up --ngf 16 && says "--set section.key=value"'
ok 'an option without its value is a usage error' exits 2 ./pipeline up --conf
ok 'a good file is good' exits 0 ./pipeline check --conf "$WORK/good.conf"
ok 'an unknown key has its line and the nearest key' \
    refuses 'bad.conf:2: unknown key `bath_size` in loader, did you mean `batch_size`?' \
    'name = "x";' 'loader = { bath_size = 1; };'
ok 'a value out of range is named' refuses 'loader.batch_size: 0 is out of range' \
    'loader = { batch_size = 0; };'
ok 'a wrong kind is named' refuses 'whole number' 'seed = "x";'
ok 'a syntax error has its line' refuses 'bad.conf:2: syntax error' 'name = "x";' '= 5'
ok 'a missing quote is told of its own line' refuses 'bad.conf:1: syntax error: a quote is missing' \
    'name = "x;' 'loader = { batch_size = 2; };' 'note = "y";'
both_at_once() { # what the images and what the nets refuse
    rm -rf "$WORK/sizes"
    "${CTL%/*}/draw" --out "$WORK/drawn" --anime 12 --celeba 0 >/dev/null &&
        mkdir -p "$WORK/sizes" && ln -s "$WORK/drawn/anime/images" "$WORK/sizes/trainA" &&
        ln -s "$WORK/drawn/anime/images" "$WORK/sizes/trainB" &&
        exits 78 ./pipeline check --conf "$WORK/good.conf" --set "dataroot=$WORK/sizes" \
            --set loader.preprocess=none --set trainer.best_metric=colour &&
        says 'images of several sizes' && says 'trainer.best_metric "colour"'
}
ok 'check tells what the images and what the nets refuse at once' both_at_once
ok 'a missing file is named' exits 78 ./pipeline check --conf "$WORK/gone.conf"
ok 'a missing folder names its setting' \
    eval 'exits 78 ./pipeline check --set dataroot=$WORK/gone && says "--set dataroot="'
ok 'a problem says its key once' \
    eval 'refuses larger "loader = { load_size = 64; };" && ! says "loader.crop_size: loader.crop_size"'
ok 'a crop above the load size is refused' refuses 'larger than loader.load_size' \
    'loader = { load_size = 64; crop_size = 128; };'
if [ -e "${CTL%/bin/ctl}/lib/device_cuda.so" ]; then # what works here, up finds out
    no_gpu() { # CUDA_VISIBLE_DEVICES hides one that is there
        CUDA_VISIBLE_DEVICES='' exits 78 ./pipeline up --conf "$WORK/good.conf" \
            --runs "$WORK/no_gpu" --set trainer.device=cuda && says 'device = "cuda"'
    }
    ok 'a device that does not work is refused' no_gpu
else
    ok 'a device that is not built in is refused' refuses 'no CUDA' 'trainer = { device = "cuda"; };'
fi
ok 'the CPU computes in fp32' refuses 'trainer.dtype' 'trainer = { device = "cpu"; dtype = "bf16"; };'
command_is_absolute() { # of this folder, without a slash
    exits 78 ./pipeline check --conf "$WORK/good.conf" --set curator.A.use=exec \
        --set curator.A.command=gone --set curator.A.root="$WORK/data" &&
        says "'$PWD/gone' is no executable"
}
ok 'a command without a slash is one of the folder where one is' command_is_absolute
ok 'two problems are two lines' \
    eval "refuses 'x' 'x = 1;' 'y = 2;' && says '2 problems in the settings'"
only_these() { # number, then the lines of a file: so many problems and no other
    printf '%s\n' "${@:2}" >"$WORK/bad.conf"
    exits 78 ./pipeline check --conf "$WORK/bad.conf" && [ "$(wc -l <"$WORK/out")" = $(($1 + 1)) ] &&
        [ "$(grep -c '^[^ ]*/bad.conf:' "$WORK/out")" = "$1" ]
}
ok 'a misspelt dataroot is not told as missing pictures too' only_these 2 'datarot = "x";' 'nam = "y";'
ok 'a misspelt size is not told as one that does not fit too' \
    only_these 1 'loader = { load_sise = 512; crop_size = 512; };'
ok 'a syntax error is told alone' only_these 1 'dataroot "x"'
ok 'a missing dataroot is told once' only_these 1 'dataroot = "/nowhere/at/all";'
ok 'folders that are missing are told beside a misspelt key' \
    only_these 2 'curator = { A = { root = "/nowhere/at/all"; };' '   B = { rot = "/x"; }; };'
ok 'what is missing is told where all was understood' \
    eval 'exits 78 ./pipeline check && says "curator.A.root: no pictures" && says "curator.B.root"'
ok 'status without a run is 3' exits 3 ./pipeline status --runs "$WORK/none"
ok 'down without a run is 3' exits 3 ./pipeline down --runs "$WORK/none"
ok 'query without a database is 3' exits 3 ./pipeline query losses --runs "$WORK/none"
sqlite3 "$WORK/metrics.sqlite" <monitor/schema.sql
ok 'a query about an unknown run is 3' \
    eval 'exits 3 ./pipeline query losses gone --runs "$WORK" && says "no run '"'gone'"'"'
ok 'a query about two runs wants two' exits 2 ./pipeline query diff gone --runs "$WORK"
ok 'no runs at all is 3' exits 3 ./pipeline runs --runs "$WORK/none"
mkdir -p "$WORK/brought" "$WORK/only/alone"
: >"$WORK/brought/imported"
: >"$WORK/only/alone/imported"
ok 'a run that was imported is listed' \
    eval 'exits 0 ./pipeline runs --json --runs "$WORK" && says '"'"'"name": "brought", "status": "imported"'"'"
ok 'a query about it says that it was imported' \
    eval 'exits 3 ./pipeline query losses brought --runs "$WORK" && says "was imported"'
ok 'also where nothing was trained' eval 'exits 0 ./pipeline runs --runs "$WORK/only" && says alone'
sqlite3 "$WORK/metrics.sqlite" "
    insert into run values (1, 'old', 'finished', 0, 1, '', '', 0, 'cpu');
    insert into metric_key values (1, 'swd/AtoB', 1);
    insert into metric select 1, 1, value, 0, value, 0 from generate_series(1, 60);
    insert into checkpoint values (1, 10, 'checkpoints/step_00000010', 'x'),
        (1, 20, 'checkpoints/step_00000020', 'x'), (1, 30, 'checkpoints/step_00000030', 'x');"
mkdir -p "$WORK/old/checkpoints/step_000000"{20,30}
: >"$WORK/old/checkpoints/step_00000030/optimizer.safetensors"
newest_last() { # query
    exits 0 ./pipeline query "$1" --runs "$WORK" && says 'the newest 50 of 60 rows' &&
        ./pipeline query "$1" --runs "$WORK" 2>/dev/null >"$WORK/out" &&
        [ "$(wc -l <"$WORK/out")" = 51 ] && sed -n 2p "$WORK/out" | grep -q '\<11\>' &&
        tail -n 1 "$WORK/out" | grep -q '\<60\>' &&
        exits 0 ./pipeline query "$1" --csv --runs "$WORK" && [ "$(wc -l <"$WORK/out")" = 61 ]
}
ok 'a table shows the newest scores, the newest last' newest_last judge
ok 'and so of distances' newest_last distance
checkpoints_are_marked() {
    exits 0 ./pipeline query checkpoints old --csv --runs "$WORK" &&
        says '10,checkpoints/step_00000010,removed' && says '20,checkpoints/step_00000020,weights' &&
        says '30,checkpoints/step_00000030,whole'
}
ok 'checkpoints tell what is left of them' checkpoints_are_marked
ok 'an unknown query is a usage error' exits 2 ./pipeline query nothing --runs "$WORK/none"
ok 'translate of an unknown run is 3' exits 3 ./pipeline translate --runs "$WORK" --run gone a b

# ---- documents that are made ----
same_text() { # command... FILE
    "${@:1:$#-1}" | diff - "${!#}" >"$WORK/out"
}
ok 'docs/configuration.md is current' same_text "$CTL" config-markdown docs/configuration.md
ok 'docs/protocol.md is current' same_text "$CTL" protocol-markdown docs/protocol.md
ok 'the file of all settings is a file of settings' \
    eval '"$CTL" config-conf >"$WORK/all.conf"
          exits 0 ./pipeline check --conf "$WORK/all.conf" --set "dataroot=$WORK/data"'
ok 'the shipped file is good' exits 0 ./pipeline check --set "dataroot=$WORK/data"

# ---- what the machine has ----

# With a GPU called Toy, and the plugin where a file is named.
doctor_says() { # text of the line [plugin]
    local build=$WORK/doctor
    rm -rf "$build"
    mkdir -p "$build/bin" "$build/lib"
    printf '#!/bin/sh\necho Toy\n' >"$build/bin/nvidia-smi"
    chmod +x "$build/bin/nvidia-smi"
    [ $# -eq 1 ] || : >"$build/lib/$2"
    PATH=$build/bin:$PATH BUILD=$(realpath --relative-to=. "$build") ./pipeline doctor >"$WORK/out" 2>&1
    says "GPU        Toy, $1"
}

ok 'doctor says that a GPU is used when the plugin is built' doctor_says 'used with' device_cuda.so
ok 'doctor says that a GPU is not used without the plugin' doctor_says 'not used: the CUDA backend'

# ---- starting and stopping ----
UP=(./pipeline up --conf "$WORK/good.conf" --runs "$WORK/runs")

# shellcheck disable=SC2120 # options are optional
pipeline_up() {
    "${UP[@]}" "$@"
}

plan() { # seconds of the trainer, its exit code
    mkdir -p "$WORK/runs"
    echo "$1" >"$WORK/runs/seconds"
    echo "$2" >"$WORK/runs/code"
    rm -rf "$WORK/runs/toy"
}

# In the background; waits until everybody has started.
start() {
    "${UP[@]}" >"$WORK/out" 2>&1 &
    SUPERVISOR=$!
    wait_for 'eval [ "$(wc -l <"$WORK/runs/toy/started")" -ge 6 ]'
}

wait_for() {
    local i
    for ((i = 0; i < 100; i++)); do
        $1 2>/dev/null && return
        sleep 0.1
    done
    return 1
}

pid_of() {
    awk -v name="$1" '$1 == name { pid = $2 } END { print pid }' "$WORK/runs/toy/started"
}

nothing_left() {
    local pid
    while read -r _ pid; do
        ! kill -0 "$pid" 2>/dev/null || return 1
    done <"$WORK/runs/toy/started"
}

finished_run() {
    plan 1 0
    exits 0 pipeline_up && nothing_left && exits 0 pipeline_up && says 'is finished'
}

stale_is_told() {
    : >"$WORK/stand/built"
    plan 1 0
    exits 0 pipeline_up && ! says 'is newer than' || return
    touch -d 2020-01-01 "$WORK/stand/built"
    plan 1 0
    exits 0 pipeline_up && says "is newer than the programs: 'make' builds them" &&
        rm "$WORK/stand/built"
}

stopped_in_order() {
    plan 100 0
    start
    kill -TERM "$SUPERVISOR"
    wait "$SUPERVISOR" || return
    [ "$(paste -sd ' ' "$WORK/runs/toy/stopped")" = 'trainer loader curator curator pool monitor' ]
}

second_is_busy() {
    plan 100 0
    start
    exits 75 pipeline_up && says "pid $(cat "$WORK/runs/toy/run.lock")"
    local result=$?
    exits 0 ./pipeline down --runs "$WORK/runs" toy || result=1
    wait "$SUPERVISOR" || result=1
    return "$result"
}

killed_one_comes_back() {
    local before
    plan 100 0
    start
    before=$(pid_of pool)
    kill -KILL "$before"
    wait_for 'eval [ "$(pid_of pool)" != "$before" ]' || return
    kill -TERM "$SUPERVISOR"
    wait "$SUPERVISOR" && [ "$(grep -c trainer "$WORK/runs/toy/started")" = 1 ]
}

# They end with 0 then, but nobody of us has asked them to.
terminated_one_comes_back() { # process
    local before
    plan 100 0
    start
    before=$(pid_of "$1")
    kill -TERM "$before"
    wait_for 'eval [ "$(pid_of '"$1"')" != "$before" ]' || return
    kill -TERM "$SUPERVISOR"
    wait "$SUPERVISOR" && [ ! -e "$WORK/runs/toy/finished" ]
}

killed_supervisor_leaves_nothing() {
    plan 100 0
    start
    kill -KILL "$SUPERVISOR"
    wait "$SUPERVISOR" 2>/dev/null
    wait_for nothing_left
}

hopeless() { # code: ends the run at once
    plan 0.2 "$1"
    exits "$1" pipeline_up && nothing_left && [ "$(grep -c trainer "$WORK/runs/toy/started")" = 1 ]
}

too_many_failures() {
    plan 0.1 1
    exits 1 pipeline_up --set supervisor.max_failures=3 &&
        [ "$(grep -c trainer "$WORK/runs/toy/started")" = 3 ] && says '3 times within'
}

# Each time takes longer than the window has room for.
LOST=(--set supervisor.max_failures=2 --set supervisor.failure_window_s=1)

lost_for_good() {
    plan 0.1 69
    exits 1 timeout 30 "${UP[@]}" "${LOST[@]}" &&
        [ "$(grep -c trainer "$WORK/runs/toy/started")" = 2 ] && says 'lost its device 2 times'
}

lost_between_checkpoints() {
    local result
    plan 0.1 69
    : >"$WORK/runs/saves"
    "${UP[@]}" "${LOST[@]}" >"$WORK/out" 2>&1 &
    SUPERVISOR=$!
    wait_for 'eval [ "$(grep -c trainer "$WORK/runs/toy/started")" = 3 ]'
    result=$?
    kill -TERM "$SUPERVISOR"
    wait "$SUPERVISOR"
    rm "$WORK/runs/saves"
    return "$result"
}

ok 'a run ends when the trainer has ended, and is finished' finished_run
ok 'programs older than their sources are told' stale_is_told
ok 'SIGTERM stops in order, the trainer first' stopped_in_order
ok 'a second up of the same run is busy and names the pid' second_is_busy
ok 'a killed process comes back, the others stay' killed_one_comes_back
for process in trainer curator; do
    ok "a $process that somebody else terminated comes back" terminated_one_comes_back "$process"
done
ok 'nothing outlives a killed supervisor' killed_supervisor_leaves_nothing
ok 'a process whose starter has gone meanwhile does not begin' \
    exits 3 "${CTL%/*}/pool" --run "$WORK" --parent 999999999
for process in curator loader trainer pool monitor; do
    ok "$process refuses an option that it does not know" \
        exits 2 "${CTL%/*}/$process" --run "$WORK" --parent $$ --one-epoch
done
ok 'exit code 65 ends the run' hopeless 65
ok 'exit code 78 ends the run' hopeless 78
ok 'too many failures end the run' too_many_failures
ok 'a device that is lost again before anything is saved ends the run' lost_for_good
ok 'one that is lost as often, with checkpoints in between, does not' lost_between_checkpoints

# ---- a run that is there ----
other_settings() {
    plan 1 0
    exits 0 pipeline_up --set trainer.n_epochs=100
    mkdir -p "$WORK/runs/toy/checkpoints/step_00000001"
    exits 78 pipeline_up --set trainer.ngf=8 && says 'trainer.ngf: 4 -> 8' && says '--fork NEW'
}

grown_schedule() {
    exits 0 pipeline_up --set trainer.n_epochs=200 && ! says 'is finished'
}

forked() {
    exits 0 pipeline_up --set trainer.ngf=8 --fork other --from 1 &&
        [ -d "$WORK/runs/other/checkpoints/step_00000001" ] &&
        grep -q 'name = "other"' "$WORK/runs/other/pipeline.conf"
}

fork_of_nothing() {
    exits 78 pipeline_up --fork never --from 7 && says 'no checkpoint' && [ ! -e "$WORK/runs/never" ]
}

fresh() {
    exits 0 pipeline_up --set trainer.ngf=8 --fresh &&
        [ -d "$WORK/runs/toy.1/checkpoints/step_00000001" ] &&
        [ ! -e "$WORK/runs/toy/checkpoints/step_00000001" ]
}

# Of an `up` that got no further.
old_reason() {
    plan 1 0
    mkdir -p "$WORK/runs/toy"
    echo 'no driver' >"$WORK/runs/toy/cpu_because"
    exits 0 pipeline_up --set trainer.device=cpu && [ ! -e "$WORK/runs/toy/cpu_because" ]
}

ok 'why auto was the CPU is forgotten when a device is named' old_reason
ok 'other mathematics is refused, with the differences' other_settings
ok 'a longer schedule goes on' grown_schedule
ok '--fork begins another run from a checkpoint' forked
ok '--fork of a checkpoint that is not there leaves no folder' fork_of_nothing
ok '--fresh starts over and keeps what was there' fresh

finish
