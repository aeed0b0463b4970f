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
finish
