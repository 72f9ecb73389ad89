#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Debian's memtester finds nothing in a guest that is held to less memory than it tests.
# Usage: memory_tester.sh [--long] [RUN OPTION...]     --long: all of its tests instead of the first eight
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
mask=255 size=96 limit=1200
if [ "${1-}" = --long ]; then
    mask='' limit=36000
    shift
fi
need_modules
"$top/tools/get-guest" memtester > "$tmp/get" 2>&1 ||
    skip_all "memtester cannot be fetched: $(tail -n 1 "$tmp/get")"
cpio -i --quiet -D "$tmp" < "$guest/memtester.img"
make_guest "$tmp/bin:/bin" "$tmp/lib:/lib" "$tmp/lib64:/lib64" << END
#!/bin/sh
export MEMTESTER_TEST_MASK=$mask
[ "$mask" ] || unset MEMTESTER_TEST_MASK
memtester ${size}M 1 > /tmp/log 2>&1
status=\$?
tr '\\b' '\\n' < /tmp/log | grep -E '^ok|FAIL|^Done|^  [A-Z]' | sed 's/^/memtester: /'
exit \$status
END
mkdir "$tmp/vm"
run $limit run --name t --no-reboot --audit --memory 192M --limit 96M --swap-dir "$tmp/vm" --stats "$tmp/stats" \
    --initrd "$tmp/initrd" --append "console=ttyS0 quiet panic=-1" "$@"
check "status 0" [ "$status" = 0 ]
check "memtester finds nothing" said "/umbra-run ended with status 0"
check "memtester did its tests" said "memtester: Done"
check "no test failed" sh -c "! grep -q FAIL '$tmp/out'"
check "pages were swapped" [ "$(field "$tmp/stats" evicted_swapped)" -gt 0 ]
check "pages came back" [ "$(field "$tmp/stats" came_from_swap)" -gt 0 ]
check "audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
finish
