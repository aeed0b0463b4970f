#!/usr/bin/env bash
# tests/gpu/dtypes.sh [DATAROOT [STEPS [SEEDS [SIZE]]]] - whether bf16 trains as tf32 and fp32 do:
# the same CycleGAN in each for several seeds (2,000 steps at 128, 3 seeds) on the pictures of
# DATAROOT (default: those of gpu-pack/). The table has the mean of every loss over the last quarter
# of the steps. Exit status 0 if bf16's and tf32's means over the seeds lie within the spread of
# fp32's seeds (largest minus smallest; or their own, if that is larger). Without a GPU: `not run`,
# exit status 77. Stopped by LIMIT seconds (540): exit status 75, the same command goes on.
# NETG, NGF change what is trained, for tests.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"
STEPS=${2:-2000} SEEDS=${3:-3} SIZE=${4:-128}
NETG=${NETG:-resnet_9blocks} NGF=${NGF:-64}

prepare "${1:-}"
for dtype in bf16 tf32 fp32; do
    for seed in $(seq "$SEEDS"); do
        train "$dtype-$seed" --set "seed=$seed" --set "trainer.dtype=$dtype" \
            --set "trainer.netG=$NETG" --set "trainer.ngf=$NGF" --set "trainer.ndf=$NGF" \
            --set "trainer.max_steps=$STEPS" --set "loader.load_size=$((SIZE * 286 / 256))" \
            --set "loader.crop_size=$SIZE" --set "trainer.save_every_steps=$STEPS" \
            --set "trainer.sample_every=$STEPS"
        # Nobody goes on with it, and it is large.
        rm -rf "$WORK/runs/$dtype-$seed/checkpoints"
    done
done
query "select run, key, avg(value) from metrics where key like 'loss/%' and step > $STEPS * 3 / 4
    and run glob '*-[1-$SEEDS]' group by run, key" | tr ',-' '  ' | awk '
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
