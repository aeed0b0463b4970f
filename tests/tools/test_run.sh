#!/usr/bin/env bash
# What tests/run counts.
set -u
cd "$(dirname "$0")/../.." || exit 1
HERE=$(mktemp -d)
trap 'rm -rf "$HERE"' EXIT
PASSED=0 FAILED=0

claim() { # text command...
    if "${@:2}"; then
        PASSED=$((PASSED + 1))
    else
        echo "FAILED: $1"
        FAILED=$((FAILED + 1))
    fi
}

# The counts that tests/run keeps of a program which prints cmocka's words and ends with a code.
counts() { # code
    printf '#!/bin/sh\ncat <<"END"\n%s\nEND\nexit %d\n' "$(cat)" "$1" >"$HERE/program"
    chmod +x "$HERE/program"
    rm -rf "$HERE/results"
    mkdir "$HERE/results"
    RESULTS=$HERE/results tests/run --one cmocka "of/it" "$HERE/program" >"$HERE/output"
    cat "$HERE/results/of_it"
}

is() { # want got
    [ "$1" = "$2" ] || ! echo "    '$2', not '$1'"
}

claim 'a case that failed or was skipped counts once' is '1 2 1 2 of/it' "$(
    counts 2 <<'END'
[==========] Running 4 test(s).
[ RUN      ] good
[       OK ] good
[ RUN      ] first
[  ERROR   ] --- 1 != 2
[  FAILED  ] first
[ RUN      ] second
[  FAILED  ] second
[ RUN      ] absent
[  SKIPPED ] absent
[==========] 4 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] absent
[  FAILED  ] 2 test(s), listed below:
[  FAILED  ] first
[  FAILED  ] second

 2 FAILED TEST(S)
END
)"
claim 'a program that dies without a failed case has failed' is '1 1 0 139 of/it' "$(
    counts 139 <<'END'
[ RUN      ] good
[       OK ] good
[ RUN      ] second
END
)"
claim 'an unknown instruction set is refused' is 2 "$(
    tools/instructions.sh sse9 true 2>/dev/null
    echo $?
)"
claim 'a limit reaches the command' is avx2 "$(
    tools/instructions.sh avx2 printenv PIPELINE_INSTRUCTIONS
)"
echo "$PASSED passed, $FAILED failed, 0 skipped"
[ "$FAILED" -eq 0 ]
