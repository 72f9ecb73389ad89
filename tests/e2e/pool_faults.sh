#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What goes wrong in a pool: its manager dies at each of its steps, a VM is killed under pressure again and again, one
# never boots, one has no driver of the balloon, all die with the host. Nobody is stuck, no page is lost, nothing
# stays taken, and what is said tells what to do.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_modules
need_no_sanitizer
use_pool

make_guest << 'END'
#!/bin/sh
/owner mib 80 kinds ccr order random seconds 0 & owner=$!
read line
kill -TERM $owner
wait $owner
END
size="--memory 192M --startup 96M --no-reboot"
pool="--memory 320M"
ended() { ! kill -0 "$1"; }
leased() { [ "$(watched "$1" lease)" -gt 0 ]; }
is_empty() { [ "$(watched pool members)" = 0 ]; }

# joined_now NAME: to the newest manager, as a new VM
joined_now() {
    awk -v line=": $1 has joined" '/for all VMs with --pool/ { found = 0 }
        substr($0, length($0) - length(line) + 1) == line { found = 1 } END { exit !found }' "$tmp/host"
}

start_manager $pool
start_member a $size
a=$vm
# Without modules nothing drives the balloon.
cat "$guest/base.img" "$tmp/overlay" > "$tmp/initrd-bare"
initrd=$tmp/initrd-bare start_member bare $size
bare=$vm
# It panics at once and waits for ever.
initrd=$guest/base.img start_member lame $size --append "console=ttyS0 rdinit=/nothing"
lame=$vm
check "a guest that panics joins" wait_for 60 joined lame
check "a guest fills its memory" wait_for 240 said_by a "owner: filled"
check "and one without a driver of the balloon" wait_for 240 said_by bare "owner: filled"
check "the one that panicked says so" wait_for 60 said_by lame "Kernel panic"
check "the driverless one has no balloon" [ "$("$umbra" stat bare --json | grep -c '"has_driver": true')" = 0 ]

# The manager dies at its N-th step: whoever was in the middle of something goes on with the next.
deaths=0
kill_manager
for step in 1 2 3 4 5 6 7 8 9 11 14 18 25 40; do
    "$umbra" host --name web $pool --inject die@$step 2>> "$tmp/host"
    [ $? = 137 ] && deaths=$((deaths + 1))
    managers=$((managers + 1))
done
check "the manager dies at 14 of its steps" [ $deaths = 14 ]
start_manager $pool
for name in a bare lame; do
    check "$name comes back to the next one" wait_for 60 joined_now $name
done
for name in a bare lame; do
    check "$name has a lease again" wait_for 60 leased "$name"
done

# Killed under pressure, and started anew, again and again.
for round in 1 2 3; do
    start_member c $size
    c=$vm
    check "a VM joins under pressure" wait_for 60 joined c $round
    sleep 0.$((RANDOM % 9))
    kill -KILL "$c"
    wait "$c" 2> /dev/null
    check "killed, it leaves the pool" wait_for 20 left c $round
done
three_left() { [ "$(watched pool members)" = 3 ]; }
check "three members are left" wait_for 20 three_left
rm -f "$tmp"/vm-c/*

"$umbra" stop lame
check "the one that never booted can be stopped" wait_for 30 ended "$lame"
for name in a bare; do
    press_key $name
done
for name in a bare; do
    eval "wait \$$name"
    check "$name ends well" [ $? = 0 ]
    check "$name: no page differs" said_by $name '"mismatches": 0}'
    check "$name: audit" grep -q "audit: memory and shadow tables agree" "$tmp/err-$name"
done
check "nobody is left in the pool" wait_for 20 is_empty
is_free() { [ "$(watched pool free)" = $((320 << 20)) ]; }
check "and all of it is free" wait_for 20 is_free

# The host dies with all that runs on it: what is started anew restarts; who had said goodbye does not.
start_member d $size
d=$vm
wait_for 60 joined d
kill -KILL "$manager" "$d"
wait "$manager" "$d" 2> /dev/null
start_manager $pool
start_member d $size
d=$vm
start_member a $size
check "who died with the manager restarts" wait_for 60 grep -q "d has joined; it was here before" "$tmp/host"
check "who had ended before does not" wait_for 60 joined_now a
kill $vm $d
wait $vm $d

# The next manager has too little for one that is there: it goes on, says so once, and is back with the one after it.
start_member e --memory 192M --minimum 128M --kernel "${GUESTS:?set GUESTS to the folder of the guest images}/memory_marks.elf"
e=$vm
check "a VM with a minimum joins" wait_for 60 grep -q "VM e, engine" "$tmp/err-e"
kill_manager
start_manager --memory 100M
check "a manager with too little does not take it back" \
    wait_for 60 grep -q "pool web does not take it back: the pool of 100 MiB cannot keep a minimum of 128 MiB" "$tmp/err-e"
kill $manager
wait $manager
start_manager $pool
check "one with enough does" wait_for 60 joined_now e
check "it says so" wait_for 60 grep -q "VM e: back in pool web" "$tmp/err-e"
check "each once" [ "$(grep -c "is gone;\|back in pool\|does not take it back" "$tmp/err-e")" = 3 ]
kill $e
wait $e
kill $manager
wait $manager
check "the manager's socket is gone" [ ! -e "$XDG_RUNTIME_DIR/umbra/web.pool" ]
echo "     the manager died $deaths times"
finish
