#!/usr/bin/env bash
# Memory at batch 6, pool 50, 400 steps of a small net stays where the design says it stays.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

STEPS=${STEPS:-400}
MIB=$((1 << 20))

ok "pictures are drawn" draw_data
cat >"$WORK/memory.conf" <<CONF
name = "memory"
dataroot = "$WORK/data"
loader = { batch_size = 6; load_size = 36; crop_size = 32; cache = "4 MiB" }
trainer = { device = "cpu"; threads = 2; netG = "resnet_6blocks"; ngf = 4; ndf = 4
    max_steps = $STEPS; n_epochs = 1000; save_every_steps = 100; save_minutes = 0.0; sample_every = 100
    judge_pictures = 4; probes = 2 }
pool = { pool_size = 50 }
monitor = { port = 0 }
CONF
start_run memory
ok "step 20 is reached" wait_step memory 20
early=$(status memory trainer rss_bytes)
samples=0 late=$early pool=0 monitor=0 loader=0
while kill -0 "$UP" 2>/dev/null; do
    for p in trainer pool monitor loader; do
        v=$(status memory $p rss_bytes)
        [ "${v:-0}" -gt 0 ] || continue # it has ended
        case $p in
        trainer) late=$v samples=$((samples + 1)) ;;
        pool) pool=$((v > pool ? v : pool)) ;;
        monitor) monitor=$((v > monitor ? v : monitor)) ;;
        loader) loader=$((v > loader ? v : loader)) ;;
        esac
    done
    sleep 0.5
done
wait "$UP"
ok "the run ends with 0" [ $? -eq 0 ]

picture=$((32 * 32 * 3 * 4))
batch=$((2 * 6 * picture))
arena=$(stat -c %s "$WORK/runs/memory/pool.arena")
arena_bound=$((2 * (50 + 2 * 6) * picture + MIB))
echo "trainer: $((early / 1024)) KiB at step 20, $((late / 1024)) KiB at the end"
echo "pool: $((pool / 1024)) KiB resident, arena $((arena / 1024)) KiB of at most $((arena_bound / 1024)) KiB"
echo "monitor: $((monitor / 1024)) KiB; loader: $((loader / 1024)) KiB"
# The reference's pool keeps views of whole batches: 177 pictures a table on average at batch 6,
# 210 at the peak, in place of 50 (docs/decisions.md).
echo "a pool of views would pin $((2 * 177 * picture / 1024)) KiB on average, $((2 * 210 * picture / 1024)) KiB at the peak"
ok "the trainer was looked at until its end" [ "$samples" -gt 5 ]
ok "the trainer does not grow by 8 MiB after step 20" [ "$late" -le $((early + 8 * MIB)) ]
ok "the arena is within 2 tables x (50 + 2 x 6) slots + 1 MiB" [ "$arena" -le $arena_bound ]
ok "the pool is within arena + credits x batch + 8 MiB" [ "$pool" -le $((arena + 4 * batch + 8 * MIB)) ]
ok "the monitor is within 64 MiB" [ "$monitor" -le $((64 * MIB)) ]
ok "the loader is within its budgets + 64 MiB" [ "$loader" -le $((4 * MIB + 4 * batch + 64 * MIB)) ]
finish
