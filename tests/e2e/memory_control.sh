#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a user asks of guest memory and gets told about it: limit, swap file, stall, umbra swap and explain.
# The guest fills its memory with marks and checks them, for ever (tests/guest/memory_marks.c).
. "$(dirname "$0")/lib.sh"
need_no_sanitizer
kernel=${GUESTS:?set GUESTS to the folder of the guest images}/memory_marks.elf
client=${QMP_SESSION:?set QMP_SESSION to the helper program}
caps='{"execute":"qmp_capabilities"}'
status_query='{"execute":"query-status"}'
state=$XDG_STATE_HOME/umbra

start() { # NAME OPTIONS...
    name=$1
    shift
    "$umbra" run --name "$name" --memory 128M --kernel "$kernel" "$@" < /dev/null > "$tmp/$name.out" 2> "$tmp/$name.err" &
    pid=$!
    comes_up "$name" $pid
}

rounds() { [ "$(grep -c round "$tmp/$name.out")" -ge "$1" ]; }
says() { grep -q -- "$1" "$tmp/$name.err"; }
stalls() { "$umbra" ps | grep -q "^$name .* stalled "; }
alive() { kill -0 "$pid" 2> /dev/null; }
resident_kib() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; }

# highest resident size in KiB, seen from outside, until the guest has done so many rounds
watch_resident() { # ROUNDS
    local now
    most=0
    until rounds "$1"; do
        now=$(resident_kib)
        [ -n "$now" ] || return 1
        [ "$now" -le "$most" ] || most=$now
        [ $SECONDS -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

sum_of_pages() { # FILE: of the page states in the JSON of umbra explain
    sed -n '/"pages": {/,/}/s/.*": \([0-9]*\),\{0,1\}$/\1/p' "$1" | { sum=0; while read -r n; do sum=$((sum + n)); done; echo "$sum"; }
}

# ---- a limit, held ----
start held --limit 80M
swap_file=$state/held/held.vswp
check "the swap file is there" test -f "$swap_file"
check "closed to others" [ "$(stat -c %a "$swap_file")" = 600 ]
check "in a folder closed to others" [ "$(stat -c %a "$state/held")" = 700 ]
check "as large as the guest" [ "$(stat -c %s "$swap_file")" = $((128 << 20)) ]
check "sparse" [ "$(stat -c %b "$swap_file")" -lt 100000 ]
deadline=$((SECONDS + 150 * patience))
check "the guest does its work and checks it, twice" watch_resident 2
check "seen from outside it held at most 84M: $most KiB" [ "$most" -le $((84 << 10)) ]
check "something went to the swap file" [ "$(stat -c %b "$swap_file")" -gt 20000 ]
"$umbra" explain held > "$tmp/text"
"$umbra" explain held --json > "$tmp/json"
check "the states add up to the guest" [ "$(sum_of_pages "$tmp/json")" = $((128 << 8)) ]
check "explain says so" grep -q ' 32768 pages  in all' "$tmp/text"
check "explain tells the limit" grep -q 'Its limit is 80.0 MiB' "$tmp/text"
check "explain tells the swap file" grep -q "Swap file $swap_file" "$tmp/text"
check "explain says what is being done" grep -q 'What is being done about it: ' "$tmp/text"
check "stat counts what moved" sh -c "'$umbra' stat held | grep -q 'pages written to the swap file'"
check "stat --json has the flows" sh -c "'$umbra' stat held --json | grep -q '\"evicted_swapped\": [1-9]'"
run 80 swap held --resident 40M --within 300s
check "umbra swap reaches a size under load" [ "$status" = 0 ]
check "and reports it" grep -q 'reached' "$tmp/out"
check "and the rate" grep -q 'MiB/s' "$tmp/out"
check "seen from outside, too" wait_for 20 sh -c "[ \$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status) -le $((64 << 10)) ]"
check "explain remembers the wish" sh -c "'$umbra' explain held | grep -q 'You asked for at most 40.0 MiB'"
check "--json is JSON for programs" sh -c "'$umbra' swap held --resident 40M --within 300s --json 2> /dev/null | grep -q '\"reached\": true'"
run 20 swap held --resident all
check "the wish can be taken back" [ "$status" = 0 ]
check "and is gone" sh -c "! '$umbra' explain held | grep -q 'You asked for'"
run 20 swap held --resident 1G
check "more than the guest has is refused" [ "$status" = 2 ]
check "in words" grep -q 'the guest has 128M' "$tmp/err"
limit_to() { # BYTES
    timeout 100 "$client" "$XDG_RUNTIME_DIR/umbra/held.sock" "$caps" \
        "{\"execute\":\"x-umbra-limit\",\"arguments\":{\"bytes\":$1}}" > "$tmp/reply"
}
limit_to $((100 << 20))
check "the limit can be moved" sh -c "'$umbra' explain held | grep -q 'Its limit is 100.0 MiB'"
limit_to 1000
check "not to nearly nothing" grep -q 'need 66M' "$tmp/reply"
limit_to $((80 << 20))
run 20 swap held --resident 1M
check "nearly nothing is refused" [ "$status" = 2 ]
run 20 run --name held --memory 128M --kernel "$kernel"
check "a second VM of that name is refused" [ "$status" = 2 ]
check "in words" grep -q "running already" "$tmp/err"
check "memory and tables agree" "$umbra" stat held --audit
check "stop" "$umbra" stop held
wait "$pid"
check "ends it with 0" [ $? = 0 ]
check "the swap file is gone, and its folder" [ ! -e "$state/held" ]

# ---- a full disk, for ever ----
# From the first write on: none that is still under way may make room once more.
start full --limit 80M --compress off --inject swap-write=ENOSPC@1-
check "a guest that cannot be served waits" wait_for 60 stalls
check "and says why, in one line" [ "$(grep -c 'waits: no space left' "$tmp/full.err")" = 1 ]
check "explain says it" sh -c "'$umbra' explain full | grep -q 'The guest waits: no space left'"
timeout 100 "$client" "$XDG_RUNTIME_DIR/umbra/full.sock" "$caps" "$status_query" > "$tmp/reply"
check "query-status says io-error" grep -q '"status":"io-error"' "$tmp/reply"
check "and that it does not run" grep -q '"running":false' "$tmp/reply"
before=$("$umbra" stat full --json | sed -n 's/^ *"instructions": \([0-9]*\),$/\1/p' | head -n 1)
sleep 0.5
after=$("$umbra" stat full --json | sed -n 's/^ *"instructions": \([0-9]*\),$/\1/p' | head -n 1)
check "it executes nothing meanwhile" [ "$before" = "$after" ]
run 20 swap full --resident 20M --within 1s
check "umbra swap says when it cannot" [ "$status" = 1 ]
check "and why" grep -q 'the guest waits: no space left' "$tmp/out"
"$umbra" swap full --resident 30M --within 300s > "$tmp/out" 2> "$tmp/err" &
waits=$!
check "while it waits it tells how far it is" wait_for 20 grep -q '30.0 are asked' "$tmp/err"
kill -INT "$waits"
wait "$waits"
check "Ctrl-C ends the waiting with status 1" [ $? = 1 ]
check "which is said" grep -q ': interrupted' "$tmp/out"
check "and the wish stays" sh -c "'$umbra' explain full | grep -q 'You asked for at most 30.0 MiB'"
check "it can be stopped" timeout 100 "$umbra" stop full
wait "$pid"
check "with status 0" [ $? = 0 ]
check "and leaves nothing" [ ! -e "$state/full" ]
start signal --limit 80M --compress off --inject swap-write=EIO@1-
check "it waits for a bad disk, too" wait_for 60 stalls
kill -TERM "$pid"
wait "$pid" 2> /dev/null
check "SIGTERM ends it as that signal" [ $? = 143 ]
check "and leaves nothing" [ ! -e "$state/signal" ]

# ---- failures that pass ----
# Nothing is written to the swap file before there is a limit, so the client sees the first failure.
start passes --compress off --inject swap-write=ENOSPC@20-60,swap-read=EIO@5-30
timeout 300 "$client" "$XDG_RUNTIME_DIR/umbra/passes.sock" "$caps" \
    "{\"execute\":\"x-umbra-limit\",\"arguments\":{\"bytes\":$((80 << 20))}}" '~"event":"X_UMBRA_MEMORY_STALL"' \
    '~"event":"STOP"' '~"event":"RESUME"' > "$tmp/reply"
check "events tell the beginning and the end" [ $? = 0 ]
check "the guest goes on by itself" wait_for 60 says 'goes on$'
check "and what it holds is right" wait_for 120 rounds 1
# whichever of the two failures comes first after the client has
check "and why" grep -Eq '"reason": *"(no space left|cannot read the swap file)' "$tmp/reply"
check "it still runs" alive
check "memory and tables agree" "$umbra" stat passes --audit
check "stop" "$umbra" stop passes
wait "$pid"

# ---- where the swap file lies ----
start part --reservation 64M
check "what is reserved needs no swap file" [ "$(stat -c %s "$state/part/part.vswp")" = $((64 << 20)) ]
"$umbra" stop part
wait "$pid"
start all --reservation 128M
check "nor does all" [ ! -e "$state/all" ]
"$umbra" stop all
wait "$pid"
mkdir "$tmp/elsewhere"
start there --swap-dir "$tmp/elsewhere"
check "--swap-dir" test -f "$tmp/elsewhere/there.vswp"
run 20 run --name there --memory 128M --kernel "$kernel" --swap-dir "$tmp/elsewhere"
check "is not taken from a VM that runs" [ "$status" = 2 ]
check "whose file stays" test -f "$tmp/elsewhere/there.vswp"
"$umbra" stop there
wait "$pid"
check "the file is gone, the folder stays" [ -z "$(ls -A "$tmp/elsewhere")" ]
: > "$tmp/nofolder"
XDG_STATE_HOME=$tmp/nofolder run 20 run --memory 128M --kernel "$kernel"
check "a folder that cannot be made: status 4" [ "$status" = 4 ]
check "one line that tells the ways out" grep -q -- '--swap-dir.*--reservation' "$tmp/err"
chmod 755 "$state"
mkdir -m 755 "$state/open"
run 20 run --name open --memory 128M --kernel "$kernel"
check "a folder open to others is refused" grep -q 'chmod 700' "$tmp/err"
rmdir "$state/open"

# ---- killed ----
start gone --limit 80M
check "it works" wait_for 60 rounds 1
kill -9 "$pid"
wait "$pid" 2> /dev/null
check "a killed VM leaves its swap file" test -f "$state/gone/gone.vswp"
check "in which nothing of the guest can be read" sh -c "! grep -q 'UMBRA PLAINTEXT' '$state/gone/gone.vswp'"
"$umbra" ps > /dev/null
check "ps removes it" wait_for 10 sh -c "'$umbra' ps > /dev/null; [ ! -e '$state/gone' ]"
start again --limit 80M
kill -9 "$pid"
wait "$pid" 2> /dev/null
start again --limit 80M
check "a VM of that name replaces it" wait_for 60 rounds 1
"$umbra" stop again
wait "$pid"
check "and leaves nothing" [ ! -e "$state/again" ]
finish
