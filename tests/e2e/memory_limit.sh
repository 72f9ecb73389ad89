#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest uses all of its memory and is held to half of it. What it takes is measured from outside: by the memory
# cgroup where one may be made, and always as resident set plus page cache of its files.
# Usage: memory_limit.sh [RUN OPTION...]
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
. "$top/tools/cgroup.sh"
need_modules
limit_mib=128
limit=$((limit_mib << 20))
make_guest << 'END'
#!/bin/sh
mke2fs -b 4096 /dev/vda > /dev/null && mkdir /mnt && mount -t ext4 /dev/vda /mnt || exit
/owner mib 128 kinds ccr order random seconds 0 & a=$!
/owner mib 48 kinds cr file /mnt/file order read seconds 0 check word & b=$!
read line
kill -TERM $a $b
wait $a && wait $b
END
truncate -s 64M "$tmp/disk"
mkdir "$tmp/vm"
cgroup=''
cgroup_make umbra-limit || echo "     no memory cgroup may be made here: measured by resident set and page cache alone"
if [ -n "$cgroup" ]; then
    # Started inside, so that its file cache counts from the first page on.
    umbra_program=$umbra
    umbra=$tmp/inside
    printf '#!/bin/bash\n. %q\ncgroup_exec %q %q "$@"\n' "$top/tools/cgroup.sh" "$cgroup" "$umbra_program" > "$umbra"
    chmod 755 "$umbra"
fi
start_vm l --memory 256M --limit ${limit_mib}M --swap-dir "$tmp/vm" --disk "$tmp/disk" --audit "$@"
[ -z "$cgroup" ] || umbra=$umbra_program
wait_for 120 said_or_ended 2 "owner: filled"
check "the guest uses its memory" said_often 2 "owner: filled"

cached() { # bytes of the files in the page cache
    fincore --bytes --noheadings --output RES "$tmp/disk" "$tmp"/vm/* 2> /dev/null | awk '{ n += $1 } END { print n + 0 }'
}
resident() { awk '/^VmRSS:/ { print $2 * 1024 }' "/proc/$vm/status"; }
samples=100 sum=0 peak=0 group_sum=0 group_peak=0
for i in $(seq $samples); do
    now=$(($(resident) + $(cached)))
    sum=$((sum + now))
    [ $now -le $peak ] || peak=$now
    if [ -n "$cgroup" ]; then
        now=$(cgroup_bytes "$cgroup")
        group_sum=$((group_sum + now))
        [ "$now" -le $group_peak ] || group_peak=$now
    fi
    sleep 0.05
done
within() { [ "$1" -gt 0 ] && [ "$1" -le $((limit + limit / 20)) ]; }
check "resident set and page cache are within 5 % of the limit: average" within $((sum / samples))
check "resident set and page cache are within 5 % of the limit: peak" within $peak
echo "     limit $limit_mib MiB; resident set and page cache: average $((sum / samples >> 20)), peak $((peak >> 20)) MiB"
if [ -n "$cgroup" ]; then
    check "the memory cgroup is within 5 % of the limit: average" within $((group_sum / samples))
    check "the memory cgroup is within 5 % of the limit: peak" within $group_peak
    check "the memory cgroup is within 5 % of the limit: peak since its start" within "$(cgroup_peak "$cgroup")"
    echo "     the cgroup: average $((group_sum / samples >> 20)), peak $((group_peak >> 20))," \
        "peak since its start $(($(cgroup_peak "$cgroup") >> 20)) MiB"
else
    skipped=$((skipped + 1))
fi
echo > "$tmp/keys"
wait_for 60 said_or_ended 1 "/umbra-run ended"
wait "$vm"
check "status 0" [ $? = 0 ]
check "no page differs" said_often 2 '"mismatches": 0}'
check "audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
[ -z "$cgroup" ] || cgroup_remove "$cgroup"
finish
