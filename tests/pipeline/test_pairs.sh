#!/usr/bin/env bash
# Pairs from folder to weights: both layouts, what has no partner, and why.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

# Side by side: $WORK/ab/train, $WORK/ab/val. Of one name: $WORK/two/trainA, trainB, testA, testB.
make_pairs() {
    /usr/bin/python3 - "$WORK" <<'PY'
import glob, os, sys
from PIL import Image
work = sys.argv[1]
faces = sorted(glob.glob(work + '/data/train?/*'))[:24]
for folder in ('ab/train', 'ab/val', 'two/trainA', 'two/trainB', 'two/testA', 'two/testB'):
    os.makedirs(work + '/' + folder)
for i, path in enumerate(faces):
    a = Image.open(path).convert('RGB').resize((40, 40))
    b = Image.eval(a, lambda v: 255 - v)
    ab = Image.new('RGB', (81, 40))
    ab.paste(a, (0, 0))
    ab.paste(b, (40, 0))
    part, split = ('train', 'train') if i < 20 else ('val', 'test')
    ab.save('%s/ab/%s/%d.png' % (work, part, i))
    a.save('%s/two/%sA/%d.png' % (work, split, i))
    b.save('%s/two/%sB/%d.jpg' % (work, split, i))
os.remove(work + '/two/trainB/3.jpg')
open(work + '/two/trainA/5.png', 'w').write('no picture')
PY
}

# pairs_conf NAME FOLDER
pairs_conf() {
    small_conf "$1"
    sed -i -e "s|^dataroot = .*|dataroot = \"$WORK/$2\"|" \
        -e 's|^loader = {|& dataset_mode = "aligned";|' -e 's|max_steps = 60|max_steps = 24|' \
        "$WORK/$1.conf"
}

runs_to_its_end() { # NAME
    ./pipeline up --conf "$WORK/$1.conf" --runs "$WORK/runs" >"$WORK/$1.out" 2>&1 ||
        { tail -n 20 "$WORK/$1.out" && false; }
}

# verdicts NAME DOMAIN: "keep ok 20" and so on, in one line
verdicts() {
    sql "select group_concat(v, ', ') from (select verdict || ' ' || reason || ' ' || count(*) as v
         from curation join run using (run_id) where name = '$1' and domain = '$2'
         group by verdict, reason order by verdict, reason)"
}

same_order() { # NAME: the names in both manifests, without folder and extension
    local side
    for side in A B; do
        sed -n 's|^[0-9]* [0-9a-f]\{64\} [0-9]* [0-9]* \(.*/\)\?\([^/]*\)\..*|\2|p' \
            "$WORK/runs/$1/manifest/$side.manifest" >"$WORK/$side.names"
    done
    [ -s "$WORK/A.names" ] && cmp "$WORK/A.names" "$WORK/B.names"
}

explains() { # NAME FILE TEXT
    ./pipeline curate --conf "$WORK/$1.conf" --runs "$WORK/runs" --explain "$2" \
        >"$WORK/explained" 2>/dev/null && grep -q "$3" "$WORK/explained"
}

if ! /usr/bin/python3 -c 'import PIL' 2>/dev/null; then
    skip "pairs: there is no Pillow"
    finish
fi
ok "pictures are drawn" draw_data
ok "pairs are made" make_pairs

pairs_conf ab ab
ok "side by side: the run ends well" runs_to_its_end ab
ok "side by side: A has its verdicts" [ "$(verdicts ab A)" = "hold_out ok 4, keep ok 20" ]
ok "side by side: B has the same" [ "$(verdicts ab B)" = "hold_out ok 4, keep ok 20" ]
ok "side by side: the layout is told" \
    [ "$(sql "select count(*) from event where code = 'layout' and message like '%side by side%'")" = 2 ]
ok "side by side: the order is the same" same_order ab

pairs_conf two two
ok "of one name: the run ends well" runs_to_its_end two
ok "of one name: A has its verdicts" [ "$(verdicts two A)" = \
    "hold_out ok 4, keep ok 18, reject not_a_picture 1, reject unmatched 1" ]
ok "of one name: B has the others" [ "$(verdicts two B)" = \
    "hold_out ok 4, keep ok 18, reject partner_not_a_picture 1" ]
ok "of one name: the order is the same" same_order two
ok "a file of A is explained" explains two "$WORK/two/trainA/3.png" unmatched
ok "a file of B is explained" explains two "$WORK/two/trainB/5.jpg" trainA/5.png
finish
