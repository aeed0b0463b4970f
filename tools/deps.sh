#!/usr/bin/env bash
# deps.sh build|test - installs the missing Debian packages that building (and the demo) or testing
# needs, and prints each with its reason. deps.sh list build|test only prints them; it exits with 1 if
# some are missing.
set -u

# package, then why
BUILD_PACKAGES='
gcc                 compiles
make                builds
libc6-dev           C library
libzmq3-dev         messages between processes
libmsgpack-dev      encoding of messages
libsodium-dev       digests
libturbojpeg0-dev   JPEG
libjpeg62-turbo-dev JPEG, line by line
libspng-dev         PNG
libwebp-dev         WebP
libexif-dev         orientation of photographs
zlib1g-dev          compression
libzip-dev          .pth files of PyTorch
libonnx-dev         the description of ONNX files
protobuf-c-compiler makes C from it
libprotobuf-c-dev   writes them
libsqlite3-dev      database
sqlite3             the database shell
libmicrohttpd-dev   dashboard
libjs-dygraphs      curves of the dashboard
libconfig-dev       settings
libyajl-dev         JSON
librandom123-dev    random numbers
libdnnl-dev         convolutions on the CPU
util-linux          setpriv, setsid, flock
'
TEST_PACKAGES='
libcmocka-dev       unit tests
python3-minimal     reference checks in Python
python3-pil         checks resampling
python3-zmq         a peer in Python
python3-msgpack     its messages
python3-torch       checks imported and exported weights
python3-opencv      runs exported nets
g++                 compiles the CUDA kernels for the processor
protobuf-compiler   reads exported nets
clang-format        the formatter of make lint
clang-tidy          static analysis of make lint
cppcheck            another one
shellcheck          checks the scripts
'

wanted() { # build|test
    case $1 in
    build) echo "$BUILD_PACKAGES" ;;
    test) echo "$BUILD_PACKAGES$TEST_PACKAGES" ;;
    *)
        echo "usage: deps.sh [list] build|test" >&2
        exit 2
        ;;
    esac
}

# Lines "package why" of what is not installed.
missing() {
    local package why
    wanted "$1" | while read -r package why; do
        [ -n "$package" ] || continue
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            printf '  %-20s %s\n' "$package" "$why"
    done
}

install() { # as_root... -- package...
    local as_root=()
    while [ "$1" != -- ]; do
        as_root+=("$1")
        shift
    done
    shift
    "${as_root[@]}" apt-get update -q >/dev/null || echo 'apt-get update failed; trying anyway' >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends "$@" >/dev/null
}

main() {
    local only_list=0 lines packages
    if [ "${1:-}" = list ]; then
        only_list=1
        shift
    fi
    if ! command -v dpkg-query >/dev/null; then
        echo 'deps.sh: this is no Debian; see the list of packages in this script' >&2
        exit 1
    fi
    lines=$(missing "${1:-}") || exit
    [ -n "$lines" ] || exit 0
    mapfile -t packages < <(awk '{ print $1 }' <<<"$lines")
    printf 'These Debian packages are missing:\n%s\n' "$lines"
    [ "$only_list" = 0 ] || exit 1
    if [ "$(id -u)" = 0 ]; then
        install -- "${packages[@]}"
    elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
        install sudo -- "${packages[@]}"
    else
        echo "Install them as root: apt-get install ${packages[*]}"
        exit 1
    fi || {
        echo "Installing failed. By hand: apt-get update && apt-get install ${packages[*]}" >&2
        exit 1
    }
}

main "$@"
