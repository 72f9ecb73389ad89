#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# --clock instructions: two runs of one guest give the same console output and the same instruction count.
. "$(dirname "$0")/lib.sh"
need_guest
for i in 1 2; do
    boot 300 --memory 128M --clock instructions --append "console=ttyS0 panic=-1 umbra.demo" --stats "$tmp/stats$i"
    check "run $i: status 0" [ "$status" = 0 ]
    mv "$tmp/out" "$tmp/out$i"
done
check "the same console output" cmp "$tmp/out1" "$tmp/out2"
check "there is output" grep -q "init reached" "$tmp/out1"
check "the same instruction count" \
    [ "$(field "$tmp/stats1" instructions)" = "$(field "$tmp/stats2" instructions)" ]

# Memory that is taken from the guest and comes back is nothing that it could see. Neither is what is kept of its code
# and of its tables: a small limit takes code, a small cache has no room for it, and a traced table tells of its writes.
taken() { # FILE: pages that left, by any way
    local sum=0 kind
    for kind in zero shared compressed swapped; do sum=$((sum + $(field "$1" evicted_$kind))); done
    echo $sum
}
for way in "--limit 76M --inject swap-write=ENOSPC@3-6" "--limit 90M" "--code-cache 1M --shadow trace"; do
    # shellcheck disable=SC2086 # options
    boot 300 --memory 128M --clock instructions --append "console=ttyS0 panic=-1 umbra.demo" --stats "$tmp/stats3" $way
    check "$way: status 0" [ "$status" = 0 ]
    check "$way: the same console output" cmp "$tmp/out1" "$tmp/out"
    check "$way: the same instruction count" \
        [ "$(field "$tmp/stats1" instructions)" = "$(field "$tmp/stats3" instructions)" ]
    case $way in
    --limit*) check "$way: pages were taken" [ "$(taken "$tmp/stats3")" -gt 0 ] ;;
    *) check "$way: decoded code was dropped" [ "$(field "$tmp/stats3" cache_drops)" -gt 0 ] ;;
    esac
done

# Console input from a file is part of "the same input".
printf 'echo sum $((40 + 2))\nexit\n' > "$tmp/input"
for i in 1 2; do
    timeout 800 "$umbra" run --no-reboot --memory 128M --clock instructions --append "console=ttyS0 panic=-1" \
        --stats "$tmp/stats$i" < "$tmp/input" > "$tmp/out$i" 2> "$tmp/err"
    check "run $i with input: status 0" [ $? = 0 ]
done
check "the shell has read the input" grep -q "sum 42" "$tmp/out1"
check "the same console output with input" cmp "$tmp/out1" "$tmp/out2"
check "the same instruction count with input" \
    [ "$(field "$tmp/stats1" instructions)" = "$(field "$tmp/stats2" instructions)" ]
finish
