# shellcheck shell=bash
# Shared by the tests of the whole pipeline. A test sources this file, calls `ok "claim" command...`
# for each claim and ends with `finish`, which prints `N passed, N failed, N skipped`.
#
# Runs are small on purpose: drawn pictures, 32x32, a few channels. What they test does not depend
# on the size.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=${BUILD:-build}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/pipeline_test_XXXXXX")
PASSED=0 FAILED=0 SKIPPED=0

cleanup() {
    local pid
    for pid in $(jobs -p); do
        kill "$pid" 2>/dev/null
    done
    wait
    [ -n "${KEEP:-}" ] || rm -rf "$WORK"
}
trap cleanup EXIT

ok() {
    local claim=$1
    shift
    if "$@"; then
        PASSED=$((PASSED + 1))
        echo "ok      $claim"
    else
        FAILED=$((FAILED + 1))
        echo "FAILED  $claim: $*"
    fi
}

skip() {
    SKIPPED=$((SKIPPED + 1))
    echo "SKIP $1"
}

finish() {
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" -eq 0 ]
    exit
}

# Two folders of drawn pictures, trainA/trainB/testA/testB: $WORK/data.
draw_data() {
    local i=0 f part
    "$BUILD/bin/draw" --out "$WORK/drawn" --celeba 40 --anime 40 --seed 3 >/dev/null || return 1
    mkdir -p "$WORK/data/"{trainA,trainB,testA,testB}
    for f in "$WORK"/drawn/anime/images/*.jpg; do
        part=train
        [ $((i++ % 8)) -ne 0 ] || part="test"
        cp "$f" "$WORK/data/${part}A/"
    done
    for f in "$WORK"/drawn/celeba/img_align_celeba/*.jpg; do
        part=train
        [ $((i++ % 8)) -ne 0 ] || part="test"
        cp "$f" "$WORK/data/${part}B/"
    done
}

# small_conf NAME [lines...]: $WORK/NAME.conf
small_conf() {
    local name=$1
    shift
    cat >"$WORK/$name.conf" <<CONF
name = "$name"
dataroot = "$WORK/data"
loader = { batch_size = 2; load_size = 36; crop_size = 32 }
trainer = { device = "cpu"; threads = 1; netG = "resnet_6blocks"; ngf = 4; ndf = 4
    max_steps = 60; save_every_steps = 20; save_minutes = 0.0; sample_every = 1000
    judge_pictures = 4; probes = 2 }
pool = { pool_size = 6 }
monitor = { port = 0 }
CONF
    [ $# -eq 0 ] || printf '%s\n' "$@" >>"$WORK/$name.conf"
}

# start_run NAME [up's options...]: in the background; its pid in $UP, its output in $WORK/NAME.out
start_run() {
    local name=$1
    shift
    ./pipeline up --conf "$WORK/$name.conf" --runs "$WORK/runs" "$@" >"$WORK/$name.out" 2>&1 &
    export UP=$!
}

# status NAME PROCESS FIELD, from `./pipeline status --json`; empty if it is not there
status() {
    ./pipeline status --runs "$WORK/runs" --json "$1" 2>/dev/null |
        /usr/bin/python3 -c '
import json, sys
text = sys.stdin.read().strip()
if not text: sys.exit()
for row in json.loads(text):
    if row["process"] == sys.argv[1]: print(row[sys.argv[2]]); break
' "$2" "$3"
}

# wait_step NAME STEP: until the trainer has done that many steps (at most 120 s)
wait_step() {
    local n=0 step
    while [ $((n++)) -lt 600 ]; do
        step=$(status "$1" trainer step)
        [ -n "$step" ] && [ "$step" -ge "$2" ] && return 0
        sleep 0.2
    done
    return 1
}

sql() {
    sqlite3 -readonly "$WORK/runs/metrics.sqlite" "$1"
}

# Replayable metric rows of a run, in a fixed order, every digit.
replayable() {
    sql "select k.name, m.step, printf('%!.17g', m.value), m.special from metric m
         join metric_key k using (key_id) join run r using (run_id)
         where r.name = '$1' and k.replayable order by 1, 2"
}

# Digests of the files of a run's checkpoints, named relative to the run.
checkpoint_sums() {
    (cd "$WORK/runs/$1/checkpoints" && find . -path './step_*' -type f | LC_ALL=C sort |
        xargs sha256sum)
}
