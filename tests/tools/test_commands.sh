#!/usr/bin/env bash
# The table of commands: every command refuses what it does not know, and names a run in the same way.
# shellcheck disable=SC2317,SC2016,SC2153 # functions and texts are run through ok; WORK is lib.sh's
set -u
# shellcheck source=tests/tools/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
RUNS=$WORK/runs
mkdir -p "$RUNS"
echo 0.2 >"$RUNS/seconds"
echo 0 >"$RUNS/code"

# Without the programs with tables of their own, which are stand-ins here.
commands() {
    ./pipeline help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' | grep -vx 'translate\|import\|export'
}

# Options that a command lists.
options() { # command
    ./pipeline "$1" --help 2>&1 | sed -n 's/^  \(-[-a-z]*\).*/\1/p'
}

# Every option of any command, given to every command that does not list it.
foreign_options_are_refused() {
    local command option all wrong=0
    all=$(for command in $(commands); do options "$command"; done | sort -u)
    for command in $(commands); do
        for option in $all --nonsense; do
            ! options "$command" | grep -qx -- "$option" || continue
            exits 2 ./pipeline "$command" "$option" 1 && says "no option $option" && continue
            echo "$command $option" >>"$WORK/wrong"
            wrong=1
        done
    done
    [ ! -e "$WORK/wrong" ] || cp "$WORK/wrong" "$WORK/out"
    return "$wrong"
}

every_command_has_help() {
    local command
    for command in $(commands); do
        exits 0 ./pipeline "$command" --help && says "pipeline $command" || return
        ./pipeline help "$command" | cmp -s - "$WORK/out" || return
    done
}

ok 'the table has commands' eval '[ "$(commands | wc -l)" -ge 12 ]'
ok 'every command refuses the options of others' foreign_options_are_refused
ok 'every command has a help of its own' every_command_has_help
ok 'a misspelt command names the nearest' eval 'exits 2 ./pipeline upp && says "did you mean up?"'
ok 'a misspelt option names the nearest' eval 'exits 2 ./pipeline up --frsh && says "did you mean --fresh?"'
ok 'a switch takes no value' eval 'exits 2 ./pipeline up --fresh=yes && says "takes no value"'
ok 'a word too many is a usage error' exits 2 ./pipeline up a b
ok 'a name alone that is no run begins nothing' exits 3 ./pipeline up nosuch --runs "$WORK/none"
ok 'a word too few is a usage error' eval 'exits 2 ./pipeline import-options && says "FILE is missing"'
ok '--fresh and --fork contradict each other' exits 2 ./pipeline up --fresh --fork x
ok '--from is of a fork' exits 2 ./pipeline up --from 3

completes() { # words, then what the last one becomes
    ./pipeline completion --runs "$RUNS" >"$WORK/completion" && bash -c '
        source "$1"
        COMP_WORDS=($2) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _pipeline
        echo "${COMPREPLY[@]}"' _ "$WORK/completion" "$1" >"$WORK/out" && [ "$(cat "$WORK/out")" = "$2" ]
}

# ---- one run among others ----
ok 'two runs are made' eval '
    exits 0 ./pipeline up small --conf "$WORK/good.conf" --runs "$RUNS" &&
    exits 0 ./pipeline up large --conf "$WORK/good.conf" --runs "$RUNS" --set loader.crop_size=36'
ok 'completion knows commands' completes 'pipeline stat' 'status'
ok 'completion knows options' completes 'pipeline down --r' '--run --runs'
ok 'completion knows runs' completes 'pipeline up smal' 'small'

echo 100 >"$RUNS/seconds"
start() { # name
    rm -f "$RUNS/$1/finished" "$RUNS/$1/started"
    setsid ./pipeline up "$1" --runs "$RUNS" >"$WORK/$1.out" 2>&1 &
    for _ in {1..100}; do
        [ "$(wc -l 2>/dev/null <"$RUNS/$1/started")" != 6 ] || return 0
        sleep 0.1
    done
    return 1
}

is_up() { # name
    [ -e "$RUNS/$1/run.lock" ] && ! flock -n "$RUNS/$1/run.lock" true
}

ok 'up NAME goes on without being told of the data again' start small
ok 'and says whose settings it takes' grep -qF "settings of $RUNS/small/pipeline.conf" "$WORK/small.out"
ok 'down --run of a run that is not up leaves others alone' \
    eval 'exits 3 ./pipeline down --runs "$RUNS" --run large && says "large is not running" && is_up small'
ok 'down NAME of no run leaves others alone, and names the nearest' \
    eval 'exits 3 ./pipeline down --runs "$RUNS" smalk && says "did you mean small?" && is_up small'
ok 'two names are a usage error' \
    eval 'exits 2 ./pipeline down --runs "$RUNS" small --run large && is_up small'
ok 'status --run is of that run' exits 3 ./pipeline status --runs "$RUNS" --run large
ok 'status of no run says so' eval 'exits 3 ./pipeline status --runs "$RUNS" smal && says "did you mean small?"'
ok 'logs NAME is of that run' eval '
    echo "2026-01-01 00:00:00.000 hello" >"$RUNS/large/log/pool.log"
    exits 0 ./pipeline logs large --runs "$RUNS" && says hello &&
    exits 0 ./pipeline logs large pool --runs "$RUNS" && says hello &&
    exits 0 ./pipeline logs --run large pool --runs "$RUNS" && says hello'
