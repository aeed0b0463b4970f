#!/usr/bin/env bash
# pictures.sh [RUNS] - makes the pictures of README.md: docs/images/samples.png, the last sample sheet
# of a longer demo, and docs/images/dashboard.png, its dashboard in headless Chromium. RUNS is a folder
# that already has the run `demo`; without it the demo is trained first, which takes half an hour.
set -eu
cd "$(dirname "$0")/.."
BIN=${BUILD:-build}/bin
WORK=$(mktemp -d)
PIDS=()

cleanup() {
    [ ${#PIDS[@]} -eq 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
    wait
    rm -rf "$WORK"
}
trap cleanup EXIT

# The demo of `./pipeline demo` with more epochs.
train() { # runs
    "$BIN/draw" --out "$1/demo-data" --anime 120 --celeba 120 --seed 1
    ./pipeline up --runs "$1" --conf presets/demo.conf --set "curator.A.root=$1/demo-data/anime" \
        --set "curator.B.root=$1/demo-data/celeba" --set trainer.n_epochs=25 --set trainer.n_epochs_decay=25
}

# The monitor alone serves the dashboard of a finished run. Prints the address.
serve() { # run folder
    rm -f "$1/dashboard.url"
    "$BIN/monitor" --run "$1" >"$WORK/monitor.log" 2>&1 &
    PIDS+=($!)
    for ((i = 0; i < 100; i++)); do
        [ ! -s "$1/dashboard.url" ] || return 0
        sleep 0.1
    done
    cat "$WORK/monitor.log" >&2
    return 1
}

# Chromium's own --screenshot would come before the page has fetched its data, so the browser is told
# what to do: JSON messages on a pipe, each with a zero byte behind it.
command_browser() { # id method parameters [session]
    printf '{"id":%d,"method":"%s","params":%s%s}\0' "$1" "$2" "$3" "${4:+,\"sessionId\":\"$4\"}" >&"$TO"
}

answer_of() { # id
    local line
    while IFS= read -r -d '' -t 30 -u "$FROM" line; do
        [[ $line != *"\"id\":$1,"* ]] || break
    done
    echo "$line"
}

screenshot() { # address width height file
    local target session
    mkfifo "$WORK/to" "$WORK/from"
    chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$WORK/chromium" \
        --window-size="$2,$3" --remote-debugging-pipe 3<"$WORK/to" 4>"$WORK/from" 2>"$WORK/chromium.log" &
    PIDS+=($!)
    exec {TO}>"$WORK/to" {FROM}<"$WORK/from"
    command_browser 1 Target.createTarget "{\"url\":\"$1\"}"
    target=$(answer_of 1 | sed 's/.*"targetId":"\([^"]*\)".*/\1/')
    command_browser 2 Target.attachToTarget "{\"targetId\":\"$target\",\"flatten\":true}"
    session=$(answer_of 2 | sed 's/.*"result":{"sessionId":"\([^"]*\)".*/\1/')
    sleep 5
    command_browser 3 Page.captureScreenshot '{"format":"png"}' "$session"
    answer_of 3 | sed 's/.*"data":"\([^"]*\)".*/\1/' | base64 -d >"$4"
}

if ! command -v chromium >/dev/null; then
    echo 'pictures.sh: chromium is not installed (apt-get install chromium)' >&2
    exit 1
fi
RUNS=${1:-$WORK/runs}
[ $# -gt 0 ] || train "$RUNS"
mkdir -p docs/images
sheets=("$RUNS"/demo/samples/step_*.png)
cp "${sheets[-1]}" docs/images/samples.png
serve "$RUNS/demo"
screenshot "$(head -n 1 "$RUNS/demo/dashboard.url")" 1000 1120 "$PWD/docs/images/dashboard.png"
ls -l docs/images
