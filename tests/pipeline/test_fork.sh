#!/usr/bin/env bash
# up --fork: as it was, a fork goes on with the same bits; with other data or settings it goes on
# from the weights, with the beginning of an epoch and an empty pool.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

up() {
    ./pipeline up --conf "$WORK/parent.conf" --runs "$WORK/runs" "$@" >"$WORK/out" 2>&1 ||
        ! tail -n 20 "$WORK/out"
}

sums() { # RUN STEP: but state.json
    (cd "$WORK/runs/$1/checkpoints/step_000000$2" && sha256sum ./*.safetensors pool.bin)
}

same_bits() {
    diff <(sums parent 60) <(sums "$1" 60)
}

began_anew() {
    [ "$(sql "select count(*) from event join run using (run_id)
              where name = '$1' and code = 'forked'")" = 1 ]
}

steps_of() {
    sql "select min(step) || '-' || max(step) from losses where run = '$1'"
}

ok "pictures are drawn" draw_data
small_conf parent
ok "the parent is trained" up
ok "a fork without changes" up --fork exact --from 40
ok "it has the parent's bits" same_bits exact
ok "a fork of what is finished is finished" up --fork finished
ok "a fork of a shorter schedule is finished" up --fork shorter --set trainer.max_steps=50

# At step 60 the parent is at batch 6 of 18: with batches of 9 there are 4 in an epoch.
ok "a fork with another batch size" \
    up --fork batches --set loader.batch_size=9 --set trainer.max_steps=70
ok "it did the rest of the steps" [ "$(steps_of batches)" = 61-70 ]
ok "an event tells where it begins" began_anew batches
ok "a fork with another pool" up --fork pool --from 40 --set pool.pool_size=3
ok "a fork with a larger crop" \
    up --fork crop --from 40 --set loader.load_size=48 --set loader.crop_size=40
ok "a fork with other threads" up --fork threads --from 40 --set trainer.threads=2
ok "it has the parent's bits, too" same_bits threads
cp -r "$WORK/data" "$WORK/fewer"
find "$WORK/fewer/trainA" -name '*1.jpg' -delete
ok "a fork with other pictures" up --fork pictures --from 40 --set "dataroot=$WORK/fewer"
ok "it did the rest of the steps, too" [ "$(steps_of pictures)" = 41-60 ]
finish
