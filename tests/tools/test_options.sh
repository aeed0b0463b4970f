#!/usr/bin/env bash
# import-options: nothing of a dump is lost, what comes out is a configuration that works, and what
# is no dump is refused.
# shellcheck disable=SC2317 # functions are run through ok
# shellcheck disable=SC2016 # texts are run through ok, and sed knows no shell
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
CTL=$PWD/${BUILD:-build}/bin/ctl
PUBLISHED=../shared/data/options/train_opt_bdd100k.txt
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PASSED=0 FAILED=0 SKIPPED=0

ok() { # claim command...
    local claim=$1
    shift
    if "$@"; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        echo "FAILED  $claim"
        sed 's/^/    /' "$WORK/out" 2>/dev/null
    fi
}

exits() { # CODE command...
    local want=$1 code
    shift
    "$@" >"$WORK/out" 2>&1
    code=$?
    [ "$code" = "$want" ] || echo "exit code $code, not $want" >>"$WORK/out"
    [ "$code" = "$want" ]
}

# dump NAME=VALUE...: $WORK/dump.txt as the reference prints it, defaults marked here and there.
dump() {
    local option
    {
        echo '----------------- Options ---------------'
        for option in "$@"; do
            printf '%25s: %-30s' "${option%%=*}" "${option#*=}"
            case $option in *True) printf '\t[default: False]' ;; esac
            echo
        done
        echo '----------------- End -------------------'
    } >"$WORK/dump.txt"
}

import() { # dump
    exits 0 ./pipeline import-options "$1" --out "$WORK/made.conf"
}

# has LINE: made.conf has it, blanks at its beginning aside.
has() {
    sed 's/^ *//' "$WORK/made.conf" | grep -qxF -- "$1"
}

mentions() {
    grep -qF -- "$1" "$WORK/made.conf"
}

# Each option of the dump is a setting or stands in the comments.
nothing_is_lost() { # dump
    local name n=0
    while read -r name; do
        n=$((n + 1))
        grep -qE "^ *$name = |^#   $name:" "$WORK/made.conf" && continue
        # Settings of other names.
        case $name in
        num_threads | nThreads) mentions ' threads = ' || return 1 ;;
        display_freq) mentions 'sample_every = ' || return 1 ;;
        save_epoch_freq) mentions 'keep_weights_every = ' || return 1 ;;
        gpu_ids) mentions 'gpu = ' || has 'device = "cpu";' || return 1 ;;
        which_direction) has 'direction = "BtoA";' || return 1 ;;
        niter) mentions ' n_epochs = ' || return 1 ;;
        niter_decay) mentions ' n_epochs_decay = ' || return 1 ;;
        loadSize) mentions 'load_size = ' || return 1 ;;
        fineSize) mentions 'crop_size = ' || return 1 ;;
        normG | normD) mentions ' norm = ' || return 1 ;;
        CUT_mode) mentions ' model = ' || return 1 ;;
        *)
            echo "$name is lost" >>"$WORK/out"
            return 1
            ;;
        esac
    done < <(sed -n 's/^ *\([A-Za-z_0-9]*\): .*/\1/p' "$1")
    [ "$n" -gt 0 ]
}

# With folders that are there it is a configuration without a fault.
works() { # options of check
    exits 0 ./pipeline check --conf "$WORK/made.conf" "$@"
}

only_folders_are_missing() {
    exits 78 ./pipeline check --conf "$WORK/made.conf" &&
        ! grep -qv 'there is no folder\|problems\? in the settings' "$WORK/out"
}

mkdir -p "$WORK/data/"{trainA,trainB} "$WORK/pairs/train"

# ---- the published one ----
if [ -f "$PUBLISHED" ]; then
    ok 'the published dump is read' import "$PUBLISHED"
    ok 'nothing of it is lost' nothing_is_lost "$PUBLISHED"
    ok 'only its folders are missing' only_folders_are_missing
    ok 'it works on folders that are there' works --set "dataroot=$WORK/data"
    for line in 'name = "bdd100k";' 'batch_size = 6;' 'netG = "resnet_6blocks";' 'lr = 0.0002;' \
        'load_size = 286;' 'pool_size = 50;' 'threads = 12;' 'sample_every = 200;' \
        'lr_compat = "reference";' 'lambda_identity = 0.5;'; do
        ok "it has $line" has "$line"
    done
    ok 'what continue_train did is told' mentions 'The schedule began at epoch 1 again'
