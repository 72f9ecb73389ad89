#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Three guests on half of their memory: in each the memory owner fills and verifies, one of them is restarted again and
# again, and the pool moves memory between them all the time. No page may differ; then the audits.
# Usage: pool_integrity.sh [--long]     --long: 10 minutes instead of two restarts
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_modules
use_pool
need_no_sanitizer
seconds=0 restarts=2
[ "${1:-}" != --long ] || seconds=600

# The owners of a and b rest now and then, not together, so that the memory they do not use moves.
make_guest << 'END'
#!/bin/sh
echo -1000 > /proc/self/oom_score_adj
case " $(cat /proc/cmdline) " in
    *" who=a "*) seed=1 order=random ;;
    *" who=b "*) seed=2 order=hot ;;
    *) seed=3 order=random ;;
esac
/owner mib 64 kinds zcre order $order seconds 0 seed $seed & first=$!
while :; do
    /owner mib 40 kinds cr order sequential seconds 4 seed $seed || echo "owner: FAILED"
    sleep $seed
done & second=$!
read line
kill $second
kill -TERM $first
wait $first
END
size="--memory 192M --startup 128M"
start_manager --memory 288M
for name in a b c; do
    start_member "$name" $size
    eval "$name=\$vm"
done
for name in a b c; do
    check "$name fills its memory" wait_for 240 said_by "$name" "owner: filled" 2
done
begun=$SECONDS done=0
while [ "$failed" = 0 ] && { [ $done -lt $restarts ] || [ $((SECONDS - begun)) -lt $seconds ]; }; do
    timeout 400 "$umbra" restart c > "$tmp/restart" 2>&1 || { fail "restart of c" "$(cat "$tmp/restart")"; break; }
    done=$((done + 1))
    wait_for 240 has_booted c $((done + 1)) && wait_for 240 said_by c "owner: filled" 2 || { fail "c fills its memory again"; break; }
done
states=$(grep -o "umbra: pool web: [a-z]*," "$tmp/host" | sort -u | wc -l)
for name in a b c; do
    press_key "$name"
done
for name in a b c; do
    eval "wait \$$name"
    check "$name ends well" [ $? = 0 ]
    check "$name: the guest ended well" said_by "$name" "/umbra-run ended with status 0"
    check "$name: no page differs" [ "$(cat "$tmp/out-$name" | grep -c 'MISMATCH\|owner: FAILED')" = 0 ]
    check "$name: it was looked at" said_by "$name" '"mismatches": 0}'
    check "$name: audit" grep -q "audit: memory and shadow tables agree" "$tmp/err-$name"
    check "$name: no file is left" [ -z "$(ls -A "$tmp/vm-$name")" ]
done
is_empty() { [ "$(watched pool members)" = 0 ]; }
check "all have left the pool" wait_for 20 is_empty
kill "$manager"
wait "$manager"
check "the manager ends well" [ $? = 0 ]
echo "     c was restarted $done times; the pool was in $states states"
finish
