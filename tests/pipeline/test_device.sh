#!/usr/bin/env bash
# The device of a run: what it computed with is kept, a device apart from the host trains through
# the whole pipeline with the same bits whatever interrupts it, and other kernels or plans are told
# or refused. The device is the CUDA backend on its emulation, in the place of the real one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

PYTHON=/usr/bin/python3

up_exits() { # CODE NAME options...
    local want=$1 name=$2 code
    shift 2
    timeout 900 ./pipeline up --conf "$WORK/$name.conf" --runs "$WORK/runs" "$@" \
        >"$WORK/out" 2>&1 </dev/null
    code=$?
    [ "$code" = "$want" ] || tail -n 20 "$WORK/out"
    [ "$code" = "$want" ]
}

says() {
    grep -q -- "$1" "$WORK/out" || ! cat "$WORK/out"
}

events() { # RUN CODE
    sql "select count(*) from event join run using (run_id) where name = '$1' and code = '$2'"
}

# change RUN FILE SCRIPT: edits a file of the newest checkpoint, digest and all. An empty script
# removes it.
change() {
    "$PYTHON" - "$WORK/runs/$1/checkpoints" "$2" "$3" <<'PY'
import glob, hashlib, json, os, re, sys
folder = sorted(glob.glob(sys.argv[1] + '/step_*'))[-1]
path, script = folder + '/' + sys.argv[2], sys.argv[3]
state = json.load(open(folder + '/state.json'))
if script:
    old, new = script.split(' -> ')
    text = open(path).read()
    assert old in text
    open(path, 'w').write(text.replace(old, new))
    state['files'][sys.argv[2]] = hashlib.sha256(open(path, 'rb').read()).hexdigest()
else:
    os.remove(path)
    del state['files'][sys.argv[2]]
json.dump(state, open(folder + '/state.json', 'w'))
PY
}

goes_on_and_tells() { # STEPS EVENTS
    up_exits 0 cpu --set "trainer.max_steps=$1" && [ "$(events cpu kernels_changed)" = "$2" ]
}

ok "pictures are drawn" draw_data
small_conf cpu
ok "a run on the CPU" up_exits 0 cpu --set trainer.max_steps=20
ok "its kernels are as they were: nothing is told" \
    goes_on_and_tells 24 0
ok "kernels.txt names other kernels" change cpu kernels.txt ": -> : an_older_"
ok "an event tells of them" \
    goes_on_and_tells 28 1

if [ ! -e "$BUILD/lib/device_cuda-host.so" ]; then
    skip "device: no emulation was built (nvcc and cuDNN's headers are missing)"
    finish
fi

