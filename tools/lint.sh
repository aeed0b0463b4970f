#!/usr/bin/env bash
# lint.sh [CHECK..] - everything that holds the style and finds faults without running the code.
# Without a CHECK all of them run; `lint.sh list` names them. A tool that is not installed is a
# failure, so that silence means clean.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
JOBS=$(nproc)
CHECKS=(format layers headers extern names shellcheck cppcheck tidy)

mapfile -t HEADERS < <(git ls-files '*.h')
mapfile -t SOURCES < <(git ls-files '*.c')
mapfile -t KERNELS < <(git ls-files '*.cu')

# The folders that a file may include from, as the build has them.
includes_of() { # file
    local top=${1%%/*} rest=${1#*/}
    if [ "$top" = tests ]; then
        echo "-Itests -I${rest%%/*} -Itrainer -Icommon -I$BUILD"
    else
        echo "-I$top -Icommon -I$BUILD"
    fi
}

needs() { # tool
    command -v "$1" >/dev/null && return
    echo "$1 is not installed (apt-get install $1)"
    return 1
}

check_format() {
    needs clang-format && clang-format --dry-run -Werror "${HEADERS[@]}" "${SOURCES[@]}" "${KERNELS[@]}"
}

# An include stays within what tools/layers.txt allows.
check_layers() {
    tools/layers.sh
}

# A header includes what it uses, so it compiles alone. Two kinds cannot: the loops that
# cpu/simd_SET.c compiles with macros for one instruction set.
check_headers() {
    local header failed=0
    for header in "${HEADERS[@]}"; do
        case $header in trainer/cpu/simd_vector.h | trainer/cpu/simd_product.h | trainer/cpu/simd_wino.h) continue ;; esac
        echo "$header"
    done | xargs -P "$JOBS" -n 8 tools/lint.sh --header || failed=1
    return $failed
}

one_header() { # file
    local language=c standard=gnu17
    case $1 in
    # What a kernel includes is C++, and so is its stand-in for the emulation.
    trainer/cuda/kernels/* | */emulation/cuda_runtime.h | */emulation/cuda_bf16.h)
        language=c++ standard=c++17
        ;;
    esac
    # shellcheck disable=SC2046 # one word an option
    gcc -fsyntax-only -x $language -std=$standard -D_GNU_SOURCE -Wall -Wextra -Werror \
        -Wno-unused-parameter -Wno-unused-function -Wno-unknown-pragmas -fopenmp -fmax-errors=3 \
        $(includes_of "$1") -Itests -Itests/trainer/cuda/emulation -include "$PWD/$1" /dev/null
}

# A source sees another file's functions and data through a header alone.
check_extern() {
    ! git grep -nE '^ *extern ' -- '*.c' '*.cu' ':!tests/'
}

# A file that a comment or a page of the documentation names is there. A name with a capital letter is
# somebody else's, or stands for any.
check_names() {
    {
        git grep -nE '//.*\.(c|h|cu|def|sh|md)\b' -- '*.c' '*.h' '*.cu' '*.def' | sed 's|^\([^:]*:[0-9]*:\).*//|\1|'
        git grep -nE '\.(c|h|cu|def|sh|md)\b' -- '*.md'
        git grep -nE '^ *#.*\.(c|h|cu|def|sh|md)\b' -- '*.sh' '*.mk' Makefile pipeline tests/run
    } | awk '
    FILENAME != "-" { n = split($0, part, "/"); name = ""
        for (i = n; i > 0; i--) { name = part[i] (name == "" ? "" : "/" name); is[name] = 1 }
        next }
    {
        match($0, /^[^:]*:[0-9]*:/); where = substr($0, 1, RLENGTH); text = substr($0, RLENGTH + 1)
        while (match(text, /[A-Za-z0-9_.\/-]+\.(c|h|cu|def|sh|md)[^A-Za-z0-9_(]/) || match(text, /[A-Za-z0-9_.\/-]+\.(c|h|cu|def|sh|md)$/)) {
            name = substr(text, RSTART, RLENGTH); text = substr(text, RSTART + RLENGTH)
            sub(/[^a-z]$/, "", name); sub(/^(\.\.?\/)+/, "", name)
            if (name ~ /[A-Z]/ || name ~ /^(\/|-)/ || name in is) continue
            print where " there is no " name; bad = 1
        }
    }
    END { exit bad }' <(git ls-files && printf '%s\n' version.h device_interface.h onnx.pb-c.h) -
}

# Every tracked file whose first line names a shell.
check_shellcheck() {
    local scripts
    needs shellcheck || return
    mapfile -t scripts < <(git grep -lIE '^#!.*sh$' | while read -r file; do
        head -n 1 "$file" | grep -qE '^#!.*sh$' && echo "$file"
    done)
    shellcheck -x "${scripts[@]}"
}

check_cppcheck() {
    needs cppcheck && cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability \
        --inline-suppr --suppress=missingIncludeSystem -j"$JOBS" -D_GNU_SOURCE \
        -D'noreturn=__attribute__((noreturn))' -Icommon -Icurator -Itrainer -Itools -Itests \
        "${SOURCES[@]}"
}

# .clang-tidy says what. It includes headers that the build makes.
check_tidy() {
    needs clang-tidy && make -s "$BUILD/version.h" "$BUILD/device_interface.h" "$BUILD/onnx.pb-c.h" &&
        git ls-files '*.c' ':!tests/' | xargs -P "$JOBS" -n 1 tools/lint.sh --tidy
}

one_tidy() { # file
    # shellcheck disable=SC2046 # one word an option
    clang-tidy --quiet "$1" -- -std=gnu17 -D_GNU_SOURCE -fopenmp $(includes_of "$1") \
        2> >(grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter' >&2)
}

main() {
    local check failed=0
    case ${1:-} in
    list)
        echo "${CHECKS[*]}"
        return
        ;;
    --header | --tidy) # one of the parallel parts
        check=one_${1#--}
        shift
        for file in "$@"; do "$check" "$file" || failed=1; done
        return $failed
        ;;
    esac
    [ $# -gt 0 ] || set -- "${CHECKS[@]}"
    for check in "$@"; do
        if "check_$check"; then
            echo "lint: $check is clean"
        else
            echo "lint: $check failed"
            failed=1
        fi
    done
    return $failed
}

main "$@"
