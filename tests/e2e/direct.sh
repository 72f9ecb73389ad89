#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# User code that runs directly (docs/direct.md): the same output as without, memory that is right while its pages go and
# come back, and no process left behind, whatever ends the VM.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
work=${DIRECT_WORK:?set DIRECT_WORK to the program direct_work}
odd=${DIRECT_ODD:?set DIRECT_ODD to the program direct_odd}
need_modules
why=$("${DIRECT_POSSIBLE:?set DIRECT_POSSIBLE to the program direct_possible}") || skip_all "no direct execution here: $why"

# The stubs of the process PID.
stubs() { pgrep -P "$1" -x umbra-stub; }
has_stub() { stubs "$vm" > "$tmp/stubs" || ! kill -0 "$vm" 2> /dev/null; }
all_gone() { local pid; for pid in $(cat "$tmp/stubs"); do [ ! -e "/proc/$pid" ] || return 1; done; }
runs_directly() { [ "$(stat_of "$1" direct_runs)" -gt "$2" ]; }
goes_on() { # NAME: it runs directly more than it has
    local runs
    runs=$(stat_of "$1" direct_runs)
    wait_for 60 runs_directly "$1" "$runs"
}

# ---- the same with and without ----
make_guest "$work:/work" "$odd:/odd" << 'END'
#!/bin/sh
/work mixed 3
/odd || exit 1
i=0 s=1
while [ $i -lt 100000 ]; do i=$((i + 1)) s=$(((s * 31 + i) % 1000003)); done
echo "shell: $s"
END
for direct in on off; do
    start_vm same --memory 256M --direct $direct
    wait "$vm"
    check "--direct $direct: status 0" [ $? = 0 ]
    check "--direct $direct: the guest ended well" said "/umbra-run ended with status 0"
    grep -o "work: .*\|shell: .*\|odd: .*" "$tmp/out" | tr -d '\r' > "$tmp/said.$direct"
    runs=$(field "$tmp/stats" direct_runs)
    echo "     --direct $direct: $runs stretches, $(field "$tmp/stats" direct_syscalls) ended by system calls," \
        "$(field "$tmp/stats" direct_faults) by faults"
    if [ $direct = on ]; then
        check "user code ran directly" [ "$runs" -gt 0 ]
    else
        check "nothing ran directly" [ "$runs" = 0 ]
    fi
done
check "two lines of results" [ "$(grep -c "work: \|shell: " "$tmp/said.on")" = 2 ]
check "38 lines of what is odd" [ "$(grep -c "odd: " "$tmp/said.on")" = 38 ]
check "clocks never go back" grep -q "odd: clocks went back 0 times" "$tmp/said.on"
check "the same results" cmp "$tmp/said.on" "$tmp/said.off"

# ---- memory that goes and comes back ----
make_guest "$work:/work" << 'END'
#!/bin/sh
exec /work memory 96
END
mkdir "$tmp/vm"
start_vm memory --memory 256M --swap-dir "$tmp/vm" --compress 32M --audit
passes() { grep -c "work: pass" "$tmp/out"; }
passed_more() { [ "$(passes)" -gt "$1" ] || ! kill -0 "$vm" 2> /dev/null; }
wait_for 120 said_or_ended 1 "work: pass"
check "user code runs directly" goes_on memory
has_stub
broken=0
drive() { timeout 240 "$umbra" "$@" > "$tmp/drive" 2>&1; [ $? -le 1 ] || { broken=$((broken + 1)); cat "$tmp/drive"; }; }
for resident in 64M 120M 48M 100M; do
    drive swap memory --resident $resident --within 20
    before=$(passes)
    wait_for 120 passed_more "$before"
done
drive balloon memory 200M --within 5
drive balloon memory 256M --within 30
timeout 100 "${QMP_SESSION:?}" "$XDG_RUNTIME_DIR/umbra/memory.sock" '{"execute":"qmp_capabilities"}' \
    '{"execute":"stop"}' '{"execute":"query-status"}' '{"execute":"cont"}' > "$tmp/reply"
check "it can be paused" grep -q '"status": *"paused"' "$tmp/reply"
check "swap and balloon answered" [ "$broken" = 0 ]
check "it runs directly again" goes_on memory
echo > "$tmp/keys"
wait "$vm"
check "status 0" [ $? = 0 ]
check "no page differs" said "work: done, 0 mismatches"
check "audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
check "pages were swapped" [ "$(field "$tmp/stats" evicted_swapped)" -gt 0 ]
check "there was a process for it" [ -s "$tmp/stubs" ]
check "it is gone" wait_for 10 all_gone

# ---- whatever ends the VM ----
end_by() { # WHAT COMMAND...
    local what=$1
    shift
    start_vm ends --memory 256M
    wait_for 120 said_or_ended 1 "work: pass"
    wait_for 60 has_stub
    check "before $what there is a process for user code" [ -s "$tmp/stubs" ]
    "$@" > "$tmp/ended" 2>&1
    wait "$vm" 2> "$tmp/ended"
    check "after $what it is gone" wait_for 10 all_gone
}
killed() { kill -9 "$vm"; }
end_by "umbra stop" "$umbra" stop ends
end_by "kill -9" killed
finish
