#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The idle-memory tax on real guests: of two with equal shares in a pool smaller than their sum, the busy one holds
# clearly more with a tax of 75 % than without one, waits for less of it, and gets more done.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_modules
need_no_sanitizer
patience=$patience TMPDIR=$tmp XDG_CACHE_HOME=$(dirname "$(dirname "$guest")") \
    "$top/bench/pool" --build "$(dirname "$umbra")" --seconds 3 > "$tmp/out" 2> "$tmp/err"
check "the measurement ends well" [ $? = 0 ]
cat "$tmp/out"
[ "$failed" = 0 ] || { cat "$tmp/err"; finish; }
held() { awk -v tax="$1" -v column="$2" '$1 == tax { print $column }' "$tmp/out"; }
check "without a tax both hold about the same" \
    [ $(($(held 0 3) * 10)) -le $(($(held 0 2) * 14)) -a $(($(held 0 2) * 10)) -le $(($(held 0 3) * 14)) ]
check "with it the busy one gains a tenth or more" [ $(($(held 75 3) * 10)) -ge $(($(held 0 3) * 11)) ]
check "and the idle one pays" [ "$(held 75 2)" -lt "$(held 0 2)" ]
# tax, idle, busy, accesses a second, of 100 that brought a page back, gain
holds() { awk "\$1 == $1 { found = 1; holds = $2 } END { exit !(found && holds) }" "$tmp/out"; }
check "without a tax much of what the busy one uses is not there" holds 0 '$5 > 10'
check "with it less than a quarter of that" holds 75 "\$5 * 4 < $(held 0 5)"
check "so it gets half as much again done, or more" holds 75 '$6 > 1.5'
finish
