#!/usr/bin/env bash
# lint.sh - format, clang-tidy, cppcheck, shellcheck over what git tracks. A tool that is not
# installed is named and counts as a failure, so that silence means clean.
# shellcheck disable=SC2317 # functions are called through check
set -u
cd "$(dirname "$0")/.." || exit 1
FAILED=0

have() {
    command -v "$1" >/dev/null && return
    echo "lint: $1 is not installed (apt-get install $1)"
    FAILED=1
    return 1
}

check() { # name command...
    local name=$1
    shift
    if "$@"; then
        echo "lint: $name is clean"
    else
        echo "lint: $name complains"
        FAILED=1
    fi
}

mapfile -t code < <(git ls-files '*.c' '*.h' '*.cu')
mapfile -t sources < <(git ls-files '*.c')
mapfile -t scripts < <(git ls-files '*.sh' pipeline tests/run tests/run_bench tests/fuzz/run tests/gpu/check .ci/run)

tidy() {
    local folder files failed=0
    for folder in common curator loader trainer pool monitor tools; do
        mapfile -t files < <(git ls-files "$folder/*.c")
        [ ${#files[@]} -eq 0 ] || clang-tidy --quiet "${files[@]}" -- -std=gnu17 -D_GNU_SOURCE \
            -fopenmp -I"$folder" -Icommon -I"${BUILD:-build}" 2>/dev/null || failed=1
    done
    return "$failed"
}

cpp_check() {
    cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
        --suppress=missingIncludeSystem -j"$(nproc)" -D_GNU_SOURCE -D'noreturn=__attribute__((noreturn))' -Icommon \
        -Icurator -Itrainer -Itools -Itests \
        "${sources[@]}"
}

! have clang-format || check clang-format clang-format --dry-run -Werror "${code[@]}"
! have shellcheck || check shellcheck shellcheck -x "${scripts[@]}"
! have cppcheck || check cppcheck cpp_check
! have clang-tidy || check clang-tidy tidy
exit "$FAILED"
