#!/usr/bin/env bash
# Beside PyTorch: the same small CycleGAN on the same pictures in the same order, several seeds.
#
#   tests/peers/compare.sh DATAROOT [STEPS [SEEDS]]      default 400 steps, 3 seeds
#
# For each seed: a run of this pipeline, its batches written down (bench_loader --dump), PyTorch's
# step (torch_step.py) over those batches. Weights begin differently. The table has the mean of
# every loss over the last 100 steps and says whether the two means over the seeds lie within the
# seeds' spread (largest minus smallest, of PyTorch's or of ours, whichever is larger).
# Needs Debian's python3-torch. Takes minutes a seed.
set -eu
DATA=$(cd "$1" && pwd)
STEPS=${2:-400} SEEDS=${3:-3}
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
PYTHON=/usr/bin/python3
"$PYTHON" -c 'import torch' 2>/dev/null || {
    echo 'SKIP: python3-torch is not installed'
    exit 0
}
make -s programs "$BUILD/bin/bench_loader"
WORK=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/peers_XXXXXX")}
mkdir -p "$WORK"

run_seed() { # SEED
    local name=seed$1
    cat >"$WORK/$name.conf" <<CONF
name = "$name"
seed = $1
dataroot = "$DATA"
loader = { batch_size = 1; load_size = 64; crop_size = 64 }
trainer = { device = "cpu"; netG = "resnet_6blocks"; ngf = 32; ndf = 32; max_steps = $STEPS
    judge_pictures = 0; probes = 1; save_every_steps = $STEPS; sample_every = 100000 }
monitor = { port = 0 }
CONF
    ./pipeline up --conf "$WORK/$name.conf" --runs "$WORK/runs" >"$WORK/$name.out" 2>&1
    "$BUILD/bin/bench_loader" --run "$WORK/runs/$name" --batches "$STEPS" --dump "$WORK/$name.raw" \
        >"$WORK/$name.dump"
    OMP_WAIT_POLICY=passive "$PYTHON" tests/peers/torch_step.py --size 64 --ngf 32 --ndf 32 \
        --blocks 6 --steps "$STEPS" --threads "$(nproc)" --merge --seed "$1" \
        --batches "$WORK/$name.raw" >"$WORK/$name.json"
    sqlite3 -json "$WORK/runs/metrics.sqlite" "select key, avg(value) as mean from metrics
        where run = '$name' and key like 'loss/%' and step > $STEPS - 100 group by key" \
        >"$WORK/$name.ours.json"
}

for seed in $(seq "$SEEDS"); do
    [ -s "$WORK/seed$seed.ours.json" ] || run_seed "$seed"
done
"$PYTHON" - "$WORK" "$SEEDS" <<'PY'
import json, sys
work, seeds = sys.argv[1], range(1, int(sys.argv[2]) + 1)
peer = [json.load(open(f"{work}/seed{s}.json"))["losses"] for s in seeds]
ours = [{r["key"].split("/")[1]: r["mean"] for r in json.load(open(f"{work}/seed{s}.ours.json"))}
        for s in seeds]
mean = lambda rows, k: sum(r[k] for r in rows) / len(rows)
spread = lambda rows, k: max(r[k] for r in rows) - min(r[k] for r in rows)
bad = 0
print(f"{'loss':8} {'ours by seed':32} {'PyTorch by seed':32} {'difference':>10} {'spread':>8}")
for k in sorted(peer[0]):
    d, s = abs(mean(ours, k) - mean(peer, k)), max(spread(ours, k), spread(peer, k))
    row = lambda rows: " ".join(f"{r[k]:.4f}" for r in rows)
    bad += d > s
    print(f"{k:8} {row(ours):32} {row(peer):32} {d:10.4f} {s:8.4f} {'within' if d <= s else 'OUTSIDE'}")
sys.exit(bad > 0)
PY
