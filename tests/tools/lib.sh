# shellcheck shell=bash
# Shared by the tests of the script `pipeline`: claims, and stand-ins for the processes, so that nothing
# is trained here. A test sources this file and ends with `finish`.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
CTL=$PWD/${BUILD:-build}/bin/ctl
WORK=$(mktemp -d)
PASSED=0 FAILED=0

cleanup() {
    local pid
    for pid in $(jobs -p); do
        kill -KILL "$pid" 2>/dev/null
    done
    rm -rf "$WORK"
}
trap cleanup EXIT

ok() { # claim command...
    local claim=$1
    shift
    if "$@"; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        echo "FAILED  $claim"
        sed 's/^/    /' "$WORK/out"
    fi
}

# exits CODE command...: with that code; what it says is in $WORK/out.
exits() {
    local want=$1 code
    shift
    "$@" >"$WORK/out" 2>&1
    code=$?
    [ "$code" = "$want" ] || echo "exit code $code, not $want" >>"$WORK/out"
    [ "$code" = "$want" ]
}

says() {
    grep -qF -- "$1" "$WORK/out"
}

finish() {
    echo "$PASSED passed, $FAILED failed, 0 skipped"
    [ "$FAILED" = 0 ]
    exit
}

# ---- stand-ins for the processes ----
mkdir -p "$WORK/stand/bin"
cat >"$WORK/stand/bin/stand_in" <<'STAND'
#!/usr/bin/env bash
# Lives until SIGTERM; the trainer ends by itself with the code in `code` after `seconds`: if that
# is 0, it has finished. It saves before if there is a file `saves`.
name=${0##*/} run=''
while [ $# -gt 0 ]; do
    case $1 in
    --drain) exit 0 ;;
    --run) run=$2 ;;
    esac
    shift
done
trap 'echo "$name" >>"$run/stopped"; kill $! 2>/dev/null; exit 0' TERM
echo "$name $$" >>"$run/started"
[ "$name" != trainer ] || {
    sleep "$(cat "$run/../seconds")" &
    wait $!
    [ ! -e "$run/../saves" ] || ln -sfn "step_$$" "$run/checkpoints/latest"
    [ "$(cat "$run/../code")" != 0 ] || : >"$run/finished"
    exit "$(cat "$run/../code")"
}
while :; do
    sleep 0.1
done
STAND
# Programs that know --step VALUE and --force, and say what they were given.
cat >"$WORK/stand/bin/words" <<'WORDS'
#!/usr/bin/env bash
if [ "$*" = --help ]; then
    printf '  --step S          a step\n  --weights FILE    a file\n  --look            looks\n  --force, -f       forces\n'
else
    printf '%s\n' "${0##*/} $*"
fi
WORDS
chmod +x "$WORK/stand/bin/"{stand_in,words}
for program in curator loader trainer pool monitor; do
    ln -s stand_in "$WORK/stand/bin/$program"
done
for program in translate import export; do
    ln -s words "$WORK/stand/bin/$program"
done
ln -s "$CTL" "$WORK/stand/bin/ctl"
BUILD=$(realpath --relative-to=. "$WORK/stand")
export BUILD

mkdir -p "$WORK/data/trainA" "$WORK/data/trainB"
cat >"$WORK/good.conf" <<CONF
name = "toy"
dataroot = "$WORK/data"
loader = { load_size = 36; crop_size = 32 }
trainer = { netG = "resnet_6blocks"; ngf = 4; ndf = 4 }
CONF
