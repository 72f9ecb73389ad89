#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cloud kernel boots to /init, shows the demonstration, powers off by itself.
# Usage: boot.sh SIZE [COUNT [OPTION...]]
. "$(dirname "$0")/lib.sh"
need_guest
size=$1
count=${2:-1}
shift $(($# < 2 ? $# : 2))
for i in $(seq "$count"); do
    boot 300 --memory "$size" --append "console=ttyS0 panic=-1 umbra.demo" --stats "$tmp/stats" --audit "$@"
    check "$size boot $i: status 0" [ "$status" = 0 ]
    check "$size boot $i: /init reached" grep -q "umbra-guest: init reached" "$tmp/out"
    check "$size boot $i: demonstration finished" grep -q "demonstration finished" "$tmp/out"
    check "$size boot $i: powered off" [ "$(field "$tmp/stats" state)" = power-off ]
    check "$size boot $i: audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
    [ "$failed" = 0 ] || break
    echo "     $(field "$tmp/stats" wall_seconds) s, $(field "$tmp/stats" mips) MIPS," \
        "$(($(field "$tmp/stats" resident_bytes) >> 20)) MiB resident of $size"
done
check "no socket is left" [ -z "$(find "$XDG_RUNTIME_DIR" -name '*.sock')" ]
finish
