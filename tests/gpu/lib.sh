# shellcheck shell=bash
# The whole pipeline on a GPU: shared by dtypes.sh and pipeline.sh, which source this file.
#
# It runs from a folder of its own, $BUILD/gpu_stage: the programs of $BUILD/bin where they were
# built, else those of gpu-pack/, with the CUDA plugin that is built here. PLUGIN=FILE takes the
# place of that plugin (the tests give the emulation). Runs lie in $WORK and are gone on with: a call
# that was stopped, or ended by LIMIT seconds, is repeated.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=${BUILD:-build}
STAGE=${STAGE:-$PWD/$BUILD/gpu_stage}
WORK=${WORK:-$PWD/$BUILD/gpu_runs}
LIMIT=${LIMIT:-540}
PACK=${PACK:-gpu-pack}
END=$((SECONDS + LIMIT))

not_run() {
    echo "not run: $*"
    exit 77
}

unpack() { # FILE DIR
    mkdir -p "$2"
    tar -xf "$1" -C "$2"
}

stage_programs() {
    rm -rf "$STAGE"
    if [ -x "$BUILD/bin/trainer" ] && [ -x "$BUILD/bin/bench_step" ] && [ -z "${PACKED:-}" ]; then
        mkdir -p "$STAGE/build"
        cp -r pipeline presets pipeline.conf "$STAGE"
        cp -r "$BUILD/bin" "$STAGE/build"
    elif [ -e "$PACK/pipeline.tar.gz" ]; then
        unpack "$PACK/pipeline.tar.gz" "$STAGE"
    else
        not_run "the whole pipeline: it is neither built here nor in $PACK/ (make gpu-pack)"
    fi
}

stage_plugin() {
    if [ -z "${PLUGIN:-}" ]; then
        make -s gpu-plugin >"$BUILD/gpu_plugin.log" 2>&1 ||
            not_run "the CUDA plugin cannot be built: $(grep -m 1 -E 'error|not run' "$BUILD/gpu_plugin.log")"
        PLUGIN=$BUILD/lib/device_cuda.so
    fi
    mkdir -p "$STAGE/build/lib"
    cp "$PLUGIN" "$STAGE/build/lib/device_cuda.so"
}

# A step of a small net: fails as training would.
look_for_gpu() {
    "$STAGE/build/bin/bench_step" --device cuda --size 32 --ngf 4 --ndf 4 --steps 1 --warmup 0 \
        >"$WORK/gpu.json" 2>"$WORK/gpu.txt" || not_run "$(tail -n 1 "$WORK/gpu.txt")"
}

# prepare [DATAROOT]: the programs in $STAGE, the pictures in $DATA.
prepare() {
    mkdir -p "$BUILD" "$WORK"
    WORK=$(cd "$WORK" && pwd)
    : >"$WORK/all.conf"
    stage_programs
    stage_plugin
    look_for_gpu
    DATA=${1:-}
    if [ -z "$DATA" ]; then
        [ -e "$PACK/pictures.tar" ] || not_run "there are no pictures: name their folder, or make gpu-pack DATA=DIR"
        DATA=$WORK/pictures
        [ -d "$DATA" ] || unpack "$PACK/pictures.tar" "$DATA"
    fi
    DATA=$(cd "$DATA" && pwd)
}

# train NAME options...: until the run has finished; ends this script with 75 when time is up.
train() {
    local name=$1 left=$((END - SECONDS))
    shift
    [ ! -e "$WORK/runs/$name/finished" ] || return 0
    [ $left -gt 20 ] || time_is_up
    # pipeline ends the run in order, with a checkpoint.
    if ! BUILD=build timeout -s TERM $((left - 15)) "$STAGE/pipeline" up --runs "$WORK/runs" \
        --conf "$WORK/all.conf" --set "name=$name" --set "dataroot=$DATA" --set trainer.device=cuda \
        --set monitor.port=0 --set trainer.judge_pictures=0 --set trainer.save_minutes=0 \
        --set trainer.n_epochs=100000 "$@" >>"$WORK/$name.out" 2>&1 </dev/null; then
        [ $((END - SECONDS)) -gt 20 ] || time_is_up
        echo "FAIL $name: the run ended early; the last lines of $WORK/$name.out:"
        tail -n 5 "$WORK/$name.out"
        exit 1
    fi
    [ -e "$WORK/runs/$name/finished" ] || time_is_up
}

time_is_up() {
    echo "not finished within $LIMIT s: the same command goes on where it stopped"
    exit 75
}

# query SQL: lines of values, commas between
query() {
    BUILD=build "$STAGE/pipeline" query --runs "$WORK/runs" --csv "$1" | tail -n +2 | tr -d '\r'
}
