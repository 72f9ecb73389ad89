#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# umbra top as text and as JSON: what it says agrees with umbra stat, and no VM that comes, goes, hangs or dies
# keeps it from saying so.
. "$(dirname "$0")/lib.sh"
kernel=${GUESTS:?set GUESTS to the folder of the guest images}/memory_marks.elf
client=${QMP_SESSION:?set QMP_SESSION to the helper program}
caps='{"execute":"qmp_capabilities"}'
states="absent zero ballooned shared compressed swapped image smart resident pinned"
sockets=$XDG_RUNTIME_DIR/umbra

start() { # NAME SIZE OPTIONS...: sets pid
    local name=$1 size=$2
    shift 2
    "$umbra" run --engine interp --name "$name" --memory "$size" --kernel "$kernel" "$@" < /dev/null > "$tmp/$name.out" 2> "$tmp/$name.err" &
    pid=$!
    comes_up "$name" $pid
}

top() { # SECONDS OPTIONS...
    timeout -k 5 $(($1 * patience)) "$umbra" top "${@:2}" < /dev/null > "$tmp/top" 2> "$tmp/top.err"
}

of_vm() { # NAME: its part of a JSON line
    grep -o "{\"name\":\"$1\",\"state\".*" "$tmp/top" | sed 's/},{"name":.*//'
}

value() { # NAME KEY: a figure of it
    of_vm "$1" | grep -o "\"$2\":[-0-9.a-z\"]*" | head -n 1 | sed 's/.*://; s/"//g'
}

says() { top 20 -d 0.2 && grep -q -- "$1" "$tmp/top"; }
never_says() { top 20 -d 0.2 && ! grep -q -- "$1" "$tmp/top"; }

# ---- nobody ----
check "without any VM" top 20
check "it says so" grep -q '^no VM runs$' "$tmp/top"
check "--json" top 20 --json
check "says so, too" grep -q '^{"vms":\[\],"pools":\[\]}$' "$tmp/top"
for bad in "-d 0" "-d 1ms" "-d fly" "-d" "-n x" "-n -1" "--fly" "-x" "web1" "--d 1"; do
    # shellcheck disable=SC2086
    run 20 top $bad
    check "top $bad: status 2" [ "$status" = 2 ]
    check "and one line" [ "$(wc -l < "$tmp/err")" = 1 ]
done
run 20 top --help
check "--help shows -d" grep -q '^  -d SECONDS ' "$tmp/out"

# ---- two VMs ----
start one 64M --reservation 4M
one=$pid
start two 32M
two=$pid
run 60 swap one --resident 24M --within 30s
check "what is taken from a VM" wait_for 30 says '^  out/s    .*[0-9] swapped'
check "and comes back to it" wait_for 30 says '^  in/s     .*[0-9] swapped'
check "how long that takes" wait_for 30 says '^  latency  half, 99 % within: .*swap [0-9.]* .s, [0-9.]* .s'
check "what was decided" wait_for 20 says '^  policy   [a-z]*: '
says_of_two() {
    top 20 -d 0.2 && [ "$(grep -c '^\(one\|two\): running, engine interp, [0-9.]* MIPS, pid [0-9]*$' "$tmp/top")" = 2 ]
}
check "both are there" wait_for 20 says_of_two
check "their sum" grep -q '^2 VMs of 96M hold [0-9.]*M; pages/s: [0-9.kM]* in, [0-9.kM]* out$' "$tmp/top"
check "-n 3 shows three periods" top 20 -d 100ms -n 3
check "three blocks" [ "$(grep -c '^2 VMs' "$tmp/top")" = 3 ]
check "--json -n 2" top 20 -d 100ms -n 2 --json
check "two lines" [ "$(wc -l < "$tmp/top")" = 2 ]
if python=$(command -v python3); then
    check "JSON whose rates add up" "$python" - "$tmp/top" << 'END'
import json, sys
for line in open(sys.argv[1]):
    for vm in json.loads(line)["vms"]:
        p = vm["period"]
        assert sum(vm["pages"].values()) * 4096 == vm["guest_bytes"], vm
        assert abs(sum(p["in"].values()) - p["in_pages_per_second"]) < 0.1, p
        assert abs(sum(p["out"].values()) - p["out_pages_per_second"]) < 0.1, p
