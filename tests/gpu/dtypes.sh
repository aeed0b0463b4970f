#!/usr/bin/env bash
# tests/gpu/dtypes.sh DATAROOT [STEPS [SEEDS]] - whether bf16 trains as tf32 and fp32 do: the same
# CycleGAN in each for several seeds (2,000 steps at 128, 3 seeds). The table has the mean of every
# loss over the last quarter of the steps. Exit status 0 if bf16's and tf32's means over the seeds
# lie within the spread of fp32's seeds (largest minus smallest; or their own, if that is larger).
# Needs the whole pipeline and a GPU; without one: `not run`, exit status 77.
set -eu
[ $# -ge 1 ] || {
    echo "usage: $0 DATAROOT [STEPS [SEEDS]]" >&2
    exit 2
}
DATA=$(cd "$1" && pwd)
STEPS=${2:-2000} SEEDS=${3:-3}
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
WORK=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/dtypes_XXXXXX")}
mkdir -p "$WORK"
make -s programs "$BUILD/bin/gpu_check"
"$BUILD/bin/gpu_check" --only none || exit 77

run() { # DTYPE SEED
    ./pipeline up --runs "$WORK/runs" --set "name=$1-$2" --set "seed=$2" --set "dataroot=$DATA" \
        --set trainer.device=cuda --set "trainer.dtype=$1" --set "trainer.max_steps=$STEPS" \
        --set loader.load_size=143 --set loader.crop_size=128 --set trainer.judge_pictures=0 \
        --set "trainer.save_every_steps=$STEPS" --set monitor.port=0 >"$WORK/$1-$2.out" 2>&1
    sqlite3 -separator ' ' "$WORK/runs/metrics.sqlite" "select '$1', $2, key, avg(value)
        from metrics where run = '$1-$2' and key like 'loss/%' and step > $STEPS - $STEPS / 4
        group by key" >"$WORK/$1-$2.txt"
}

for dtype in fp32 tf32 bf16; do
    for seed in $(seq "$SEEDS"); do
        [ -s "$WORK/$dtype-$seed.txt" ] || run "$dtype" "$seed"
    done
done
cat "$WORK"/*-*.txt | sort | awk '
    {
        id = $1 " " $3; keys[$3]; n[id]++; sum[id] += $4
        if (!(id in low) || $4 < low[id]) low[id] = $4
        if (!(id in high) || $4 > high[id]) high[id] = $4
    }
    function spread(id) { return high[id] - low[id] }
    END {
        for (k in keys)
            for (i = split("tf32 bf16", types, " "); i > 0; i--) {
                id = types[i] " " k; base = "fp32 " k
                gap = sum[id] / n[id] - sum[base] / n[base]
                if (gap < 0) gap = -gap
                room = spread(id) > spread(base) ? spread(id) : spread(base)
                right = n[id] && gap <= room
                bad += !right
                printf "%s %-5s %-14s %.4f, fp32 %.4f, spread %.4f\n", right ? "ok  " : "FAIL",
                    types[i], k, sum[id] / n[id], sum[base] / n[base], room
            }
        exit bad > 0
    }'
