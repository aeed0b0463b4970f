#!/usr/bin/env bash
# layers.sh - every include stays within what tools/layers.txt allows its room, and that list itself
# goes downward only. Prints FILE:LINE for each that does not; exit status 1 if there is one.
set -eu
cd "$(dirname "$0")/.."
git ls-files '*.c' '*.h' '*.cu' '*.def' | grep -v '^tests/' | awk '
function room(path) { sub(/\/[^\/]*$/, "", path); return path }
function complain(text) { print text; bad = 1 }
FILENAME != "-" {
    if ($0 ~ /^#/ || NF == 0) next
    name = $1; sub(/:$/, "", name)
    for (i = 2; i <= NF; i++) {
        if (!($i in known)) complain("tools/layers.txt:" FNR ": " $i " does not stand above " name)
        may[name, $i] = 1
    }
    known[name] = 1
    next
}
{ files[++n] = $0; is[$0] = 1 }
END {
    for (f = 1; f <= n; f++) {
        file = files[f]; here = room(file); top = here; sub(/\/.*/, "", top); line = 0
        if (!(here in known)) complain(file ": the room " here " is not in tools/layers.txt")
        while ((getline text < file) > 0) {
            line++
            if (text !~ /^ *# *include "/) continue
            split(text, part, "\"")
            target = is[top "/" part[2]] ? top "/" part[2] : "common/" part[2]
            if (!is[target]) continue # made by the build, or a library
            if (room(target) != here && !((here, room(target)) in may))
                complain(file ":" line ": " here " may not include " target)
        }
        close(file)
    }
    exit bad
}' tools/layers.txt -
