#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Three owners hold most of a guest's memory, one of them in a file on a virtio disk, and verify it again and again,
# while balloon and reclaim are driven at random: by these pages are ballooned, dropped, shared, compressed, swapped
# and come back. The guest has a swap partition of its own, too. No page may differ; then the audit.
# Usage: memory_integrity.sh [--long] [--seed N] [RUN OPTION...]     --long: 10 minutes instead of some seconds
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
seconds=15 seed=$((1 + $$ % 32767))
while [ $# -gt 0 ]; do
    case $1 in
        --long) seconds=600; shift ;;
        --seed) seed=$2; shift 2 ;;
        *) break ;;
    esac
done
need_modules
echo "     seed $seed"
RANDOM=$seed
memory=256

make_guest << 'END'
#!/bin/sh
mke2fs -b 4096 /dev/vda > /dev/null && mkdir /mnt && mount -t ext4 /dev/vda /mnt || exit
mkswap /dev/vdb > /dev/null && swapon /dev/vdb || exit
echo -1000 > /proc/self/oom_score_adj
/owner mib 96 kinds zcre order random seconds 0 seed 1 & a=$!
/owner mib 48 kinds ccr order hot seconds 0 seed 2 & b=$!
/owner mib 32 kinds cre order random seconds 0 seed 3 file /mnt/file & c=$!
read line
kill -TERM $a $b $c
wait $a && wait $b && wait $c
END
truncate -s 64M "$tmp/disk"
truncate -s 128M "$tmp/swap"
mkdir "$tmp/vm"
start_vm i --memory ${memory}M --swap-dir "$tmp/vm" --disk "$tmp/disk" --disk "$tmp/swap" --compress 32M --audit "$@"
wait_for 120 said_or_ended 3 "owner: filled"
check "the owners own their memory" said_often 3 "owner: filled"

# drive COMMAND...: it may fall short of what was asked, but must not fail otherwise
drives=0 broken=0
drive() {
    drives=$((drives + 1))
    timeout 240 "$umbra" "$@" > "$tmp/drive" 2>&1
    local status=$?
    [ $status -le 1 ] || { broken=$((broken + 1)); echo "     umbra $*: status $status: $(tail -n 1 "$tmp/drive")"; }
}
deflates() { "$umbra" stat i --json > "$tmp/stat" && [ "$(field "$tmp/stat" deflated)" -gt 0 ]; }
ways="evicted_zero evicted_shared evicted_compressed evicted_swapped came_from_shared came_from_compressed came_from_swap inflated"
each_way() {
    local key
    "$umbra" stat i --json > "$tmp/stat" || return 1
    for key in $ways; do [ "$(field "$tmp/stat" "$key")" -gt 0 ] || return 1; done
}
# The time is over and pages went all ways, or will not.
is_done() { [ $SECONDS -ge $end ] && { each_way || [ $SECONDS -ge $((end + 60 * patience)) ]; }; }
if [ "$failed" = 0 ]; then
    # Each means once, whatever chance says.
    drive swap i --resident 48M --within 20
    drive balloon i 200M --within 5
    end=$((SECONDS + seconds))
    while ! is_done && kill -0 "$vm" 2> /dev/null; do
        case $((RANDOM % 5)) in
            0 | 1) drive balloon i $((96 + RANDOM % 161))M --within $((1 + RANDOM % 3)) ;;
            2 | 3) drive swap i --resident $((40 + RANDOM % 160))M --within $((1 + RANDOM % 3)) ;;
            4) sleep 0.$((RANDOM % 10)) ;;
        esac
    done
    drive balloon i ${memory}M --within 30
    # Its driver may still be busy with what was asked before.
    wait_for 120 deflates
fi
echo > "$tmp/keys"
wait_for 120 said_or_ended 1 "/umbra-run ended"
wait "$vm"
status=$?
check "balloon and swap were driven and answered" [ "$drives" -gt 2 -a "$broken" = 0 ]
check "status 0" [ "$status" = 0 ]
check "three owners report" said_often 3 '"mismatches"'
check "no page differs" said_often 3 '"mismatches": 0}'
check "the guest ended well" said "/umbra-run ended with status 0"
check "audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
for key in $ways deflated; do
    check "pages were $key" [ "$(field "$tmp/stats" $key)" -gt 0 ]
done
check "no swap file is left" [ -z "$(ls -A "$tmp/vm")" ]
grep '^owner: {' "$tmp/out" | sed 's/^/     /'
echo "     $drives times driven; $(field "$tmp/stats" evicted_compressed) pages compressed," \
    "$(field "$tmp/stats" evicted_swapped) swapped, $(field "$tmp/stats" evicted_shared) shared," \
    "$(field "$tmp/stats" evicted_image) dropped, $(field "$tmp/stats" inflated) ballooned"
finish
