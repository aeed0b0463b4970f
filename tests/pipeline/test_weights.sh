#!/usr/bin/env bash
# Weights out of a run and into another: export, import, translate, a training that begins with
# them. What they are judged by elsewhere: tests/trainer/weights/test_torch.c.
# shellcheck source=tests/pipeline/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUNS=(--runs "$WORK/runs")

up() { # NAME [options...]
    local name=$1
    shift
    ./pipeline up --conf "$WORK/$name.conf" "${RUNS[@]}" "$@" >"$WORK/$name.out" 2>&1
}

says() { # FILE text
    grep -qF -- "$2" "$1" || {
        cat "$1"
        false
    }
}

refused() { # CODE text command...
    local code=$1 text=$2 got
    shift 2
    "$@" >"$WORK/out" 2>&1
    got=$?
    [ "$got" = "$code" ] || echo "exit code $got"
    [ "$got" = "$code" ] && says "$WORK/out" "$text"
}


draw_data
PICTURE=$(find "$WORK/data/testA" -name '*.jpg' | sort | head -n 1)
SHORT=(--set trainer.max_steps=4 --set trainer.save_every_steps=4 --set trainer.judge_pictures=2)

small_conf source
ok 'a run is trained' up source "${SHORT[@]}"
LAST=$WORK/runs/source/checkpoints/latest
ok 'its weights are exported' ./pipeline export "${RUNS[@]}" --run source --format safetensors "$WORK/G_A.safetensors"
ok 'as they are' cmp "$LAST/G_A.safetensors" "$WORK/G_A.safetensors"
ok 'the other generator too' ./pipeline export "${RUNS[@]}" --run source --direction BtoA --format safetensors "$WORK/G_B.safetensors"
ok 'as they are' cmp "$LAST/G_B.safetensors" "$WORK/G_B.safetensors"
ok 'of the best checkpoint too' ./pipeline export "${RUNS[@]}" --run source --step best --format safetensors "$WORK/best.safetensors"
ok 'and as ONNX' ./pipeline export "${RUNS[@]}" --run source --format onnx "$WORK/G_A.onnx"
ok 'a run that is not there is refused' refused 3 "no run 'nobody'" ./pipeline export "${RUNS[@]}" --run nobody --format onnx "$WORK/x"
ok 'a step that is not there is refused' refused 78 'no checkpoint' ./pipeline export "${RUNS[@]}" --run source --step 3 --format onnx "$WORK/x"
ok 'a format that is none is refused' refused 2 'format is' ./pipeline export "${RUNS[@]}" --run source --format tiff "$WORK/x"

ok 'weights become a run' ./pipeline import "${RUNS[@]}" --run brought "$WORK/G_A.safetensors" "$WORK/G_B.safetensors"
for direction in AtoB BtoA; do
    for run in source brought; do
        ok "$run translates $direction" ./pipeline translate "${RUNS[@]}" --run $run --direction $direction "$PICTURE" "$WORK/$run-$direction.png"
    done
    ok "both the same" cmp "$WORK/source-$direction.png" "$WORK/brought-$direction.png"
done
./pipeline runs "${RUNS[@]}" >"$WORK/out"
ok 'both are listed' grep -qzE 'source +finished.*brought +imported' "$WORK/out"
ok 'imported twice is refused' refused 78 'choose another name' ./pipeline import "${RUNS[@]}" --run brought "$WORK/G_A.safetensors"
ok 'ONNX is not imported' refused 78 'ONNX' ./pipeline import "${RUNS[@]}" --run other "$WORK/G_A.onnx"
ok 'a refused import leaves nothing' test ! -e "$WORK/runs/other"
ok 'one generator becomes a run' ./pipeline import "${RUNS[@]}" --run one "$WORK/G_A.safetensors"
ONE_WAY='this run has no G_B; it translates AtoB only'
ok 'it translates one way' refused 78 "$ONE_WAY" ./pipeline translate "${RUNS[@]}" --run one --direction BtoA "$PICTURE" "$WORK/x.png"
ok 'and is exported one way' refused 78 "$ONE_WAY" ./pipeline export "${RUNS[@]}" --run one --direction BtoA --format onnx "$WORK/x"

