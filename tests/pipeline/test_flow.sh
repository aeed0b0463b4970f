#!/usr/bin/env bash
# Pictures on their way in a training on a device apart from the host, in bfloat16: what the host
# asks for before what, what the pool keeps of them, and the same bits whatever is killed. The
# device is the CUDA backend on its emulation, in the place of the real one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called through ok
source "$(dirname "$0")/lib.sh"

PYTHON=/usr/bin/python3

if [ ! -e "$BUILD/lib/device_cuda-host.so" ]; then
    skip "flow: the emulation is not built"
    finish
fi
mkdir -p "$WORK/build/bin" "$WORK/build/lib"
cp "$BUILD"/bin/* "$WORK/build/bin"
cp "$BUILD/lib/device_cuda-host.so" "$WORK/build/lib/device_cuda.so"
BUILD=$(realpath --relative-to=. "$WORK/build")
export BUILD

narrow() { # NAME: 12 steps of one picture, 32x32, a pool of 6
    small_conf "$1"
    sed -i 's/device = "cpu"; threads = 1/device = "cuda"; dtype = "bf16"/; s/max_steps = 60/max_steps = 12/
        s/save_every_steps = 20/save_every_steps = 12/; s/judge_pictures = 4/judge_pictures = 2/
        s/probes = 2/probes = 1/; s/_6blocks/_1blocks/; s/batch_size = 2/batch_size = 1/' "$WORK/$1.conf"
}

up_exits() { # CODE NAME options...
    local want=$1 name=$2 code
    shift 2
    timeout 900 ./pipeline up --conf "$WORK/$name.conf" --runs "$WORK/runs" "$@" \
        >"$WORK/out" 2>&1 </dev/null
    code=$?
    [ "$code" = "$want" ] || tail -n 20 "$WORK/out"
    [ "$code" = "$want" ]
}

# order CLAIM: of the trace. A step of the recorded ones is
#   b b  G  D D  G  U U  P P  G    b: bytes unpacked; G: a recorded section; D: fakes out; U: bytes
# in, of the next step; P: the pool's pictures in; and waits of the host in between.
order() {
    "$PYTHON" - "$WORK/trace" "$1" <<'PY'
import sys
from collections import Counter

BYTES, ELEMENTS = '3072', '6144'
tokens = []
for line in open(sys.argv[1]):
    who, what, arg = line.split()
    if who == 'host':
        tokens.append(arg)
    elif (what, arg) in (('in', BYTES), ('in', ELEMENTS), ('out', ELEMENTS)):
        tokens.append({'in' + BYTES: 'U', 'in' + ELEMENTS: 'P', 'out' + ELEMENTS: 'D'}[what + arg])
    elif what == 'graph':
        tokens.append('G')
    elif what == 'kernel' and arg.startswith('picture_bytes'):
        tokens.append('b')

begins = [i for i, t in enumerate(tokens[:-1]) if t == tokens[i + 1] == 'b']
# From the third on they are recorded; the tenth is followed by pictures for people.
steps = [tokens[a:b] for a, b in zip(begins, begins[1:])][2:9]
assert len(steps) == 7, 'steps seen: %d' % len(steps)

def at(step, token, number):
    return [i for i, t in enumerate(step) if t == token][number]

def waits(step, after, before):
    return [t for t in step[after:before] if t.startswith('0x')]

def common(parts):
    n = Counter(e for part in parts for e in set(part))
    return {e for e, k in n.items() if k == len(parts)}

# What every step waits for there: the fences; others are of the rings.
ended = common([waits(s, at(s, 'G', 0), at(s, 'G', 1)) for s in steps])
left = common([waits(s, at(s, 'G', 1), at(s, 'P', 0)) for s in steps])
assert ended and left and not ended & left

claims = {
    'fakes leave before the update of G is asked for':
        lambda s, n: at(s, 'G', 0) < at(s, 'D', 0) and at(s, 'D', 1) < at(s, 'G', 1),
    'the update of G is asked for before the host waits for them':
        lambda s, n: not left & set(waits(s, 0, at(s, 'G', 1))),
    'and before the pool is waited for':
        lambda s, n: at(s, 'G', 1) < at(s, 'P', 0),
    'the next batch leaves before the outcome of this step is waited for':
        lambda s, n: s.count('U') + n[:min(i for i, t in enumerate(n) if t in ended)].count('U') == 2,
    'the outcome is waited for when the next step is under way':
        lambda s, n: not ended & set(waits(s, at(s, 'G', 1), len(s)) + waits(n, 0, at(n, 'G', 0))),
    'a batch that is there leaves before the pool is waited for':
        None,
}
claim = claims[sys.argv[2]]
if claim:
    for i in range(len(steps) - 1):
        assert claim(steps[i], steps[i + 1]), 'step %d: %s' % (i + 3, ' '.join(steps[i]))
else: # whether it is there, is the loader's affair
    early = sum(s.count('U') == 2 and at(s, 'U', 1) < at(s, 'P', 0) for s in steps)
    assert 2 * early > len(steps), 'in %d of %d steps' % (early, len(steps))
PY
}

size_is() { # RUN BYTES of a picture in pool.bin: its head, and 6 pictures in each of 2 tables
    [ "$(stat -c %s "$WORK/runs/$1/checkpoints/latest/pool.bin")" = $((88 + 12 * (8 + $2))) ]
}

traced() {
    CUDA_HOST_TRACE="$WORK/trace" up_exits 0 "$@"
}

same_bits() { # RUN RUN
    diff <(cd "$WORK/runs/$1/checkpoints/latest/" && sha256sum ./*.safetensors pool.bin) \
        <(cd "$WORK/runs/$2/checkpoints/latest/" && sha256sum ./*.safetensors pool.bin)
}

ok "pictures are drawn" draw_data
narrow whole
ok "a run in bf16" traced whole
for claim in 'fakes leave before the update of G is asked for' \
    'the update of G is asked for before the host waits for them' \
    'and before the pool is waited for' \
    'the next batch leaves before the outcome of this step is waited for' \
    'the outcome is waited for when the next step is under way' \
    'a batch that is there leaves before the pool is waited for'; do
    ok "$claim" order "$claim"
done
ok "the pool keeps numbers of 2 bytes" size_is whole $((32 * 32 * 3 * 2))

killed() {
    start_run shot
    wait_step shot 3 && kill -9 "$(status shot pool pid)" &&
        wait_step shot 6 && kill -9 "$(status shot trainer pid)"
    wait "$UP"
}
narrow shot
ok "pool and trainer are killed in the middle" killed
ok "the run has the bits of the one that was left alone" same_bits whole shot

# The exchange's numbers are those of the dtype, so a pool cannot go with a run into another.
forked() { # NAME: whether it began with an empty pool
    [ "$(sql "select count(*) from event join run using (run_id)
              where name = '$1' and code = 'forked'")" = "$2" ]
}
narrow wide
narrow alike
ok "a fork to fp32" up_exits 0 whole --fork wide --set trainer.dtype=fp32 --set trainer.max_steps=18
ok "begins with an empty pool" forked wide 1
ok "of numbers of 4 bytes" size_is wide $((32 * 32 * 3 * 4))
ok "a fork in the same dtype" up_exits 0 whole --fork alike --set trainer.max_steps=14
ok "goes on with the pool" forked alike 0
finish
