#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Standard streams that are closed, full or empty, and the --stats file.
. "$(dirname "$0")/lib.sh"
need_guest
demo=(run --no-reboot --memory 128M --append "console=ttyS0 panic=-1 quiet umbra.off")

timeout 400 "$umbra" "${demo[@]}" <&- > "$tmp/out" 2> "$tmp/err"
check "stdin closed: status 0" [ $? = 0 ]
check "stdin closed: the guest ran" grep -q "init reached" "$tmp/out"
timeout 400 "$umbra" "${demo[@]}" < /dev/null >&- 2> "$tmp/err"
check "stdout closed: status 4" [ $? = 4 ]
check "stdout closed: a message" grep -q "standard output" "$tmp/err"
timeout 400 "$umbra" "${demo[@]}" < /dev/null > "$tmp/out" 2>&-
check "stderr closed: status 0" [ $? = 0 ]
timeout 400 "$umbra" "${demo[@]}" <&- >&- 2>&-
check "all closed: status 4" [ $? = 4 ]
timeout 400 "$umbra" "${demo[@]}" < /dev/null > /dev/full 2> "$tmp/err"
check "a full disk under stdout: status 4" [ $? = 4 ]
check "a full disk under stdout: a message" grep -q "No space left" "$tmp/err"

# A reader slower than the guest loses nothing.
timeout 400 "$umbra" run --no-reboot --memory 128M --append "console=ttyS0 panic=-1 umbra.off" < /dev/null 2> "$tmp/err" |
    (sleep 25; cat) > "$tmp/out"
check "a slow reader: status 0" [ "${PIPESTATUS[0]}" = 0 ]
check "a slow reader: all of it" grep -q "reboot: Power down" "$tmp/out"

run 120 "${demo[@]}" --stats /dev/full
check "a full disk under --stats: status 4" [ "$status" = 4 ]
check "a full disk under --stats: a message" grep -q "No space left" "$tmp/err"
run 120 "${demo[@]}" --stats "$tmp/s.json"
check "--stats: status 0" [ "$status" = 0 ]
for key in instructions mips wall_seconds exits_port_out true_not_present hidden_missing shadow_pages \
    tlb_misses_data tlb_hits_data resident_bytes guest_bytes; do
    check "--stats has $key" [ -n "$(field "$tmp/s.json" $key)" ]
done
pages=0
for key in absent zero resident pinned; do
    pages=$((pages + $(field "$tmp/s.json" $key)))
done
check "the ledger adds up to 128M" [ "$pages" = 32768 ]
check "stat --file explains it" sh -c "'$umbra' stat --file '$tmp/s.json' | grep -q 'Where the memory is'"
check "no temporary file is left" [ "$(find "$tmp" -name '*.tmp*' | wc -l)" = 0 ]
finish