ok 'down NAME stops that run' eval 'exits 0 ./pipeline down --runs "$RUNS" small && ! is_up small'
ok 'check NAME is of the settings of that run' \
    eval 'exits 0 ./pipeline check large --runs "$RUNS" && says "run large" && says "of 36x36"'
ok 'check of no run names the nearest' \
    eval 'exits 78 ./pipeline check smal --runs "$RUNS" && says "did you mean small?"'
ok '--set name=NAME goes on, too' eval 'exits 0 ./pipeline check --set name=large --runs "$RUNS" && says "of 36x36"'
ok '--conf takes the place of the settings of the run' eval '
    exits 0 ./pipeline check large --conf "$WORK/good.conf" --runs "$RUNS" && says "run large" && says "of 32x32"'
ok 'two names of which one is set are a usage error' \
    exits 2 ./pipeline check large --set name=small --runs "$RUNS"

sqlite3 "$RUNS/metrics.sqlite" <monitor/schema.sql
sqlite3 "$RUNS/metrics.sqlite" "
    insert into run values (1, 'small', 'finished', 0, 1, '', '', 0, 'cpu'), (2, 'large', 'finished', 2, 3, '', '', 0, 'cpu');
    insert into param (run_id, key, value) values (1, 'mark', 'of small'), (2, 'mark', 'of large');"
query_is_of() { # run words...
    exits 0 ./pipeline query --runs "$RUNS" "${@:2}" && says "of $1" && [ "$(wc -l <"$WORK/out")" = 2 ]
}
ok 'query QUERY NAME is of that run' query_is_of small params small
ok 'query NAME QUERY too' query_is_of small small params
ok 'query --run NAME too' query_is_of small --run small params
ok 'query without a name is of the newest' query_is_of large params
ok 'query of two runs takes the first of them as NAME' eval '
    exits 0 ./pipeline query --runs "$RUNS" small diff large && says "of small  of large"'


# ---- logs ----
printf '%s\n' '2026-01-01 00:00:02 pool: second' >"$RUNS/large/log/pool.log"
printf '%s\n' '2026-01-01 00:00:01 trainer: first' '  and its second line' '2026-01-01 00:00:03 trainer: third' \
    >"$RUNS/large/log/trainer.log"
rm -f "$RUNS"/large/log/{curator,loader,monitor,supervisor}*.log
logs_in_order() {
    exits 0 ./pipeline logs large --runs "$RUNS" &&
        [ "$(sed 's/.*: //' "$WORK/out" | paste -sd ,)" = 'first,  and its second line,second,third' ]
}
ok 'logs are in time order over processes, with lines that have no time where they belong' logs_in_order

# ---- rm ----
listed() {
    ./pipeline runs --csv --runs "$RUNS" | cut -d , -f 1 | grep -qx "$1"
}
ok 'rm without a name is a usage error' exits 2 ./pipeline rm --runs "$RUNS"
ok 'rm of no path' exits 2 ./pipeline rm ../x --runs "$RUNS"
ok 'rm of no run is 3' exits 3 ./pipeline rm none --runs "$RUNS"
rm -rf "$RUNS/gone"
sqlite3 "$RUNS/metrics.sqlite" "insert into run values (3, 'gone', 'finished', 4, 5, '', '', 0, 'cpu');
    insert into param (run_id, key, value) values (3, 'mark', 'x')"
ok 'a run without its folder is listed' listed gone
ok 'rm removes it' eval 'exits 0 ./pipeline rm gone --runs "$RUNS" && ! listed gone'
ok 'with all its rows' [ "$(sqlite3 "$RUNS/metrics.sqlite" 'select count(*) from param where run_id = 3')" = 0 ]
busy_is_kept() {
    start small || return
    exits 75 ./pipeline rm small --runs "$RUNS" && [ -d "$RUNS/small" ]
    local result=$?
    ./pipeline down small --runs "$RUNS" >/dev/null
    return "$result"
}
ok 'a run that is up is not removed' busy_is_kept
cp -r "$RUNS/small" "$RUNS/second"
ok 'a folder without rows is removed' eval 'exits 0 ./pipeline rm second --runs "$RUNS" && [ ! -e "$RUNS/second" ]'

# ---- programs with tables of their own ----
becomes() { # what the program is given, then the words
    exits 0 ./pipeline "${@:2}" --runs "$RUNS" && [ "$(cat "$WORK/out")" = "$1" ]
}
ok 'translate NAME IN OUT' becomes "translate --run $RUNS/small in out" translate small in out
ok 'an option before it does not hide the name' \
    becomes "translate --run $RUNS/small --step best in out" translate --step best small in out
ok 'nor a switch' becomes "translate --run $RUNS/small --force in out" translate --force small in out
ok '--run stands anywhere' becomes "translate --run $RUNS/small in out" translate in out --run small
ok 'with --weights there is no name' becomes 'translate --weights f in out' translate --weights f in out
ok 'export NAME OUT' becomes "export --run $RUNS/large G.onnx" export large G.onnx
ok 'import NAME FILE' becomes "import --run $RUNS/theirs no.pth" import theirs no.pth
ok 'import --look has no name' becomes 'import --look a.pth b.pth' import --look a.pth b.pth
ok 'no such run names the nearest' \
    eval 'exits 3 ./pipeline translate smal in out --runs "$RUNS" && says "did you mean small?"'
ok 'their options are completed as they list them' completes 'pipeline translate --s' '--step'

finish
