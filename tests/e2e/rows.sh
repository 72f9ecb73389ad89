#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rows.sh BUILD ENGINE: every row of the benchmark computes in a guest what it computes on the host, and the
# benchmark says so.
. "$(dirname "$0")/lib.sh"
build=$1 engine=$2
need_guest
command -v python3 > /dev/null || skip_all "no python3"

measure() { # the rest of bench/run's arguments; sets status
    timeout -k 5 600 "$top/bench/run" --build "$build" --rounds 1 --scale 1 --timeout 300 "$@" \
        > "$tmp/out" 2> "$tmp/err" < /dev/null
    status=$?
}

"$build/bench/rows" list > "$tmp/list"
measure --peers "native umbra" --json "$tmp/out.json" --html "$tmp/out.html" -- --engine "$engine"
check "no row failed, no checksum differs" [ "$status" = 0 ]
[ "$status" = 0 ] || cat "$tmp/out" "$tmp/err"
while read -r row group; do
    check "$row has a line" grep -q "^$row  *$group " "$tmp/out"
done < "$tmp/list"
check "a mean of all" grep -q '^all  *rows: ' "$tmp/out"
check "each row was computed twice, or is missing with a word" \
    [ $((2 * $(wc -l < "$tmp/list"))) = "$(grep -cE '"(sum|missing)": ' "$tmp/out.json")" ]
check "a page that asks for nothing else" grep -qi '<!doctype html>' "$tmp/out.html"
check "no address in it" [ "$(grep -cE 'https?:|src=|@import|url\(' "$tmp/out.html")" = 0 ]

timeout 60 "$top/bench/run" --from "$tmp/out.json" > "$tmp/again"
check "the same table from the file" cmp "$tmp/out" "$tmp/again"
sed '0,/"sum": "[0-9a-f]*"/s//"sum": "0"/' "$tmp/out.json" > "$tmp/bad.json"
timeout 60 "$top/bench/run" --from "$tmp/bad.json" > "$tmp/again"
check "a wrong checksum is a failure" [ $? = 1 ]
check "the row is named" grep -q 'checksums differ' "$tmp/again"

measure --peers native --rows calls,nonsense
check "an unknown row is refused" [ "$status" = 2 ]
measure --peers umbra --rows chase --timeout 0.01 -- --engine "$engine"
check "a row that takes too long is a failure" [ "$status" = 1 ]
check "it is marked" grep -q 'chase, Umbra: failed: timeout' "$tmp/out"
finish