else
    SKIPPED=$((SKIPPED + 1))
    echo "SKIP the published dump: there is no $PUBLISHED"
fi

# ---- all options of the reference ----
BASE=(batch_size=1 beta1=0.5 checkpoints_dir=./checkpoints continue_train=False crop_size=256
    "dataroot=$WORK/data" dataset_mode=unaligned direction=BtoA display_env=main display_freq=400
    display_id=1 display_ncols=4 display_port=8097 display_server=http://localhost
    display_winsize=256 epoch=latest epoch_count=1 gan_mode=lsgan gpu_ids=0 init_gain=0.02
    init_type=normal input_nc=3 isTrain=True lambda_A=10.0 lambda_B=10.0 lambda_identity=0.5
    load_iter=0 load_size=286 lr=0.0002 lr_decay_iters=50 lr_policy=linear max_dataset_size=inf
    model=cycle_gan n_epochs=100 n_epochs_decay=100 n_layers_D=3 name=experiment_name ndf=64
    netD=basic netG=resnet_9blocks ngf=64 no_dropout=True no_flip=False no_html=False norm=instance
    num_threads=4 output_nc=3 phase=train pool_size=50 preprocess=resize_and_crop print_freq=100
    save_by_iter=False save_epoch_freq=5 save_latest_freq=5000 serial_batches=False suffix=
    update_html_freq=1000 use_wandb=False verbose=False wandb_project_name=CycleGAN-and-pix2pix)
dump "${BASE[@]}" num_threads=12
ok 'all options are read' import "$WORK/dump.txt"
ok 'none is lost' nothing_is_lost "$WORK/dump.txt"
ok 'they work' works
ok 'a direction is kept' has 'direction = "BtoA";'
ok 'the last word counts' has 'threads = 12;'
ok 'what did not happen is not told' test -z "$(grep 'continue_train was True' "$WORK/made.conf")"

dump "${BASE[@]}" results_dir=./results/ aspect_ratio=1.0 phase=test eval=False num_test=50 \
    model_suffix= isTrain=False something_new=17
ok 'options of a test are read' import "$WORK/dump.txt"
ok 'none of them is lost' nothing_is_lost "$WORK/dump.txt"
ok 'that nothing was trained with them is said' mentions 'these are the options of a test'
ok 'another phase names other folders' has "root = \"$WORK/data/testA\";"
ok 'an option nobody knows is listed' mentions 'something_new: 17'

# ---- some that need a thought ----
dump "${BASE[@]}" batch_size=6 gpu_ids=-1 'name=maps pix2pix/1' max_dataset_size=300 \
    continue_train=True epoch_count=51 n_epochs=100
ok 'these are read' import "$WORK/dump.txt"
ok 'they work, too' works
ok 'no GPU is the CPU' has 'device = "cpu";'
ok 'a name becomes one for a folder' has 'name = "maps_pix2pix_1";'
ok 'a number of pictures is kept' has 'max_dataset_size = 300;'
ok 'pictures become steps' has 'sample_every = 200;'
ok 'a first epoch is explained' mentions 'trained 50 epochs fewer'
ok 'so is going on from it' mentions 'The schedule began at epoch 51'

dump "${BASE[@]}" gpu_ids=2,3 netG=stylegan2 preprocess=unheard_of
ok 'values that do not exist here are read' import "$WORK/dump.txt"
ok 'none of them is lost, either' nothing_is_lost "$WORK/dump.txt"
ok 'the rest works' works
ok 'the first GPU is taken' has 'gpu = 2;'
ok 'a net that does not exist here is named' mentions "'stylegan2' is none of"

dump "${BASE[@]}" dataset_mode=aligned "dataroot=$WORK/pairs"
ok 'pairs are read' import "$WORK/dump.txt"
ok 'pairs work' works
ok 'they are aligned' has 'dataset_mode = "aligned";'

dump name=old niter=80 niter_decay=20 loadSize=143 fineSize=128 nThreads=1 which_direction=BtoA \
    "dataroot=$WORK/data" lr_policy=linear
