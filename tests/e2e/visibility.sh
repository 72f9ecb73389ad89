#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# walk, trace and stat --audit on a running guest that tells its own tables on its console (tests/guest/walked.c).
. "$(dirname "$0")/lib.sh"
image=${GUESTS:?set GUESTS to the folder of the guest images}/walked.elf
python=$(command -v python3 || true)

mkfifo "$tmp/fifo"
exec 7<> "$tmp/fifo"
printf w >&7
"$umbra" run --name seen --kernel "$image" --memory 16M --debug-exit --no-reboot <&7 > "$tmp/console" 2> "$tmp/err" &
pid=$!
check "the guest tells its tables" wait_for 30 grep -q '^ready' "$tmp/console"

told() { # ADDRESS KEY: what the guest has said
    tr -d '\r' < "$tmp/console" | sed -n "s/^walk $1 $2 //p"
}

walk() { # ADDRESS [OPTIONS]: text in $tmp/walk, JSON in $tmp/walk.json
    timeout 100 "$umbra" walk seen "$@" > "$tmp/walk" && timeout 100 "$umbra" walk seen "$@" --json > "$tmp/walk.json"
}

# The page's own members come after those of the levels.
json() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\",\{0,1\}\$/\1/p" "$tmp/walk.json" | tail -n 1; }

# The guest's word against the walk's: each entry's address and value in the line of its level.
same_tables() { # ADDRESS
    local level at entry
    for level in 4 3 2 1; do
        at=$(told "$1" "at$level")
        [ -n "$at" ] || continue
        entry=$(told "$1" "entry$level")
        grep -q "^ *$level .* $at  *$entry " "$tmp/walk" || { echo "level $level: no $at $entry"; return 1; }
    done
}

# The guest switches between two address spaces all the time, so the walks name theirs.
other=$(tr -d '\r' < "$tmp/console" | sed -n 's/^other \(.*\) root .*/\1/p')
root=$(tr -d '\r' < "$tmp/console" | sed -n 's/^other .* root //p')
for address in 0x40001234 0x40002000; do
    check "walk $address" walk $address --cr3 "$root"
    check "$address: every level as the guest has it" same_tables $address
    check "$address: the GPA as the guest has it" [ "$(json gpa)" = "$(told $address gpa)" ]
    hva=$(printf '0x%x' $(($(json userspace_addr) + (($(json gfn) - $(json base_gfn)) << 12) + $(json offset))))
    check "$address: the HVA is the formula's" [ "$(json hva)" = "$hva" ]
    check "$address: guest and shadow agree" [ "$(json verdict)" = agree ]
done
check "a page that was only read has no host page" grep -q '"state": "zero"' "$tmp/walk.json"
check "its write is withheld" grep -q 'write withheld: the guest' "$tmp/walk"
check "walk an absent page" walk 0x40003000 --cr3 "$root"
check "every level down to the stop" same_tables 0x40003000
check "it says where and why it stops" grep -q 'the walk stops at the PT: entry 3 is not present' "$tmp/walk"
check "walk a large page" walk "$(tr -d '\r' < "$tmp/console" | sed -n 's/^walk \(0x1[0-9a-f]*\) gpa.*/\1/p')"
check "it is mapped by its PD entry" grep -q 'maps it by its PD entry' "$tmp/walk"
check "walk rip" walk rip
check "the instruction's page holds code" grep -q 'it holds code' "$tmp/walk"
check "walk a non-canonical address" walk 0x8000000000000000
check "no table is read for it" grep -q 'not canonical' "$tmp/walk"
gpa=$(tr -d '\r' < "$tmp/console" | sed -n 's/^other 0x40001000 gpa //p')
check "walk in another address space" walk 0x40001000 --cr3 "$other"
check "it leads elsewhere" [ "$(json gpa)" = "$gpa" ]
check "both roots are known" [ "$("$umbra" walk seen --roots --json | grep -c '"cr3": "\('"$other"'\|'"$root"'\)"')" -ge 2 ]
for bad in "seen" "seen fly" "seen 0x1 0x2" "seen --roots 0x1" "nobody rip" "seen rip --cr3 fly"; do
    # shellcheck disable=SC2086
    run 20 walk $bad
    check "walk $bad: status 2" [ "$status" = 2 ]
    check "and one line" [ "$(wc -l < "$tmp/err")" = 1 ]
