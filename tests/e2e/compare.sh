#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# umbra compare: a short comparison whose JSON adds up and whose page needs nothing else, failures, signals.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_no_sanitizer
need_modules
mkdir "$tmp/work"
# What no guest needs to run for.
run 10 compare --workload nothing
check "an unknown workload is refused" [ "$status" = 2 ]
run 10 compare --means enough,magic
check "an unknown means is refused" [ "$status" = 2 ]
check "with those there are" grep -q 'enough, balloon, swap' "$tmp/err"
run 10 compare --memory 256M --limit 300M
check "a limit that is no shortage is refused" [ "$status" = 2 ]
XDG_CACHE_HOME=$tmp/empty run 10 compare --quick
check "without a guest it says how to get one" grep -q 'make guest' "$tmp/err"
run 10 compare --quick --dir "$tmp/nowhere"
check "a folder that is not there is the host's failure" [ "$status" = 4 ]
check "and says what to do" grep -q -- '--dir' "$tmp/err"

# A guest's figures add up, and pages are valid: the tools that judge them may be missing.
json_holds() { # EXPRESSION over d
    python3 -c "import json, sys; d = json.load(open('$tmp/c.json')); m = {x['means']: x for x in d['means']}
sys.exit(0 if ($1) else 1)"
}
run 240 compare --workload random --means enough,swap --memory 160M --limit 104M --load 64M --seconds 1 \
    --dir "$tmp/work" --json "$tmp/c.json" --html "$tmp/c.html"
check "a comparison of two means" [ "$status" = 0 ]
check "tells of its progress" grep -q 'plain swapping: the host takes memory back' "$tmp/err"
check "prints a table" grep -q '^plain swapping .* MiB/s' "$tmp/out"
check "answers in words" grep -q 'What does the disk see? The hypervisor wrote' "$tmp/out"
check "leaves no files" [ -z "$(ls -A "$tmp/work")" ]
check "leaves no VM" [ -z "$(ls "$XDG_RUNTIME_DIR/umbra" 2> /dev/null)" ]
if command -v python3 > /dev/null; then
    check "both means ran" json_holds 'sorted(m) == ["enough", "swap"] and all(x["good_rounds"] == 1 for x in m.values())'
    check "in every sample the page states add up to the guest" json_holds \
        'all(sum(s["pages_bytes"].values()) == d["memory_bytes"] for x in m.values() for s in x["rounds"][0]["samples"])'
    check "work is told as a part of what enough memory allowed" json_holds \
        'm["enough"]["figures"]["of_enough"] == 1 and abs(m["swap"]["figures"]["of_enough"] -
         m["swap"]["figures"]["accesses_per_s"] / m["enough"]["figures"]["accesses_per_s"]) < 1e-6'
    check "the VM was held to its limit" json_holds \
        'm["swap"]["figures"]["host_peak_bytes"] <= d["limit_bytes"] * 1.02'
    check "what the hypervisor wrote is what its samples say" json_holds \
        'm["swap"]["figures"]["file_write_bytes"] > 0 and
         max(s["file_write_bytes"] for s in m["swap"]["rounds"][0]["samples"]) >= m["swap"]["figures"]["file_write_bytes"]'
    check "with enough memory nothing is written" json_holds 'm["enough"]["figures"]["file_write_bytes"] == 0'
else
    skipped=$((skipped + 1))
    echo "SKIP no python3 to read the JSON"
fi
check "the page asks nobody for anything" sh -c "! grep -Eq 'https?:|src=|href=|@import|url\(' '$tmp/c.html'"
check "it has three plots a run" [ "$(grep -o '<svg ' "$tmp/c.html" | wc -l)" = 6 ]
if command -v xmllint > /dev/null; then
    xmllint --html --noout "$tmp/c.html" 2>&1 | grep error | grep -v 'Tag \(article\|figure\|figcaption\|svg\|path\|rect\|text\) invalid' \
        > "$tmp/lint"
    check "and is well-formed" [ ! -s "$tmp/lint" ]
else
    skipped=$((skipped + 1))
    echo "SKIP no xmllint to read the page"
fi

# A restart that smart paging bridges, in a pool of its own; ends the manager, too.
run 240 compare --workload restart --means smart --memory 160M --seconds 1 --dir "$tmp/work" --json "$tmp/c.json"
check "a restart in a pool without free memory" [ "$status" = 0 ]
check "is told" grep -q 'The restart took' "$tmp/out"
check "leaves no files" [ -z "$(ls -A "$tmp/work")" ]
check "leaves no manager" [ -z "$(ls "$XDG_RUNTIME_DIR/umbra" 2> /dev/null)" ]
if command -v python3 > /dev/null; then
    check "smart paging wrote" json_holds 'm["smart"]["figures"]["smart_write_bytes"] > 0'
fi

# A run that fails says why; the others go on.
run 120 compare --command 'exit 7' --means enough --memory 160M --limit 104M --seconds 1 --dir "$tmp/work"
check "a command that fails is told" grep -q 'the command ended with status 7' "$tmp/out"
check "by the exit status, too" [ "$status" = 1 ]

# A signal, as Ctrl-C sends one, ends the VM and removes what was made.
"$umbra" compare --quick --dir "$tmp/work" < /dev/null > "$tmp/out" 2> "$tmp/err" &
pid=$!
check "a VM runs" wait_for 20 sh -c "'$umbra' ps | grep -q compare-"
kill "$pid"
wait "$pid"
check "the end is told by the exit status" [ $? = 1 ]
check "no VM is left" sh -c "! '$umbra' ps | grep -q compare-"
check "no files are left" [ -z "$(ls -A "$tmp/work")" ]
finish
