#!/usr/bin/env bash
# tests/gpu/pipeline.sh [DATAROOT [STEPS [SIZE]]] - whether the whole pipeline (curators, loader,
# pool, monitor) trains as fast as the bare step: resnet_9blocks, 128x128, batch 1, 20,000 steps in
# bf16 and tf32 on the pictures of DATAROOT (default: those of gpu-pack/). Without a GPU: `not run`,
# exit status 77. Stopped by LIMIT seconds (540): exit status 75, the same command goes on.
#
# The rate is that of the clock, from step WARM to the last, saving and pictures included, gaps
# between two calls not; waiting is what the trainer did not compute for want of a batch or of the
# pool's answer. Passes if the rate is at least 90 % of bench_step's and waiting at most 5 %.
# NETG, NGF, DTYPES, WARM, BENCH_STEPS change what is run, for tests.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"
STEPS=${2:-20000} SIZE=${3:-128}
NETG=${NETG:-resnet_9blocks} NGF=${NGF:-64} DTYPES=${DTYPES:-bf16 tf32}
WARM=${WARM:-500} BENCH_STEPS=${BENCH_STEPS:-500}
FAILED=0

# Milliseconds of a step alone, issued ahead as in training.
bench() { # DTYPE
    [ -s "$WORK/bench-$1.json" ] || "$STAGE/build/bin/bench_step" --device cuda --dtype "$1" \
        --size "$SIZE" --netG "$NETG" --ngf "$NGF" --ndf "$NGF" --steps "$BENCH_STEPS" \
        --warmup 5 >"$WORK/bench-$1.json"
    sed 's/.*"ahead_s_per_step":\([0-9.]*\).*/\1/' "$WORK/bench-$1.json" | awk '{ print 1e3 * $1 }'
}

# Steps, milliseconds a step by the clock, the same by the trainer, share of waiting in percent.
# Rows are print_every = 1 step apart; a row 5 s behind the one before is another call's.
measured() { # DTYPE
    query "with rows as (
            select step, ts_us, k.name as key, value
            from metric join metric_key k using (key_id) join run r using (run_id)
            where r.name = '$NAME-$1' and step > $WARM
                and k.name in ('time/step_ms', 'time/wait_ms')),
        gaps as (select ts_us - lag(ts_us) over (order by step) as us from rows
            where key = 'time/step_ms')
        select (select count(*) from rows where key = 'time/step_ms') as steps,
            (select sum(us) / 1e3 / count(us) from gaps where us < 5e6) as clock,
            (select avg(value) from rows where key = 'time/step_ms') as own,
            (select 100 * sum(case key when 'time/wait_ms' then value else 0 end) /
                sum(case key when 'time/step_ms' then value else 0 end) from rows) as wait"
}

verdict() { # condition of awk
    if awk "BEGIN { exit !($1) }"; then
        echo ok
    else
        echo FAIL
    fi
}

tell() { # DTYPE
    local bench steps clock own wait share rate waits
    bench=$(bench "$1")
    IFS=, read -r steps clock own wait <<<"$(measured "$1")"
    share=$(awk "BEGIN { print 100 * $bench / $clock }")
    rate=$(verdict "$share >= 90") waits=$(verdict "$wait <= 5")
    [ "$rate$waits" = okok ] || FAILED=1
    printf '%-5s %8d %12.3f %12.3f %12.3f   %6.1f %% %-4s   %5.1f %% %-4s %10.1f\n' "$1" "$steps" \
        "$bench" "$clock" "$own" "$share" "$rate" "$wait" "$waits" \
        "$(awk "BEGIN { print 320000 * $clock / 60e3 }")"
}

prepare "${1:-}"
NAME=rate-$NETG-$SIZE
for dtype in $DTYPES; do
    bench "$dtype" >/dev/null
    train "$NAME-$dtype" --set "trainer.dtype=$dtype" --set "trainer.netG=$NETG" \
        --set "trainer.ngf=$NGF" --set "trainer.ndf=$NGF" --set "trainer.max_steps=$STEPS" \
        --set "loader.load_size=$((SIZE * 286 / 256))" --set "loader.crop_size=$SIZE" \
        --set "trainer.save_every_steps=$STEPS" --set "trainer.sample_every=$STEPS"
done
printf '%-5s %8s %12s %12s %12s   %-13s   %-12s %10s\n' '' steps 'bench_step' 'pipeline' 'its trainer' \
    'rate, >= 90 %' 'wait, <= 5 %' '320,000'
printf '%-5s %8s %12s %12s %12s   %-13s   %-12s %10s\n' '' '' 'ms' 'ms' 'ms' '' '' 'minutes'
for dtype in $DTYPES; do
    tell "$dtype"
done
exit $FAILED
