#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Debian guest in a pool without free memory is restarted, by its user and by itself: smart paging bridges its boot,
# ends when its balloon's driver is there, and leaves no file.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_no_sanitizer
need_modules
member=${POOL_MEMBER:?set POOL_MEMBER to the program pool_member}
mkdir "$tmp/vm" "$tmp/bridge"
file=$tmp/bridge/a.smart

make_guest << 'END'
#!/bin/sh
/owner mib 48 kinds ccr order random seconds 0 & owner=$!
read line
kill -TERM $owner
wait $owner
[ "$line" != again ] || reboot -f
END

"$umbra" host --name p --memory 400M 2> "$tmp/host" &
manager=$!
wait_for 20 grep -q "for all VMs" "$tmp/host"
"$member" "$XDG_RUNTIME_DIR/umbra/p.pool" other 303 303 0 > "$tmp/other" &
other=$!
wait_for 10 grep -q lease "$tmp/other"
mkfifo "$tmp/keys"
"$umbra" run --name a --pool p --memory 192M --startup 216M --compress off --swap-dir "$tmp/vm" \
    --smart-paging-dir "$tmp/bridge" --audit --stats "$tmp/stats" --initrd "$tmp/initrd" \
    --append "console=ttyS0 quiet panic=-1" <> "$tmp/keys" > "$tmp/console" 2> "$tmp/messages" &
vm=$!

filled() { [ "$(grep -c "owner: filled" "$tmp/console")" -ge "$1" ]; }
stat_now() { "$umbra" stat a --json > "$tmp/stat.json"; }
value() { field "$tmp/stat.json" "$1"; }
bridged() { stat_now && [ "$(value evicted_smart)" -gt "$pages" ]; }
runs() { stat_now && [ "$(value phase)" = running ]; }
gone() { [ ! -e "$file" ] && stat_now && [ "$(value smart)" = 0 ]; }

one_restart() { # WHAT: it has been asked for
    local since=$SECONDS began=$(date +%s%N)
    check "$1: smart paging" wait_for 100 bridged
    check "$1: the guest boots" wait_for 200 runs
    local booted=$(($(date +%s%N) - began))
    check "$1: its file is gone" wait_for 60 gone
    local took=$(($(date +%s%N) - began)) new=$(($(value evicted_smart) - pages))
    pages=$(value evicted_smart)
    check "$1: long before the limit" [ $((SECONDS - since)) -lt 300 ]
    check "$1: the folder is empty" [ -z "$(ls -A "$tmp/bridge")" ]
    echo "     $1: $new pages bridged; booted after $((booted / 1000000)) ms, file gone after $((took / 1000000)) ms;" \
        "$(value smart_drained) drained, $(value came_from_smart) used, $(($(value inflated) / 256)) MiB to the balloon so far"
    check "$1: it fills its memory" wait_for 200 filled "$2"
    stat_now
    check "$1: a running guest does no smart paging" [ "$(value evicted_smart)" = "$pages" ]
}

pages=0
check "a guest fills its memory" wait_for 200 filled 1
stat_now
check "a cold start does no smart paging" [ "$(value evicted_smart)" = 0 ]
run 60 restart a
check "umbra restart" [ "$status" = 0 ]
one_restart "umbra restart" 2
echo again > "$tmp/keys"
one_restart "the guest's reboot" 3
echo > "$tmp/keys"
wait "$vm"
check "it ends well" [ $? = 0 ]
check "no page differs" [ "$(grep -c '"mismatches": 0}' "$tmp/console")" = 2 ]
check "memory and files agree" grep -q "audit: memory and shadow tables agree" "$tmp/messages"
check "a file for each restart" [ "$(field "$tmp/stats" smart_files)" = 2 ]
check "nothing is left" [ -z "$(ls -A "$tmp/bridge")$(ls -A "$tmp/vm")" ]
kill "$other" "$manager"
finish
