#!/usr/bin/env bash
# A number that is not finite stops the run where it is, with a reason; pictures of one colour are no
# such reason. Neither are pictures of several sizes trained on where they have to have one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

PYTHON=/usr/bin/python3

# Four pictures of A and two of B become one colour.
flatten_some() {
    "$PYTHON" - "$WORK/data" <<'PY'
import glob, sys
from PIL import Image
colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 60)]
for folder, n in (('trainA', 4), ('trainB', 2)):
    for path, colour in zip(sorted(glob.glob(sys.argv[1] + '/' + folder + '/*'))[:n], colours):
        Image.new('RGB', Image.open(path).size, colour).save(path)
PY
}

# poison VALUE: the last weight of D_A in the newest checkpoint of run guards, digests and all.
poison() {
    "$PYTHON" - "$WORK/runs/guards/checkpoints" "$1" <<'PY'
import glob, hashlib, json, struct, sys
folder = sorted(glob.glob(sys.argv[1] + '/step_*'))[-1]
path = folder + '/D_A.safetensors'
data = bytearray(open(path, 'rb').read())
data[-4:] = struct.pack('<f', float(sys.argv[2]))
open(path, 'wb').write(data)
state = open(folder + '/state.json').read()
old = json.loads(state)['files']['D_A.safetensors']
open(folder + '/state.json', 'w').write(state.replace(old, hashlib.sha256(data).hexdigest()))
PY
}

up_exits() { # CODE options...
    local want=$1 code
    shift
    ./pipeline up --conf "$WORK/guards.conf" --runs "$WORK/runs" "$@" >"$WORK/guards.out" 2>&1
    code=$?
    [ "$code" = "$want" ] || tail -n 20 "$WORK/guards.out"
    [ "$code" = "$want" ]
}

event() {
    sql "select message from event join run using (run_id)
         where name = 'guards' and code = 'not_finite' order by event_id desc limit 1"
}

lives_of_trainer() {
    sql "select count(*) from process join run using (run_id)
         where name = 'guards' and process = 'trainer'"
}

# Every picture that the message names is one of the domain's.
names_pictures() {
    local side name n=0
    for side in A B; do
        for name in $(event | grep -o "of $side: [^,;]*" | grep -o "'[^']*'" | tr -d "'"); do
            [ -f "$WORK/data/train$side/${name##*/}" ] || return 1
            n=$((n + 1))
        done
    done
    [ "$n" -eq 4 ] # two of each domain
}

ok "pictures are drawn" draw_data
if ! "$PYTHON" -c 'import PIL' 2>/dev/null; then
    skip "guards: there is no Pillow"
    finish
fi
ok "some become one colour" flatten_some
small_conf guards
ok "pictures of one colour are trained on" up_exits 0 --set trainer.max_steps=40
ok "they were among the batches" \
    [ "$(sql "select count(*) from curation where verdict = 'keep' and domain = 'A'")" -gt 0 ]
ok "no loss was other than finite" \
    [ "$(sql "select count(*) from metric where special != 0")" = 0 ]
ok "all 40 steps were done" [ "$(sql "select max(step) from metric")" = 40 ]

# 3e38 is finite; what becomes of it is not.
step=40
for value in nan inf 3e38; do
    poison "$value"
    what="loss D_A"
    [ "$value" != 3e38 ] || what="a gradient"
    checkpoint_sums guards >"$WORK/before"
    lives=$(lives_of_trainer)
    ok "$value: up exits with 65" up_exits 65 --set trainer.max_steps=60
    ok "$value: the event names the step" \
        [ "$(event | grep -c "^$what is not finite at step $((step + 1)) .*step $step$")" = 1 ]
    ok "$value: the event names the pictures" names_pictures
    ok "$value: the run is failed" \
        [ "$(sql "select status from run where name = 'guards'")" = failed ]
    ok "$value: the trainer is not started again" \
        [ "$(lives_of_trainer)" = $((lives + 1)) ]
    ok "$value: the reason is shown" grep -q "$what is not finite" "$WORK/guards.out"
    checkpoint_sums guards >"$WORK/after"
    ok "$value: the checkpoints are as they were" cmp "$WORK/before" "$WORK/after"
done

# several_sizes POOL_SIZE BATCH_SIZE CODE: up exits so.
several_sizes() {
    small_conf sizes
    sed -i "s/batch_size = 2/batch_size = $2; preprocess = \"none\"/; s/pool_size = 6/pool_size = $1/
        s/max_steps = 60/max_steps = 20/" "$WORK/sizes.conf"
    ./pipeline up --conf "$WORK/sizes.conf" --runs "$WORK/runs" --fresh >"$WORK/guards.out" 2>&1
    [ $? = "$3" ]
}

# All four have as many bytes, or as many of one side: only height and width tell them apart.
resize_all() {
    "$PYTHON" - "$WORK/data" <<'PY'
import glob, sys
from PIL import Image
for folder in ('trainA', 'trainB', 'testA', 'testB'):
    for i, path in enumerate(sorted(glob.glob(sys.argv[1] + '/' + folder + '/*'))):
        try: image = Image.open(path).convert('RGB')
        except OSError: continue
        image.resize(((64, 32), (32, 64), (64, 64), (32, 32))[i % 4]).save(path)
PY
}

ok "pictures get several sizes" resize_all
ok "several sizes: a pool is refused" several_sizes 6 1 78
ok "several sizes: the reason names the setting" grep -q "set pool.pool_size = 0" "$WORK/guards.out"
ok "several sizes: a batch of two is refused at once" several_sizes 0 2 78
ok "several sizes: that reason names its setting" \
    grep -q "set loader.batch_size = 1" "$WORK/guards.out"
ok "several sizes: they are trained on one by one, without a pool" several_sizes 0 1 0
finish