# ---- the programs with the emulation in the place of the GPU ----
mkdir -p "$WORK/build/bin" "$WORK/build/lib"
cp "$BUILD"/bin/* "$WORK/build/bin"
cp "$BUILD/lib/device_cuda-host.so" "$WORK/build/lib/device_cuda.so"
BUILD=$(realpath --relative-to=. "$WORK/build")
export BUILD

small() { # NAME lines...
    local name=$1
    shift
    small_conf "$name" "$@"
    sed -i 's/device = "cpu"; threads = 1/device = "auto"/; s/max_steps = 60/max_steps = 12/
        s/save_every_steps = 20/save_every_steps = 6/; s/judge_pictures = 4/judge_pictures = 2/
        s/probes = 2/probes = 1/; s/_6blocks/_1blocks/; s/batch_size = 2/batch_size = 1/' "$WORK/$name.conf"
}

same_bits() { # RUN RUN STEP: every file but pipeline.conf
    diff <(cd "$WORK/runs/$1/checkpoints/step_000000$3" && sha256sum ./*.safetensors pool.bin plans.txt) \
        <(cd "$WORK/runs/$2/checkpoints/step_000000$3" && sha256sum ./*.safetensors pool.bin plans.txt)
}

param() { # RUN KEY
    sql "select value from param join run using (run_id) where name = '$1' and key = '$2'"
}

small whole
small halves
ok "auto is the GPU, and the run trains on it" up_exits 0 whole
ok "device and dtype are settled" grep -q 'device = "cuda"' "$WORK/runs/whole/pipeline.conf"
ok "auto is tf32" grep -q 'dtype = "tf32"' "$WORK/runs/whole/pipeline.conf"
ok "the monitor knows what was used" [ "$(param whole trainer.dtype.used)" = tf32 ]
ok "the device's memory is recorded" \
    [ "$(sql "select count(*) > 0 from metric join metric_key using (key_id)
              where name = 'memory/device_peak_mb' and value > 0")" = 1 ]
gpu_memory() { # MiB, positive
    ./pipeline query --runs "$WORK/runs" --csv memory whole | grep -q '^GPU,,[1-9]'
}
ok "and is asked for by name" gpu_memory
ok "every step's losses are recorded once" \
    [ "$(sql "select count(*) || ' ' || count(distinct step) from metric
              join metric_key k using (key_id) join run r using (run_id)
              where k.name = 'loss/G_A' and r.name = 'whole'")" = "12 12" ]

# By a trainer that looks at a step when the next one is under way.
stopped() { # before its end
    start_run halves
    wait_step halves 3 && ./pipeline down --runs "$WORK/runs" halves
    wait "$UP"
    [ "$(readlink "$WORK/runs/halves/checkpoints/latest")" != step_00000012 ]
}

ok "a run is stopped in between" stopped
ok "it goes on" up_exits 0 halves
ok "with the bits of the run that was not stopped" same_bits whole halves 12
same_rows() {
    diff <(replayable whole) <(replayable halves)
}
ok "its rows are those of the run that was not stopped" same_rows

# ---- another device, dtype, plans ----
ok "another dtype is refused" up_exits 78 halves --set trainer.dtype=bf16 --set trainer.max_steps=14
ok "naming the setting" says trainer.dtype
ok "the CPU is refused" up_exits 78 halves --set trainer.device=cpu --set trainer.max_steps=14
ok "plans are lost" change halves plans.txt ''
ok "a resume without plans is refused" up_exits 78 halves --set trainer.max_steps=14
ok "naming the file" says plans.txt
small narrow
ok "bf16 trains" up_exits 0 narrow --set trainer.dtype=bf16 --set trainer.max_steps=4
ok "and says so in its checkpoint" grep -q '"dtype": "bf16"' "$WORK/runs/narrow/checkpoints/latest/state.json"

# ---- a machine whose GPU cannot be used ----
MACHINE=$WORK/machine
export CUDA_HOST_MACHINE=$MACHINE

machine() { # lines...
    printf '%s\n' "$@" >"$MACHINE"
}

refused() { # WHY machine's lines...
    local why=$1
    shift
    machine "$@"
    rm -rf "$WORK/runs/refused"
    up_exits 78 refused --set trainer.device=cuda && says "$why"
}

falls_back() { # NAME WHY: the log, the event, what was used
    up_exits 0 "$1" --set trainer.max_steps=1 &&
        [ "$(param "$1" trainer.device.used)" = cpu ] &&
        grep -q "auto.*is the CPU: .*$2" "$WORK/runs/$1/log/trainer.log" &&
        [ "$(events "$1" device_fallback)" = 1 ] &&
        sql "select message from event join run using (run_id)
             where name = '$1' and code = 'device_fallback'" | grep -q "$2"
}

small refused
ok "no driver: cuda is refused" refused "no NVIDIA driver" "driver 0"
ok "an old driver: cuda is refused" refused "knows CUDA 12.4, .* needs CUDA 13" \
    "driver 12040" "gpu 9.0 16384 H"
ok "no GPU: cuda is refused" refused "shows no GPU" "driver 13000"
ok "an old GPU: cuda is refused" refused "capability 7.5" "gpu 7.5 8192 old one"
machine "gpu 8.0 16384 first" "gpu 9.0 16384 second"
ok "a number too high is refused" up_exits 78 refused --set trainer.device=cuda --set trainer.gpu=2
ok "with how many there are" says "there are 2 GPUs"
export CUDA_VISIBLE_DEVICES=
ok "hidden GPUs: cuda is refused" up_exits 78 refused --set trainer.device=cuda
ok "naming the variable" says CUDA_VISIBLE_DEVICES
small hidden
ok "hidden GPUs: auto is the CPU" falls_back hidden CUDA_VISIBLE_DEVICES
export CUDA_VISIBLE_DEVICES=1,0
small turned
ok "turned around: the first is the second" up_exits 0 turned --set trainer.max_steps=1
is_on() { # RUN GPU
    param "$1" trainer.device.name | grep -q "$2"
}
ok "the monitor knows which it was" is_on turned second
unset CUDA_VISIBLE_DEVICES
small driverless
machine "driver 0"
ok "no driver: auto is the CPU" falls_back driverless "no NVIDIA driver"
ok "a run that was settled on a GPU is refused without" up_exits 78 turned --set trainer.max_steps=2
ok "saying what it needs and what else there is" says "computes on device .*--fork"
mv "$BUILD/lib/device_cuda.so" "$WORK/plugin"
small unbuilt
ok "no plugin: auto is the CPU" falls_back unbuilt "has no CUDA"
ok "no plugin: cuda is refused" up_exits 78 refused --set trainer.device=cuda
echo 'not a library' >"$BUILD/lib/device_cuda.so"
small broken
ok "a plugin that is none: auto is the CPU" falls_back broken "cannot be loaded"
HASH=$(strings -n 16 "$WORK/plugin" | grep -m 1 -x '[0-9a-f]\{16\}')
sed "s/$HASH/0123456789abcdef/" "$WORK/plugin" >"$BUILD/lib/device_cuda.so"
small other
ok "a plugin of another build: auto is the CPU" falls_back other "another build"
mv "$WORK/plugin" "$BUILD/lib/device_cuda.so"

# ---- a GPU without memory ----
small large
machine "gpu 8.6 8 small one"
ok "a batch that does not fit ends the run for good" up_exits 78 large --set loader.batch_size=4
tells_need() {
    grep -q "needs .* MiB.*GPU 0 (small one).*loader.batch_size" "$WORK/out" || ! cat "$WORK/out"
}
ok "with what it needs and what would fit" tells_need

# ---- a GPU that is lost ----
lost() { # NAME CALL AT: in the middle of its run; it is back at once
    machine "fail $2 $3 719 stays" "then $WORK/machine.after"
    printf 'gpu 9.0 16384 back again\n' >"$WORK/machine.after"
    small "$1"
    up_exits 0 "$1" && [ ! -e "$WORK/machine.after" ] && [ "$(events "$1" device_lost)" = 1 ] &&
        [ "$(events "$1" restart)" = 1 ]
}

tells_loss() { # RUN
    sql "select message from event join run using (run_id)
         where name = '$1' and code = 'process_failed'" |
        grep -q "failed at step [0-9]*.*the GPU failed at .*unspecified launch failure (cudaErrorLaunchFailure)"
}

same_rows_as_whole() { # RUN
    diff <(replayable whole) <(replayable "$1")
}

ok "a GPU that is lost when a graph is launched" lost launched cudaGraphLaunch 20
ok "says what it was" tells_loss launched
ok "the run ends with the bits of the one that was not disturbed" same_bits whole launched 12
ok "and its rows" same_rows_as_whole launched
ok "a kernel that fails" lost kernel kernel 4000
ok "ends with the same bits" same_bits whole kernel 12

gone() { # lost for good
    machine "fail cudaMemcpyAsync 60 719 stays" "then $WORK/machine.after"
    printf 'driver 13000\n' >"$WORK/machine.after"
    small gone "supervisor = { max_failures = 2 }"
    up_exits 1 gone
}

whole_checkpoints() { # RUN: each digest holds
    "$PYTHON" - "$WORK/runs/$1/checkpoints" <<'PY'
import glob, hashlib, json, sys
folders = glob.glob(sys.argv[1] + '/step_*')
assert all(hashlib.sha256(open(f + '/' + n, 'rb').read()).hexdigest() == d
           for f in folders for n, d in json.load(open(f + '/state.json'))['files'].items())
PY
}
ok "one that does not come back ends the run after the usual tries" gone
ok "saying so" says "the device that this run computes on is not back"
ok "what it has saved is whole" whole_checkpoints gone
machine "gpu 9.0 16384 back again"
ok "and another up goes on" up_exits 0 gone
ok "to the same bits" same_bits whole gone 12

# ---- pictures through a generator on the GPU ----
translate() { # OUT options...
    local to=$1
    shift
    "./$BUILD/bin/translate" --quiet --checkpoint "$WORK/runs/whole/checkpoints/latest" "$@" \
        "$WORK/pictures" "$WORK/$to" >"$WORK/out" 2>&1
}

translate_exits() { # CODE OUT options...
    local want=$1 code
    shift
    translate "$@"
    code=$?
    [ "$code" = "$want" ] || cat "$WORK/out"
    [ "$code" = "$want" ]
}

draw_pictures() {
    "$PYTHON" - "$WORK/data/testA" "$WORK/pictures" <<'PY'
import glob, os, sys
from PIL import Image
os.makedirs(sys.argv[2])
sizes = [(32, 32), (32, 32), (32, 32), (50, 37), (64, 48), (17, 90)]
for i, (path, size) in enumerate(zip(sorted(glob.glob(sys.argv[1] + '/*')), sizes)):
    Image.open(path).convert('RGB').resize(size).save('%s/%d.png' % (sys.argv[2], i))
PY
}

# near OUT OUT MEAN MOST: differences of levels, none of them 0 everywhere if MEAN is not
near() {
    "$PYTHON" - "$WORK/$1" "$WORK/$2" "$3" "$4" <<'PY'
import os, sys
from PIL import Image, ImageChops, ImageStat
# Beside the pictures there is the record of what they were made of, .translated.
names, others = (sorted(n for n in os.listdir(f) if n[0] != '.') for f in sys.argv[1:3])
assert len(names) == 6 and names == others
for n in names:
    a, b = (Image.open(f + '/' + n) for f in sys.argv[1:3])
    assert a.size == b.size, n
    d = ImageChops.difference(a, b)
    mean, most = max(ImageStat.Stat(d).mean), max(m for _, m in d.getextrema())
    assert mean <= float(sys.argv[3]) and most <= float(sys.argv[4]), (n, mean, most)
PY
}

machine "gpu 9.0 16384 H"
ok "pictures are drawn for it" draw_pictures
ok "the CPU translates" translate_exits 0 on_cpu --device cpu
ok "the GPU too" translate_exits 0 on_gpu --device cuda --dtype fp32
ok "to the same pictures" near on_cpu on_gpu 0.02 1
ok "several at a time" translate_exits 0 by_three --device cuda --dtype fp32 --batch 3
ok "are the same" near on_gpu by_three 0 0
ok "in the run's own dtype, tf32, without an option" translate_exits 0 usual
ok "they are the same but for rounding" near on_cpu usual 0.02 1
ok "in bf16" translate_exits 0 narrow --device auto --dtype bf16
ok "they are near" near on_cpu narrow 0.6 4
narrower() {
    ! cmp -s "$WORK/narrow/0.png" "$WORK/usual/0.png"
}
ok "and not computed in float" narrower
machine "gpu 8.6 0.8 small one"
ok "without enough memory some are left out" translate_exits 1 left_out --device cuda --dtype fp32
ok "saying which GPU and what does them" says "64x48: GPU 0 (small one).*--memory .*--dtype bf16"
ok "bf16 does them" translate_exits 0 narrow_small --device cuda --dtype bf16
ok "a bound lets them go in bands, on the CPU" \
    translate_exits 0 bands --device cuda --dtype fp32 --memory "400 MiB"
ok "to the same pictures" near on_cpu bands 0.02 1
machine "gpu 8.6 0.6 small one"
translate one_by_one --device cuda --dtype fp32 --batch 3
ok "a batch that does not fit goes one by one" grep -q "3 pictures of 32x32 at a time do not fit" "$WORK/out"
ok "and is done" [ -e "$WORK/one_by_one/2.png" ]
machine "fail kernel 30 719"
ok "a GPU that is lost ends it with 69" translate_exits 69 lost --device cuda
ok "naming the error" says "the GPU failed at .*unspecified launch failure"
machine "driver 0"
ok "without a driver --device cuda ends with 78" translate_exits 78 driverless --device cuda
ok "saying so" says "no NVIDIA driver"
ok "--device auto is the CPU" translate_exits 0 by_auto --device auto
ok "with its pictures" near on_cpu by_auto 0 0
ok "so is no option, where the run's GPU is not" translate_exits 0 elsewhere
ok "with a note" says "the run's device is not here: .*no NVIDIA driver.*the CPU is used"
machine "gpu 9.0 16384 H"
ok "another GPU than there is ends with 78" translate_exits 78 third --device cuda --gpu 3
ok "saying how many there are" says "gpu = 3: there are 1 GPUs"
ok "a dtype that is none is refused" translate_exits 2 fp8 --device cuda --dtype fp8
finish