END
fi

# Paused VMs stand still, so two commands must see the same.
for name in one two; do
    timeout 200 "$client" "$sockets/$name.sock" "$caps" '{"execute":"stop"}' > /dev/null
done
agrees() { # NAME
    local state
    top 20 -d 0.1 --json && "$umbra" stat "$1" --json > "$tmp/stat" || return 1
    for state in $states stalls guest_bytes pid engine state; do
        [ "$(value "$1" $state)" = "$(field "$tmp/stat" $state)" ] || { echo "$state"; return 1; }
    done
}
check "one is as umbra stat has it" wait_for 20 agrees one
check "two, too" wait_for 20 agrees two
check "it says that they are paused" [ "$(value two state)" = paused ]
check "nothing moves" [ "$(value two in_pages_per_second)" = 0.0 ]
for name in one two; do
    timeout 200 "$client" "$sockets/$name.sock" "$caps" '{"execute":"cont"}' > /dev/null
done

# ---- one hangs, one dies ----
"$umbra" top --json -n 0 -d 0.1 > "$tmp/stream" 2> /dev/null &
stream=$!
last() { tail -n 2 "$tmp/stream" | head -n 1 | grep -q -- "$1"; }
last_not() { ! last "$1"; }
check "a stream flows" wait_for 20 last '"name":"one"'
kill -STOP "$two"
check "a VM that hangs is not answering" wait_for 20 last '"name":"two","state":"not answering"'
check "the other is up to date" wait_for 20 last '"name":"one","state":"running"'
only_one() { says '^two: not answering' && grep -q '^one: running' "$tmp/top"; }
check "text says so, too, and waits for nobody" wait_for 20 only_one
kill -CONT "$two"
check "it answers again" wait_for 20 last '"name":"two","state":"running"'
kill -KILL "$two"
wait "$two" 2> /dev/null
check "a VM that is killed is gone" wait_for 20 last_not '"name":"two"'
check "its socket, too" wait_for 20 [ ! -e "$sockets/two.sock" ]
start three 32M
check "a new one is found" wait_for 20 last '"name":"three","state":"running"'
"$umbra" stop three
check "one that ends is gone" wait_for 20 last_not '"name":"three"'
lines() { wc -l < "$tmp/stream"; }
before=$(lines)
more() { [ "$(lines)" -gt "$before" ]; }
check "the stream goes on" wait_for 20 more
kill -TERM "$stream"
wait "$stream" 2> /dev/null
check "SIGTERM ends it" [ $? = 143 ]
timeout 100 "$umbra" top -n 0 -d 0.1 | head -n 1 > /dev/null
check "so does a reader that has enough" [ "${PIPESTATUS[0]}" -ne 124 ]
timeout 100 "$umbra" top > /dev/full 2> "$tmp/err"
check "a full disk: status 4" [ $? = 4 ]

# ---- a pool ----
"$umbra" host --name web --memory 256M 2> "$tmp/host" &
manager=$!
wait_for 20 grep -q "for all VMs" "$tmp/host"
start member 128M --pool web
check "the pool's line" wait_for 30 says '^pool web: [a-z]*; [0-9.]*M of 256M free, [0-9.KM]* missing; leases of 1 VM: [0-9.]*M$'
check "the lease of its VM" wait_for 20 says '^  pool     web leases it [0-9.]*M; [a-z]*; '
json_says() { top 20 --json && grep -q -- "$1" "$tmp/top"; }
check "JSON has the pool" wait_for 20 json_says '"pools":\[{"name":"web","answers":true,"state":"[a-z]*","bytes":268435456,'
check "and the VM's limit is its lease" [ "$(value member limit_bytes)" -gt 1000000 ]
kill -STOP "$manager"
check "a manager that hangs" wait_for 20 says '^pool web: its manager does not answer$'
kill -KILL "$manager"
wait "$manager" 2> /dev/null
check "one that is killed" wait_for 20 never_says '^pool web'
check "its VM is still there" wait_for 20 says '^member: running'
"$umbra" stop member
"$umbra" stop one
wait "$one"
finish
