#!/usr/bin/env bash
# Another data set by another curator: one section of the file is changed, nothing else, and the next
# run trains on what it names.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

CONF=$WORK/swap.conf

# The file with A's section on a line of its own.
first_conf() {
    small_conf swap "curator = {" \
        "A = { use = \"folder\"; root = \"$WORK/data/trainA\" };" \
        "B = { use = \"folder\"; root = \"$WORK/data/trainB\" }; };"
    sed -i -e '/^dataroot/d' -e 's|max_steps = 60; save_every_steps = 20|max_steps = 4|' "$CONF"
}

# section TEXT: puts it in place of A's; everything else stays.
section() {
    cp "$CONF" "$CONF.before"
    sed -i "s|^A = .*|A = { $1 };|" "$CONF"
    [ "$(diff "$CONF.before" "$CONF" | grep -c '^[<>]')" = 2 ]
}

run() { # options...
    ./pipeline up --conf "$CONF" --runs "$WORK/runs" "$@" >"$WORK/out" 2>&1 ||
        { tail -n 20 "$WORK/out" && false; }
}

refused_for() { # PART of the text
    ./pipeline up --conf "$CONF" --runs "$WORK/runs" >"$WORK/out" 2>&1
    [ $? = 78 ] && grep -q "$1" "$WORK/out"
}

# verdicts DOMAIN: "keep ok 20" and so on of the last run, in one line
verdicts() {
    sql "select group_concat(v, ', ') from (select verdict || ' ' || reason || ' ' || count(*) as v
         from curation where domain = '$1'
         and run_id = (select run_id from run where name = 'swap' order by started_us desc limit 1)
         group by verdict, reason order by verdict, reason)"
}

root_is() { # FOLDER
    head -n 12 "$WORK/runs/swap/manifest/A.manifest" | grep -aqF "$1"
}

trained_steps() {
    local step
    for step in "$WORK"/runs/swap/checkpoints/step_*; do
        [ "${step##*_}" -ne 4 ] || return 0
    done
    return 1
}

swaps_to() { # SECTION FOLDER VERDICTS
    section "$1" && run --fresh && trained_steps && root_is "$2" &&
        { [ "$(verdicts A)" = "$3" ] || { echo "verdicts: $(verdicts A)" && false; }; }
}

b_digest() {
    sha256sum <"$WORK/runs/swap/manifest/B.manifest"
}

make_labels() {
    mkdir -p "$WORK/drawn/celeba/labels" || return
    (
        cd "$WORK/drawn/celeba/img_align_celeba" || exit
        echo '['
        printf '{"name": "%s", "attributes": {"timeofday": "night"}},\n' ./*[13579].jpg
        printf '{"name": "%s", "attributes": {"timeofday": "daytime"}},\n' ./*[02468].jpg
        echo '{"name": "gone.jpg", "attributes": {"timeofday": "night"}}]'
    ) >"$WORK/drawn/celeba/labels/bdd100k_labels_images_train.json"
}

make_script() {
    # shellcheck disable=SC2016 # the script expands them
    printf '%s\n' '#!/bin/sh' 'n=0' 'while read -r line; do n=$((n + 1))' \
        'keep=true; [ $n -le 10 ] || keep=false' \
        'printf "{\"keep\":%s,%s\n" "$keep" "${line#\{}"; done' >"$WORK/first_ten"
    chmod +x "$WORK/first_ten"
}

ok "pictures are drawn" draw_data
ok "labels are made" make_labels
ok "a script is made" make_script
first_conf
ok "the first run ends well" run
ok "it has the folder's pictures" root_is "$WORK/data/trainA"
B=$(b_digest)

CELEBA=$WORK/drawn/celeba
BAD="reject broken 1, reject empty 1" # `draw` adds three files of that kind to the 40
section "use = \"celeba\"; root = \"$CELEBA\"; keep_nearest = 20"
ok "another section in an old run is refused and named" \
    refused_for "curator.A.use: folder -> celeba"
first_conf
ok "celeba" swaps_to "use = \"celeba\"; root = \"$CELEBA\"; keep_nearest = 20" "$CELEBA" \
    "hold_out ok 1, keep ok 19, reject rank 23"
ok "anime" swaps_to "use = \"anime\"; root = \"$WORK/drawn/anime\"; limit = 10; limit_by = \"seed\"" \
    "$WORK/drawn/anime" "hold_out ok 1, keep ok 9, $BAD, reject limit 30, reject not_a_picture 1"
ok "bdd100k" swaps_to "use = \"bdd100k\"; root = \"$CELEBA\"; timeofday = [\"night\"]" "$CELEBA" \
    "hold_out ok 1, keep ok 19, reject empty 1, reject not_a_picture 1, reject timeofday 21"
ok "exec" swaps_to "use = \"exec\"; root = \"$CELEBA\"; command = \"$WORK/first_ten\"" "$CELEBA" \
    "hold_out ok 1, keep ok 9, $BAD, reject not_a_picture 1, reject script 30"
ok "the other domain has not changed" [ "$(b_digest)" = "$B" ]
finish
