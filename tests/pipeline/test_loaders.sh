#!/usr/bin/env bash
# Any number of loaders and threads gives the same bits, also when a loader is killed; and what holds
# a run up is said in words.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

# loaders_conf NAME COUNT THREADS: jitter, and no cache, so that every step decodes
loaders_conf() {
    small_conf "$1"
    local jitter="jitter_brightness = 0.3; jitter_contrast = 0.3; jitter_saturation = 0.3"
    sed -i -e "s|^loader = {|& count = $2; threads = $3; cache = \"0 B\"; $jitter;|" \
        -e 's|max_steps = 60|max_steps = 40|' "$WORK/$1.conf"
}

same_as_one() { # NAME
    diff <(checkpoint_sums one) <(checkpoint_sums "$1") >"$WORK/$1.sums" &&
        diff <(replayable one) <(replayable "$1") >"$WORK/$1.rows" && [ -s "$WORK/one.sha" ]
}

loaders_seen() { # NAME
    sql "select count(distinct instance) from process join run using (run_id)
         where name = '$1' and process = 'loader'"
}

run_with() { # COUNT THREADS
    local name=l$1t$2
    loaders_conf "$name" "$1" "$2"
    start_run "$name"
    wait "$UP"
    ok "$name: ends with 0" [ $? -eq 0 ]
    ok "$name: there were $1 loaders" [ "$(loaders_seen "$name")" = "$1" ]
    ok "$name: bits and metrics equal those of one loader with one thread" same_as_one "$name"
}

# The loaders of a run are killed one after the other, all of them once.
kill_all_loaders() { # NAME
    local pids pid n=0
    pids=$(./pipeline status --runs "$WORK/runs" --json "$1" | /usr/bin/python3 -c '
import json, sys
print(*[r["pid"] for r in json.load(sys.stdin) if r["process"] == "loader"])')
    for pid in $pids; do
        kill -9 "$pid" && n=$((n + 1))
        sleep 0.3
    done
    [ "$n" = 3 ]
}

bottleneck() { # what is said of run `one` in the copy
    ./pipeline query stalls one --csv --runs "$WORK/copy" | tail -n 1
}

# says WORDS SQL: the copy of the database is changed, then asked
says() {
    rm -rf "$WORK/copy"
    mkdir "$WORK/copy"
    sqlite3 "$WORK/runs/metrics.sqlite" ".backup '$WORK/copy/metrics.sqlite'" &&
        sqlite3 "$WORK/copy/metrics.sqlite" "$2" && bottleneck | grep -q "$1"
}

# Every step takes 100 ms; these are the values of one metric in all its rows.
metric_is() { # KEY VALUE
    echo "update metric set value = $2 where key_id =
        (select key_id from metric_key where name = '$1');"
}

ok "pictures are drawn" draw_data
loaders_conf one 1 1
start_run one
wait "$UP"
ok "one: ends with 0" [ $? -eq 0 ]
checkpoint_sums one >"$WORK/one.sha"

run_with 1 4
run_with 2 1
run_with 3 4

loaders_conf killed 3 2
start_run killed
ok "killed: step 10 is reached" wait_step killed 10
ok "killed: three loaders are killed" kill_all_loaders killed
wait "$UP"
ok "killed: the run ends by itself with 0" [ $? -eq 0 ]
ok "killed: no batch is lost or other" same_as_one killed
ok "killed: the trainer was not restarted" [ "$(sql "select count(*) from process
    join run using (run_id) where name = 'killed' and process = 'trainer'")" = 1 ]

late="$(metric_is time/step_ms 100) $(metric_is time/wait_ms 60) $(metric_is loader/read_us 10000)
    $(metric_is loader/decode_us 10000) $(metric_is loader/resize_us 10000)"
ok "stalls: each stage is recorded" [ "$(sql "select count(distinct key) from metrics where run = 'one'
    and key in ('loader/read_us', 'loader/decode_us', 'loader/resize_us', 'loader/queue_us',
    'time/wait_ms')")" = 5 ]
ok "stalls: a trainer that does not wait" says '^"*the trainer computes' "$(metric_is time/wait_ms 0)"
ok "stalls: decoding" says '^"*decoding:' "$late $(metric_is loader/decode_us 70000)"
ok "stalls: resizing" says '^"*resizing:' "$late $(metric_is loader/resize_us 70000)"
ok "stalls: reading" says '^"*reading files:' "$late $(metric_is loader/read_us 70000)"
ok "stalls: idle loaders" says '^"*between loader and trainer:' "$late"
ok "stalls: no step yet" says '^"*no step' "delete from metric where key_id in
    (select key_id from metric_key where name glob 'time/*');"
finish