ok 'names of before 2019 are read' import "$WORK/dump.txt"
ok 'none of those is lost' nothing_is_lost "$WORK/dump.txt"
ok 'those work' works
ok 'their epochs are kept' has 'n_epochs = 80;'
ok 'their schedule was stepped after the epoch' test -z "$(grep lr_compat "$WORK/made.conf")"

# ---- CUT ----
CUT=(CUT_mode=FastCUT batch_size=1 beta1=0.5 beta2=0.999 checkpoints_dir=./checkpoints continue_train=False
    crop_size=256 "dataroot=$WORK/data" dataset_mode=unaligned direction=AtoB display_env=main display_freq=400
    display_id=None display_ncols=4 display_port=8097 display_server=http://localhost display_winsize=256
    easy_label=experiment_name epoch=latest epoch_count=1 evaluation_freq=5000 flip_equivariance=True
    gan_mode=lsgan gpu_ids=0 init_gain=0.02 init_type=xavier input_nc=3 isTrain=True lambda_GAN=1.0
    lambda_NCE=10.0 load_size=286 lr=0.0002 lr_decay_iters=50 lr_policy=linear max_dataset_size=inf model=cut
    n_epochs=150 n_epochs_decay=50 n_layers_D=3 name=grumpy nce_T=0.07 nce_idt=False
    nce_includes_all_negatives_from_minibatch=False 'nce_layers=0,4,8,12,16' ndf=64 netD=basic netF=mlp_sample
    netF_nc=256 netG=resnet_9blocks ngf=64 no_antialias=False no_antialias_up=False no_dropout=True
    no_flip=False no_html=False normD=batch normG=batch num_patches=256 num_threads=4 output_nc=3 phase=train
    pool_size=0 preprocess=resize_and_crop pretrained_name=None print_freq=100 random_scale_max=3.0
    save_by_iter=False save_epoch_freq=5 save_latest_freq=5000 serial_batches=False
    stylegan2_G_num_downsampling=1 suffix= update_html_freq=1000 verbose=False lambda_R1=1.0)
dump "${CUT[@]}"
ok 'a dump of CUT is read' import "$WORK/dump.txt"
ok 'none of its options is lost' nothing_is_lost "$WORK/dump.txt"
ok 'it works' works
ok 'its norm is kept' has 'norm = "batch";'
ok 'its mode is the model' has 'model = "fastcut";'
ok 'every option of it is known by name' test -z "$(grep 'no such setting' "$WORK/made.conf")"
dump "${CUT[@]}" CUT_mode=CUT normD=instance
ok 'norms that differ are read' import "$WORK/dump.txt"
ok 'and told' eval 'has "norm = \"batch\";" && mentions "normD: instance"'

# ---- the table ----
table_is_of_settings() {
    local setting n=0
    while read -r setting; do
        exits 78 ./pipeline check --set "$setting=no.such" && ! grep -q 'unknown key' "$WORK/out" || return
        n=$((n + 1))
    done < <("$CTL" options-markdown | sed -n 's/^| `[^`]*` | `\([^`]*\)` .*/\1/p' | grep -v '^name$' | sort -u)
    [ "$n" -gt 40 ]
}
names_of_dumps() {
    printf '%s\n' "${BASE[@]}" "${CUT[@]}" | sed 's/=.*//' | sort -u
}
ok 'every setting of the table exists' table_is_of_settings
ok 'every option of both parsers is in the table' eval '
    test -z "$(comm -23 <(names_of_dumps) <("$CTL" options-markdown | sed -n "s/^| \`\([^\`]*\)\`.*/\1/p" | sort -u))"'
ok 'docs/options.md is current' eval '"$CTL" options-markdown | diff -q - docs/options.md >"$WORK/out"'

# ---- without --out, and what is no dump ----
ok 'it can be printed' exits 0 ./pipeline import-options "$WORK/dump.txt"
ok 'it is the same' diff -q "$WORK/out" "$WORK/made.conf"
printf 'no options\n' >"$WORK/bad.txt"
ok 'a file that is none is refused' exits 78 ./pipeline import-options "$WORK/bad.txt"
: >"$WORK/empty.txt"
ok 'so is an empty one' exits 78 ./pipeline import-options "$WORK/empty.txt"
ok 'one that is missing is an error' exits 1 ./pipeline import-options "$WORK/none.txt"
ok 'no file at all is a mistake' exits 2 "$CTL" import-options

echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[ "$FAILED" -eq 0 ]
