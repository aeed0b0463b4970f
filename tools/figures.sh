#!/usr/bin/env bash
# figures.sh [FOLDER] - measures the tree in FOLDER (this one): sizes, comments, circles, includes against the
# rules. To compare with another commit: git worktree add /tmp/before COMMIT; tools/figures.sh /tmp/before
# Circles by calls need the objects of `make`.
# shellcheck disable=SC2016 # awk's own variables
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$HERE/..}"

product() {
    git ls-files '*.c' '*.h' '*.cu' '*.def' | grep -v '^tests/'
}

tests() {
    git ls-files 'tests/*.c' 'tests/*.h'
}

# Lines of a function: from its first line to the brace in column 0. Prints FILE LINES NAME.
functions() {
    xargs awk '
    FNR == 1 { open = 0; head = 0 }
    open && /^}/ { print FILENAME, FNR - open + 1, name; open = 0; head = 0; next }
    open { next }
    /^[a-zA-Z_].*\(/ && !/;[ \t]*(\/\/.*)?$/ { head = FNR; name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
    /^(typedef |struct |enum |union |static const |const |#)/ && !/\(/ { head = 0 }
    /;[ \t]*$/ && !/\{/ { head = 0 }
    head && /\{[ \t]*$/ && !/=[ \t]*\{/ { open = head }'
}

# N numbers on stdin: median, 90 %, 95 %, largest.
spread() {
    sort -n | awk '{ v[NR] = $1 } END {
        if (!NR) { print "- - - -"; exit }
        print v[int((NR + 1) / 2)], v[int((NR * 9 + 9) / 10)], v[int((NR * 95 + 99) / 100)], v[NR] }'
}

# Lines that hold a comment alone, and all that are not empty, of files on stdin.
comment_share() {
    xargs -r cat | awk '
    /^[ \t]*$/ { next }
    { all++ }
    block { n++; if (/\*\//) block = 0; next }
    /^[ \t]*\/\*/ { n++; if (!/\*\//) block = 1; next }
    /^[ \t]*\/\// { n++ }
    END { if (all) printf "%.0f %%", 100 * n / all; else printf "-" }'
}

# NAME, then files on stdin.
row() {
    local list=$1.list median p90 p95 max
    list=$(mktemp)
    cat >"$list"
    if [ -s "$list" ]; then
        read -r median p90 p95 max < <(xargs -n 1 wc -l <"$list" | awk '{ print $1 }' | spread)
        printf '| %s | %d | %d | %s / %s / %s | %d |' "$1" "$(wc -l <"$list")" \
            "$(xargs cat <"$list" | wc -l)" "$median" "$p95" "$max" \
            "$(xargs -n 1 wc -l <"$list" | awk '$1 <= 30' | wc -l)"
        read -r median p90 p95 max < <(functions <"$list" | awk '{ print $2 }' | spread)
        printf ' %s / %s / %s | %s | %s |\n' "$median" "$p90" "$max" \
            "$(grep '\.h$' "$list" | comment_share)" "$(grep '\.\(c\|cu\)$' "$list" | comment_share)"
    fi
    rm "$list"
}

head_of_table() {
    echo '| scope | files | lines | file median / p95 / max | files <= 30 | function median / p90 / max | comments in headers | in bodies |'
    echo '|---|---|---|---|---|---|---|---|'
}

# Lines "FILE FILE": a header and a header that it includes.
header_edges() {
    product | grep '\.h$' | awk '
    { file[++n] = $0; is[$0] = 1 }
    END {
        for (f = 1; f <= n; f++) {
            top = file[f]; sub(/\/.*/, "", top)
            own = file[f]; sub(/[^\/]*$/, "", own)
            while ((getline line < file[f]) > 0) {
                if (line !~ /^ *# *include "/) continue
                split(line, part, "\"")
                target = is[own part[2]] ? own part[2] : is[top "/" part[2]] ? top "/" part[2] : "common/" part[2]
                if (is[target] && target != file[f]) print file[f], target
            }
            close(file[f])
        }
    }'
}

# The same: a source, and a source whose function or table it uses. Of the objects that `make` has left.
call_edges() {
    local object
    product | grep '\.c$' | while read -r source; do
        for object in "build/${source%.c}.o" "build/cuda_host/${source%.c}.o"; do
            [ -e "$object" ] || continue
            nm -g "$object" | awk -v f="$source" '$1 == "U" { print f, "U", $2; next } NF == 3 { print f, "D", $3 }'
            break
        done
    done | awk '
    { file[NR] = $1; kind[NR] = $2; symbol[NR] = $3; if ($2 == "D") where[$3] = $1 }
    END {
        for (i = 1; i <= NR; i++)
            if (kind[i] == "U" && symbol[i] in where && where[symbol[i]] != file[i])
                print file[i], where[symbol[i]]
    }' | sort -u
}

# Edges on stdin; prints each set of files that reach each other, one a line (Tarjan).
circles() {
    awk '
    { next_of[$1] = next_of[$1] " " $2; node[$1]; node[$2] }
    function visit(v,    parts, k, i, w, members) {
        index_of[v] = low[v] = ++clock
        stack[++depth] = v; on[v] = 1
        k = split(next_of[v], parts, " ")
        for (i = 1; i <= k; i++) {
            w = parts[i]
            if (!(w in index_of)) { visit(w); if (low[w] < low[v]) low[v] = low[w] }
            else if (on[w] && index_of[w] < low[v]) low[v] = index_of[w]
        }
        if (low[v] == index_of[v]) {
            members = ""; i = 0
            do { w = stack[depth--]; on[w] = 0; members = members " " w; i++ } while (w != v)
            if (i > 1) print substr(members, 2)
        }
    }
    END { for (v in node) if (!(v in index_of)) visit(v) }'
}

echo "commit $(git rev-parse --short HEAD)"
echo
head_of_table
product | row product
tests | row tests
echo
head_of_table
product | sed 's|/[^/]*$||' | sort -u | while read -r room; do
    product | grep "^$room/[^/]*$" | row "$room"
done
echo
echo 'Functions above 60 lines:'
{ product; tests; } | grep -v '\.def$' | functions | awk '$2 > 60 { print "  " $1 " " $3 " " $2 }' | sort
echo "Files above 400 lines: $(product | xargs -n 1 wc -l | awk '$1 > 400' | wc -l) product," \
    "$(tests | xargs -n 1 wc -l | awk '$1 > 400' | wc -l) tests"
echo "Sources below 40 lines: $(product | grep '\.c$' | xargs -n 1 wc -l | awk '$1 < 40 { printf "%s (%d) ", $2, $1 }')"
echo "Lines above 100 columns: $({ product; tests; } | xargs cat | awk 'length > 100' | wc -l)"
echo
show_circles() { # what
    circles | awk -v what="$1" '{ print "  " $0; n++ } END { print "Circles of files by " what ": " n + 0 }'
}

header_edges | show_circles includes
if [ -e build/libcommon.a ]; then
    call_edges | show_circles calls
else
    echo 'Circles of files by calls: not counted, build/ is empty'
fi
if [ -e tools/layers.txt ]; then
    echo "Includes against tools/layers.txt: $(tools/layers.sh | wc -l)"
fi