done

trace() { # SECONDS OPTIONS...
    timeout $(($1 * patience)) "$umbra" trace seen "${@:2}" > "$tmp/trace" 2> "$tmp/trace.err"
}
valid_json_lines() { # FILE
    [ -z "$python" ] || "$python" -c 'import json, sys
for line in open(sys.argv[1]):
    json.loads(line)' "$1"
}
check "trace --count ends" trace 20 --count 200
check "after that many" grep -q '^umbra: 200 events' "$tmp/trace.err"
for word in 'true fault: not present' 'hidden fault:' 'CR3 load' 'INVLPG' 'walk_guest [0-9]* (stops at level 1)' 'set_entry'; do
    check "it tells of: $word" grep -q "$word" "$tmp/trace"
done
check "trace --json" trace 20 --count 100 --json
check "100 lines" [ "$(wc -l < "$tmp/trace")" = 100 ]
check "each is JSON" valid_json_lines "$tmp/trace"
check "trace --filter" trace 20 --count 20 --filter true,gva=0x40009000
check "only those" [ "$(grep -c 'true fault: not present  *write kernel  *0x40009000 ' "$tmp/trace")" = 20 ]
check "trace --seconds ends by itself" trace 20 --seconds 1 --filter flush
check "trace --perfetto" trace 20 --count 100 --perfetto "$tmp/chrome.json"
check "the file is complete" [ "$(tail -n 1 "$tmp/chrome.json")" = "]}" ]
[ -z "$python" ] || check "and nests strictly" "$python" - "$tmp/chrome.json" << 'END'
import json, sys
stack, slices = [], 0
events = json.load(open(sys.argv[1]))["traceEvents"]
for e in events:
    if e["ph"] != "X":
        continue
    begin, end = round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000)
    while stack and begin >= stack[-1]:
        stack.pop()
    assert not stack or end <= stack[-1], e
    stack.append(end)
    slices += 1
assert slices > 100
END
run 20 trace seen --filter fly
check "an unknown event: status 2" [ "$status" = 2 ]

# Tracing ends with its client, however that ends, and is free for the next one.
"$umbra" trace seen --json > "$tmp/long" 2> "$tmp/long.err" &
follower=$!
check "a trace flows" wait_for 20 test -s "$tmp/long"
run 20 trace seen --count 1
check "a second one is refused" [ "$status" = 2 ]
check "and told why" grep -q 'another trace follows' "$tmp/err"
kill -INT $follower
wait $follower
check "an interrupted trace ends with 0" [ $? = 0 ]
check "and says how many" grep -q 'events' "$tmp/long.err"
check "each line is whole" valid_json_lines "$tmp/long"
check "the next one may come" trace 20 --count 1
"$umbra" trace seen > /dev/null 2>&1 &
follower=$!
sleep 0.5
kill -KILL $follower
wait $follower 2> /dev/null
check "a killed one is forgotten" wait_for 10 trace 20 --count 1
# Nobody reads: the guest goes on, what is lost is counted.
mkfifo "$tmp/deaf"
exec 8<> "$tmp/deaf"
"$umbra" trace seen --json > "$tmp/deaf" 2> /dev/null &
follower=$!
sleep 3
instructions() { "$umbra" stat seen --json > "$tmp/stat" && field "$tmp/stat" instructions; }
before=$(instructions)
goes_on() { [ "$(instructions)" -gt "$before" ]; }
check "a deaf reader does not stop the guest" wait_for 20 goes_on
kill -TERM $follower
wait $follower
exec 8>&-

run 20 stat seen --audit
check "stat --audit" [ "$status" = 0 ]
check "it says that all agree" grep -q 'memory and shadow tables agree' "$tmp/out"
run 20 stat seen
check "stat groups the faults" grep -q 'True faults' "$tmp/out"
check "stat tells the longest chain" grep -q 'longest chain of the reverse map' "$tmp/out"

printf q >&7
wait $pid
check "the guest has passed" [ $? = 1 ]
check "and said so" grep -q '^PASS walked' "$tmp/console"
finish
