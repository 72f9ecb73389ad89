#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two guests in a pool smaller than their sizes: together they never hold more than the pool, whatever happens to
# its manager, and nothing of theirs is lost.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_modules
need_no_sanitizer
use_pool
pool_mib=320

make_guest << 'END'
#!/bin/sh
/owner mib 160 kinds ccr order random seconds 0 & owner=$!
read line
kill -TERM $owner
wait $owner
END

filled() { said_by "$1" "owner: filled"; }

has_room() { [ "$(watched pool state)" = high ]; }

peak=0
sample() { # COUNT: what both hold together, in KiB; by one process, so that no page moves between two looks
    local now
    for _ in $(seq "$1"); do
        now=$(cat "/proc/$a/status" "/proc/$b/status" 2> /dev/null | awk '/^VmRSS:/ { n += $2 } END { print n + 0 }')
        [ $now -le $peak ] || peak=$now
        sleep 0.05
    done
}

size="--memory 256M --no-reboot"
run 20 run --name c --pool web --memory 256M --initrd "$tmp/initrd"
check "a pool without a manager: status 2" [ "$status" = 2 ]
check "and the way to start it" grep -q "umbra host --name web" "$tmp/err"

start_manager --memory ${pool_mib}M
run 20 host --name web --memory 1G
check "a second manager of the name: status 2" [ "$status" = 2 ]
check "and says so" grep -q "is running already" "$tmp/err"

start_member a $size
a=$vm
start_member b $size
b=$vm
check "both join" wait_for 30 joined a
check "the second, too" wait_for 30 joined b
run 20 run --name c --pool web --memory 256M --minimum 250M --initrd "$tmp/initrd"
check "a minimum that does not fit: status 2" [ "$status" = 2 ]
check "and why" grep -q "cannot keep a minimum of 250 MiB" "$tmp/err"
run 20 run --name a --pool web --memory 256M --initrd "$tmp/initrd" --swap-dir "$tmp"
check "a name that is in use is refused" [ "$status" != 0 ]

check "a guest fills its memory" wait_for 200 filled a
check "and the other" wait_for 200 filled b
sample 60
watched pool state > /dev/null
check "a viewer is told of each VM" grep -q '{"member":{"name":"b",' "$tmp/watch"
check "and of the pool, decisions in words" grep -q '"why":"[a-z].*{"pool":{"name":"web"' <(tr '\n' ' ' < "$tmp/watch")
run 20 host --name other --tax 100 --memory 1G
check "a tax of 100 is refused" [ "$status" = 2 ]
kill_manager
sample 20
check "a VM tells that its manager is gone" wait_for 20 grep -q "its last lease of" "$tmp/err-a"
start_manager --memory ${pool_mib}M
check "both come back to the next manager" wait_for 30 joined a 2
check "the second, too" wait_for 30 joined b 2
sample 60
press_key a
wait "$a"
check "the first ends well" [ $? = 0 ]
check "the manager sees it leave" wait_for 10 left a
sample 20
check "one that is left has room in the pool" wait_for 60 has_room
press_key b
wait "$b"
check "the second ends well" [ $? = 0 ]
kill "$manager"
wait "$manager"
check "the manager ends well" [ $? = 0 ]
check "its socket is gone" [ ! -e "$XDG_RUNTIME_DIR/umbra/web.pool" ]
for name in a b; do
    check "no page of $name differs" grep -q '"mismatches": 0}' "$tmp/out-$name"
    check "audit of $name" grep -q "audit: memory and shadow tables agree" "$tmp/err-$name"
done
check "together they never held more than the pool and 5 %" [ $peak -le $((pool_mib * 1024 * 105 / 100)) ]
echo "     pool $pool_mib MiB; both together at the peak $((peak / 1024)) MiB of guests with 512 MiB"
finish
