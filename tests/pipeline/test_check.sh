#!/usr/bin/env bash
# `check` tells what `up` would refuse, and refuses nothing else.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

ok "pictures are drawn" draw_data
small_conf good

# Both end with 78 and with the same reason.
both_refuse() { # reason options...
    local reason=$1
    shift
    ./pipeline check --conf "$WORK/good.conf" "$@" >"$WORK/out" 2>&1
    [ $? = 78 ] && grep -qF -- "$reason" "$WORK/out" || return
    timeout 60 ./pipeline up --conf "$WORK/good.conf" --runs "$WORK/runs" --fresh "$@" >"$WORK/out" 2>&1
    [ $? = 78 ] && grep -qF -- "$reason" "$WORK/out"
}

ok "channels that no picture has" both_refuse 'no curator gives others' --set trainer.input_nc=4
ok "an identity loss between channels that differ" both_refuse 'the identity loss needs equal numbers' \
    --set trainer.input_nc=1
ok "a layer that the net does not have" both_refuse 'nce_layers: 99' --set trainer.model=cut \
    --set pool.pool_size=0 --set trainer.nce_layers=0,99
ok "a best_metric that is not recorded" both_refuse 'trainer.best_metric' --set trainer.best_metric=colour
ok "a plateau_metric that is not recorded" both_refuse 'trainer.plateau_metric' \
    --set trainer.lr_policy=plateau --set trainer.plateau_metric=loss/none
ok "more memory than the limit" both_refuse 'the limit is 1 MiB' --set 'trainer.memory=1 MiB'
ok "pictures of several sizes and a pool" both_refuse 'set pool.pool_size = 0' \
    --set loader.preprocess=none --set loader.batch_size=1

# 17 MiB of pixels in one frame.
large() {
    timeout 200 ./pipeline up --conf "$WORK/good.conf" --runs "$WORK/runs" --fresh --set name="$1" \
        --set trainer.model=cut --set pool.pool_size=0 --set trainer.netG=resnet_1blocks \
        --set trainer.ngf=1 --set trainer.ndf=1 --set trainer.netD=pixel --set trainer.max_steps=1 \
        --set trainer.judge_pictures=0 --set trainer.probes=1 --set trainer.nce_layers=0,4 "${@:2}" >"$WORK/out" 2>&1 || {
        cat "$WORK/out"
        return 1
    }
    [ "$(sql "select count(*) from metrics where run = '$1' and step = 1 and key glob 'loss/*'")" -gt 0 ]
}
ok "a picture of 17 MiB is trained on" large one --set loader.batch_size=1 \
    --set loader.load_size=2400 --set loader.crop_size=2400

finish
