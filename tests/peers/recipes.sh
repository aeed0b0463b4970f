#!/usr/bin/env bash
# What the recipes learn in a few hundred steps on real data, in tables.
#
#   tests/peers/recipes.sh DATA [STEPS]      DATA has facades/, cityscapes/, face2genshin/
#
# pix2pix on facades (128x128, unet_128): L1 on held-out pairs falls to 0.75 of step 0 and below
# that of answering with the mean training picture. CycleGAN and pix2pix side by side on cityscapes
# (64x64): L1 and SSIM. CUT and FastCUT on faces (64x64): the sliced Wasserstein distance falls.
set -eu
DATA=$(cd "$1" && pwd)
STEPS=${2:-400}
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
make -s programs
WORK=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/recipes_XXXXXX")}
FAILED=0

train() { # NAME SIZE lines of the configuration...
    local name=$1 size=$2
    shift 2
    {
        echo "name = \"$name\""
        printf '%s\n' "$@"
    } >"$WORK/$name.conf"
    ./pipeline up --conf "$WORK/$name.conf" --runs "$WORK/runs" \
        --set "loader.load_size=$size" --set "loader.crop_size=$size" \
        --set trainer.device=cpu --set trainer.ngf=32 --set trainer.ndf=32 \
        --set "trainer.max_steps=$STEPS" --set trainer.n_epochs=1000 \
        --set "trainer.save_every_steps=$((STEPS / 4))" --set "trainer.sample_every=$STEPS" \
        --set trainer.judge_pictures=20 --set monitor.port=0 >"$WORK/$name.out" 2>&1 || {
        tail -n 5 "$WORK/$name.out"
        exit 1
    }
}

value() { # RUN KEY first|last
    local order=asc
    [ "$3" = first ] || order=desc
    sqlite3 "$WORK/runs/metrics.sqlite" \
        "select printf('%.4f', value) from metrics where run = '$1' and key = '$2' order by step $order limit 1"
}

claim() { # TEXT CONDITION (for awk)
    if awk "BEGIN { exit !($2) }"; then
        echo "ok      $1"
    else
        echo "FAILED  $1"
        FAILED=1
    fi
}

# L1 of answering every held-out picture with the mean training picture, from the manifests.
mean_picture_l1() { # RUN DOMAIN SIZE HALF(left|right|whole)
    /usr/bin/python3 - "$WORK/runs/$1/manifest/$2.manifest" "$3" "$4" <<'PY'
import sys
import numpy as np
from PIL import Image
path, size, half = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lines = open(path).read().split("\n")
root, count = lines[2][5:], int(lines[3].split()[1])
held = int(lines[4].split()[1])
def load(line):
    im = Image.open(root + "/" + line.split(" ", 4)[4]).convert("RGB")
    w, h = im.size
    box = {"left": (0, 0, w // 2, h), "right": (w // 2, 0, w, h), "whole": (0, 0, w, h)}[half]
    return np.asarray(im.crop(box).resize((size, size), Image.BICUBIC), np.float64) / 127.5 - 1
rows = lines[5:5 + count + held]
mean = sum(load(r) for r in rows[:count]) / count
print(f"{np.mean([np.abs(load(r) - mean).mean() for r in rows[count:]]):.4f}")
PY
}

# A: photographs, B: label maps. What a photograph shows decides its label map; what a label map
# shows leaves the photograph's colours open, so that direction is told and not judged.
for direction in AtoB BtoA; do
    run=facades_$direction
    target=B half=right
    [ $direction = AtoB ] || target=A half=left
    train "$run" 128 'preset = "pix2pix"' "dataroot = \"$DATA/facades\"" \
        "direction = \"$direction\"" 'trainer = { netG = "unet_128" }'
    first=$(value "$run" paired/L1_AtoB first) last=$(value "$run" paired/L1_AtoB last)
    mean=$(mean_picture_l1 "$run" $target 128 $half)
    echo "pix2pix on facades, $direction, L1 on held-out pairs: $first at step 0," \
        "$last at step $STEPS; mean training picture $mean"
    [ $direction = AtoB ] || continue
    claim 'pix2pix: at most 0.75 of step 0' "$last <= 0.75 * $first"
    claim 'pix2pix: below the mean training picture' "$last < $mean"
done

# A: label colours, B: photographs. Both recipes with the same generator.
city=('loader = { dataset_mode = "aligned" }' "dataroot = \"$DATA/cityscapes\"")
train city_cycle 64 "${city[@]}" 'trainer = { model = "cycle_gan"; netG = "resnet_6blocks" }'
train city_pix2pix 64 "${city[@]}" 'trainer = { model = "pix2pix"; netG = "resnet_6blocks" }'
printf '%-22s %8s %8s %8s %8s\n' cityscapes 'L1 AtoB' 'SSIM' 'L1 BtoA' 'SSIM'
for run in city_cycle city_pix2pix; do
    printf '%-22s %8s %8s %8s %8s\n' "$run" "$(value $run paired/L1_AtoB last)" \
        "$(value $run paired/SSIM_AtoB last)" "$(value $run paired/L1_BtoA last)" \
        "$(value $run paired/SSIM_BtoA last)"
done
printf '%-22s %8s\n' 'mean training picture' "$(mean_picture_l1 city_pix2pix B 64 whole)"

for model in cut fastcut; do
    train "faces_$model" 64 "dataroot = \"$DATA/face2genshin\"" \
        "trainer = { model = \"$model\"; netG = \"resnet_6blocks\" }"
    first=$(value "faces_$model" swd/AtoB first) last=$(value "faces_$model" swd/AtoB last)
    echo "$model on faces, distance of fakes to portraits: $first at step 0, $last at step $STEPS;" \
        "photographs as they are $(value "faces_$model" swd/AtoB_identity last)"
    claim "$model: the distance falls" "$last < $first"
done
echo "pictures: $WORK/runs/*/samples"
exit $FAILED
