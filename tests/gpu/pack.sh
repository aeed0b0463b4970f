#!/usr/bin/env bash
# tests/gpu/pack.sh BUILD PACK [DATA] - what a machine with a GPU, without Debian's packages, needs
# to run the whole pipeline, into the folder PACK (`make gpu-pack`):
#
#   pipeline.tar.gz   programs without symbols, the libraries they need, pipeline, presets
#   pictures.tar      DATA, a folder with trainA and trainB
#
# A program is a line of shell there that names the libraries and becomes the real one. Not in it:
# libc and what comes with gcc, which are the machine's, and the CUDA plugin, which is built there.
set -eu
BUILD=$1 PACK=$2 DATA=${3:-}
PROGRAMS=(curator loader trainer pool monitor translate import export ctl bench_step)
MOST_MIB=50
STAGE=$(mktemp -d "${TMPDIR:-/tmp}/gpu_pack_XXXXXX")
trap 'rm -rf "$STAGE"' EXIT

mkdir -p "$PACK" "$STAGE/build/bin" "$STAGE/build/exec" "$STAGE/build/needs"
cp -r pipeline presets pipeline.conf "$STAGE"
for program in "${PROGRAMS[@]}"; do
    strip -o "$STAGE/build/exec/$program" "$BUILD/bin/$program"
    cat >"$STAGE/build/bin/$program" <<'SH'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
# Behind them what the machine names: a container's driver may be found there alone.
LD_LIBRARY_PATH=$here/../needs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$here/../exec/${0##*/}" "$@"
SH
    chmod +x "$STAGE/build/bin/$program"
done

missing=$(ldd "$STAGE"/build/exec/* | grep 'not found' || true)
[ -z "$missing" ] || {
    echo "gpu-pack: libraries are missing here: $missing" >&2
    exit 1
}
# The name that programs ask for is the last part of ldd's third word.
ldd "$STAGE"/build/exec/* | awk '/=>/ { print $3 }' | sort -u |
    grep -Ev '/(libc|libm|libdl|librt|libpthread|libresolv|libstdc\+\+|libgcc_s)\.so' |
    xargs cp -L -t "$STAGE/build/needs"
chmod -R u+w "$STAGE/build/needs"
strip --strip-unneeded "$STAGE"/build/needs/*

tar -C "$STAGE" -c --owner=0 --group=0 . | gzip -9 >"$PACK/pipeline.tar.gz"
rm -f "$PACK/pictures.tar"
if [ -n "$DATA" ]; then
    for folder in trainA trainB; do
        [ -d "$DATA/$folder" ] || {
            echo "gpu-pack: DATA=$DATA has no folder $folder" >&2
            exit 1
        }
    done
    tar -C "$DATA" -c --owner=0 --group=0 . >"$PACK/pictures.tar"
fi
size=$(du -sm "$PACK" | cut -f 1)
[ "$size" -le "$MOST_MIB" ] || {
    echo "gpu-pack: $PACK has $size MiB, more than $MOST_MIB: take fewer or smaller pictures" >&2
    exit 1
}
