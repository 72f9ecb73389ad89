#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A boot with the least cache for code, which is dropped and filled again all the time; and --profile.
. "$(dirname "$0")/lib.sh"
need_guest

boot 300 --engine translate --code-cache 1M --profile --memory 128M --audit --stats "$tmp/stats" \
    --append "console=ttyS0 panic=-1 umbra.demo"
check "status 0" [ "$status" = 0 ]
check "/init reached" grep -q "umbra-guest: init reached" "$tmp/out"
check "demonstration finished" grep -q "demonstration finished" "$tmp/out"
check "the cache was dropped many times" [ "$(field "$tmp/stats" cache_drops)" -gt 20 ]
check "code was translated" [ "$(field "$tmp/stats" native_blocks)" -gt 100 ]
check "it ran" [ "$(field "$tmp/stats" native_runs)" -gt 10000 ]
check "guesses held" [ "$(field "$tmp/stats" native_guess_hits)" -gt 1000 ]
check "samples fell into native code" [ "$(field "$tmp/stats" native)" -gt 0 ]
check "samples fell into the decoder" [ "$(field "$tmp/stats" decoder)" -gt 0 ]
run 10 stat --file "$tmp/stats"
check "time by engine in words" grep -q "%  native code" "$tmp/out"
check "guesses in words" grep -q "%  of indirect branches with a guess" "$tmp/out"
check "chains in words" grep -q "met a joined block" "$tmp/out"

for size in 1023K 65M 0; do
    run 10 run --code-cache "$size"
    check "$size is refused" [ "$status" = 2 ]
    check "$size: the reason" grep -q "is not from 1M to 64M" "$tmp/err"
done
finish
