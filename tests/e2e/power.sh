#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ways out of a guest: power-off, the four resets, panic, halt.
. "$(dirname "$0")/lib.sh"
need_guest

boot 300 --memory 128M --append "console=ttyS0 umbra.off" --stats "$tmp/stats"
check "power-off: status 0" [ "$status" = 0 ]
check "power-off: told apart" [ "$(field "$tmp/stats" state)" = power-off ]

# Linux: keyboard controller, ACPI reset register, port 0xcf9, triple fault.
for way in k a p t; do
    boot 300 --memory 128M --append "console=ttyS0 umbra.reset reboot=$way" --stats "$tmp/stats"
    check "reboot=$way with --no-reboot: status 0" [ "$status" = 0 ]
    check "reboot=$way: a reset" [ "$(field "$tmp/stats" state)" = reset ]
done

# Without --no-reboot the guest starts again.
"$umbra" run --name again --memory 128M --append "console=ttyS0 umbra.reset reboot=t" < /dev/null \
    > "$tmp/out" 2> "$tmp/err" &
twice() { [ "$(grep -c "init reached" "$tmp/out")" -ge 2 ]; }
check "without it the guest boots again" wait_for 240 twice
check "and can be stopped" "$umbra" stop again
wait

boot 300 --memory 128M --append "console=ttyS0 panic=-1 rdinit=/nothing" --stats "$tmp/stats"
check "a panic with panic=-1: a reset" [ "$(field "$tmp/stats" state)" = reset ]
finish