# Damaged files: 78 everywhere, from whoever reads them.
cp -r "$WORK/runs/source" "$WORK/runs/damaged"
DAMAGED=$WORK/runs/damaged/checkpoints/latest/G_A.safetensors
printf 'x' | dd of="$DAMAGED" bs=1 seek=$(($(stat -c %s "$DAMAGED") - 2)) conv=notrunc status=none
head -c 5000 "$WORK/G_A.safetensors" >"$WORK/cut.safetensors"
for how in "export --run damaged --format onnx $WORK/x" "export --run damaged --format safetensors $WORK/x" \
    "translate --run damaged $PICTURE $WORK/x.png" "import --run other $DAMAGED" \
    "import --look $DAMAGED" "translate --weights $DAMAGED $PICTURE $WORK/x.png"; do
    # Words without spaces.
    # shellcheck disable=SC2086
    ok "a changed checkpoint is refused: ${how%% "$WORK"*}" refused 78 'its digest does not hold' ./pipeline $how "${RUNS[@]}"
done
for how in "import --run other $WORK/cut.safetensors" "import --look $WORK/cut.safetensors" \
    "translate --weights $WORK/cut.safetensors $PICTURE $WORK/x.png"; do
    # shellcheck disable=SC2086
    ok "a cut file is refused: ${how%% "$WORK"*}" refused 78 'cut.safetensors' ./pipeline $how "${RUNS[@]}"
done
ok 'a cut file is not exported' refused 78 'cut.safetensors' "$BUILD/bin/export" --weights "$WORK/cut.safetensors" --format onnx "$WORK/x"
ok 'what is refused leaves nothing' test ! -e "$WORK/x" -a ! -e "$WORK/x.png" -a ! -e "$WORK/runs/other"
small_conf brought
ok 'an imported run is no training' refused 78 'trainer.init_from=' ./pipeline up --conf "$WORK/brought.conf" "${RUNS[@]}"

# A training that begins with all four nets of a run.
small_conf again
ok 'a training begins with a run'\''s weights' up again "${SHORT[@]}" --set "trainer.init_from=$WORK/runs/source"
ok 'its digests are in the checkpoint' says "$WORK/runs/again/checkpoints/latest/state.json" "\"G_A\": \"$(sha256sum <"$LAST/G_A.safetensors" | cut -d' ' -f1)\""
ok 'and in the database' test "$(sql "select count(*) from param join run using (run_id) where name = 'again' and key glob 'init_from.[GD]_[AB]'")" = 4
ok 'it judges at step 0 as the other one at its end' test "$(sql "select count(distinct printf('%!.17g', value)) from metric join metric_key k using (key_id) join run r using (run_id) where k.name = 'swd/AtoB' and (r.name = 'source' and step = 4 or r.name = 'again' and step = 0)")" = 1
ok 'it goes on with the setting' up again --set trainer.max_steps=6 --set trainer.save_every_steps=4 --set trainer.judge_pictures=2 --set "trainer.init_from=$WORK/runs/source"
ok 'with other weights it does not' refused 78 'did not begin with' ./pipeline up --conf "$WORK/again.conf" "${RUNS[@]}" --set trainer.max_steps=8 --set trainer.save_every_steps=4 --set "trainer.init_from=$WORK/G_B.safetensors"

small_conf half
ok 'one file is the first generator'\''s' up half "${SHORT[@]}" --set "trainer.init_from=$WORK/G_A.safetensors"
ok 'and no other net'\''s' test "$(sql "select group_concat(key) from param join run using (run_id) where name = 'half' and key like 'init_from.%'")" = init_from.G_A
small_conf wider
ok 'what does not fit is refused with its first tensor' refused 78 'model.1.weight is [4,3,7,7] there and [6,3,7,7] here' \
    ./pipeline up --conf "$WORK/wider.conf" "${RUNS[@]}" --set trainer.ngf=6 --set "trainer.init_from=$WORK/G_A.safetensors"
ok 'what is damaged is refused' refused 78 'its digest does not hold' \
    ./pipeline up --conf "$WORK/wider.conf" "${RUNS[@]}" --set "trainer.init_from=$WORK/runs/damaged"
ok 'what is not there is refused' refused 78 'no weights of G_A' \
    ./pipeline up --conf "$WORK/wider.conf" "${RUNS[@]}" --set "trainer.init_from=$WORK/data"

PRETRAINED=../shared/data/pretrained/selfie2anime_unet_small/last_test.pt
if [ -e "$PRETRAINED" ]; then
    ok 'another net is refused with its tensors' refused 78 'enc1.block.0.weight' ./pipeline import --look "$PRETRAINED"
else
    skip 'another net is refused with its tensors: no ../shared/data'
fi
finish
