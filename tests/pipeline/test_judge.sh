#!/usr/bin/env bash
# What is judged at checkpoints: the scores in the database, the best checkpoint, the user's own
# judge, and a generator that has collapsed.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

up() { # NAME [options]
    local name=$1
    shift
    ./pipeline up --conf "$WORK/$name.conf" --runs "$WORK/runs" "$@" >"$WORK/out" 2>&1 ||
        ! tail -n 20 "$WORK/out"
}

value() { # RUN KEY STEP
    sql "select value from metrics where run = '$1' and key = '$2' and step = $3"
}

events() { # RUN CODE
    sql "select count(*) from event join run using (run_id) where name = '$1' and code = '$2'"
}

query_best() {
    ./pipeline query best "$1" --runs "$WORK/runs" --csv | tail -n 1
}

# The metric's step with the lowest (asc) or highest value, the first of equals.
extreme() { # RUN KEY asc|desc
    sql "select step from metrics where run = '$1' and key = '$2' and step > 0
         order by value $3, step limit 1"
}

best_is() { # RUN STEP
    [ "$(readlink "$WORK/runs/$1/checkpoints/best")" = "$(printf 'step_%08d' "$2")" ] &&
        [ "$(query_best "$1" | cut -d, -f1)" = "$2" ]
}

ok "pictures are drawn" draw_data
small_conf plain
ok "a run is judged" up plain
for key in swd/AtoB swd/BtoA held_out/cycle_L1_A held_out/cycle_SSIM_B diversity/AtoB judge/score; do
    ok "$key is in the database" [ -n "$(value plain $key 40)" ]
done
ok "the best is the one with the lowest score" best_is plain "$(extreme plain judge/score asc)"

cat >"$WORK/count.sh" <<'SH'
#!/bin/sh
# Prints how many pictures there are, and a score that is best at the second call.
echo "looking at $2" >&2
for domain in A B; do
    echo "fakes_$domain $(ls "$2/fake_$domain" | wc -l)"
    echo "reals_$domain $(ls "$2/real_$domain" | wc -l)"
done
echo x >>"$1"
[ "$(wc -l <"$1")" -eq 3 ] && echo "fid 5" || echo "fid 3.5"
SH
chmod +x "$WORK/count.sh"
small_conf outside
ok "a run with a judge of its own" up outside --judge "'$WORK/count.sh' '$WORK/calls'" \
    --set 'trainer.best_metric=-judge/fid' --set trainer.keep=1
ok "it was called at every checkpoint and before the first step" [ "$(wc -l <"$WORK/calls")" = 4 ]
ok "it found the pictures" [ "$(value outside judge/fakes_B 20)$(value outside judge/reals_A 20)" = 4.04.0 ]
ok "its score is a metric" [ "$(value outside judge/fid 40)" = 5.0 ]
ok "the best is by it" best_is outside 40
ok "the best stays whole" [ -e "$WORK/runs/outside/checkpoints/best/optimizer.safetensors" ]
logged() {
    ./pipeline logs trainer --run outside --runs "$WORK/runs" | grep -q 'judge: looking at'
}
ok "what it says is in the log" logged

small_conf failing
ok "a judge that fails stops no training" up failing --judge "echo oops >&2; false" \
    --set trainer.max_steps=20
ok "it is told" [ "$(events failing judge_command)" = 2 ]

# Averaged weights are a file of their own, and what is used.
small_conf averaged
ok "a run that averages its generators" up averaged --set trainer.ema=0.9
translate() { # OUT [options]
    ./pipeline translate --runs "$WORK/runs" --run averaged "${@:2}" "$WORK/data/testA" "$WORK/$1" \
        >"$WORK/out" 2>&1
}
differ() {
    ! cmp -s "$WORK/$1/$3" "$WORK/$2/$3"
}
PICTURE=$(basename "$(find "$WORK/data/testA" -name '*.jpg' | sort | head -n 1)" .jpg).png
ok "it translates" translate average
ok "with the average" grep -q 'G_A_ema of' "$WORK/out"
ok "and without" translate raw --raw
ok "the pictures differ" differ average raw "$PICTURE"
ok "the best checkpoint translates" translate best --step best
ok "which is where the link leads" grep -q 'checkpoints/best' "$WORK/out"

small_conf unknown
refuses_unknown() {
    ! ./pipeline up --conf "$WORK/unknown.conf" --runs "$WORK/runs" \
        --set trainer.best_metric=judge/fid >"$WORK/out" 2>&1
}
ok "an unknown metric is refused" refuses_unknown
ok "with its name" grep -q 'trainer.best_metric "judge/fid" is not recorded' "$WORK/out"

# With every weight so small that G gives the middle gray whatever it sees.
small_conf collapsed
ok "a run that collapses" up collapsed --set trainer.init_type=normal --set trainer.init_gain=1e-12 \
    --set trainer.lr=1e-12 --set trainer.max_steps=20
ok "is flagged" [ "$(events collapsed collapsed)" = 2 ]
ok "the others are not" [ "$(events plain collapsed)" = 0 ]

# A folder where the sheet should be: it cannot be written, as on a full disk.
small_conf unwritable
mkdir -p "$WORK/runs"
ok "a run" up unwritable --set trainer.max_steps=20
mkdir -p "$WORK/runs/unwritable/samples/step_00000040.png/x"
ok "goes on without its sheets" up unwritable --set trainer.max_steps=40
ok "to its end" [ -n "$(value unwritable judge/score 40)" ]
ok "and says so" [ "$(events unwritable not_rendered)" -ge 1 ]
finish
