#!/usr/bin/env bash
# A user's own judge: where it runs, and where its failure is said. The examples of docs/judging.md.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317,SC2016 # functions and texts are called through ok
source "$(dirname "$0")/lib.sh"
PIPELINE=$PWD/pipeline

ok "pictures are drawn" draw_data
small_conf own
small_conf failing

# The script lies where the user is, as in `./pipeline up --judge "python3 my_fid.py"`.
mkdir -p "$WORK/at_work"
cat >"$WORK/at_work/my_fid.py" <<'PY'
import os, sys
print("fid", len(os.listdir(sys.argv[1] + "/fake_A")) + len(os.listdir(sys.argv[1] + "/real_B")))
PY
example=$(grep -o -- '--judge "[^"]*" --set trainer.best_metric=judge/fid' docs/judging.md)
own_judge() {
    (cd "$WORK/at_work" && eval "'$PIPELINE' up --conf '$WORK/own.conf' --runs '$WORK/runs' $example") >"$WORK/out" 2>&1
}
ok "docs/judging.md has the example" [ -n "$example" ]
ok "a run with it ends well" own_judge
ok "its command finds a file beside the caller" \
    [ "$(sql "select max(value) from metrics where run = 'own' and key = 'judge/fid'")" = 8.0 ]
ok "query best has a row" eval '[ "$(./pipeline query own best --csv --runs "$WORK/runs" | wc -l)" = 2 ]'

fork_of_best() {
    ./pipeline up own --runs "$WORK/runs" --fork child --from best --set trainer.max_steps=70 >"$WORK/out" 2>&1 &&
        [ "$(cat "$WORK/runs/child/forked")" = "$(readlink "$WORK/runs/own/checkpoints/best" | tr -dc 0-9)" ]
}
ok "--fork NEW --from best begins with the best checkpoint, and in another folder still finds the command" \
    fork_of_best
ok "there too the command has run" \
    [ -n "$(sql "select value from metrics where run = 'child' and key = 'judge/fid' limit 1")" ]

./pipeline up --conf "$WORK/failing.conf" --runs "$WORK/runs" --judge "sh no_such_script" \
    --set trainer.best_metric=judge/fid >"$WORK/out" 2>&1
ok "a run whose judge fails trains to its end" [ $? = 0 ]
ok "the console says that it failed, and why" grep -q 'trainer: warn:.*no_such_script' "$WORK/out"
./pipeline query failing best --runs "$WORK/runs" >"$WORK/out" 2>&1
ok "query best says why there is none" grep -q 'judge/fid.*the last failure: .*no_such_script' "$WORK/out"
./pipeline translate failing --step best "$WORK/data/testA" "$WORK/none" --runs "$WORK/runs" >"$WORK/out" 2>&1
ok "translate --step best does not blame trainer.keep" eval '
    grep -q "no best checkpoint yet" "$WORK/out" && ! grep -q trainer.keep "$WORK/out"'

finish
