#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One of Debian's kernels boots to /init in its paging mode, shows the demonstration, powers off.
# Usage: modes.sh GUEST FORMAT [OPTION...]     GUEST: as for tools/get-guest; FORMAT: as `umbra walk` calls it
. "$(dirname "$0")/lib.sh"
name=$1
format=$2
shift 2
need_guest
folder=$guest/$name
[ "$name" != amd64-cloud ] || folder=$guest
[ -s "$folder/vmlinuz" ] && [ -s "$folder/initrd.img" ] || "$top/tools/get-guest" "$name" > "$tmp/get" 2>&1 ||
    skip_all "guest $name cannot be fetched: $(tail -n 1 "$tmp/get")"

mkfifo "$tmp/keys"
sleep 2000 > "$tmp/keys" &
timeout -k 5 $((380 * patience)) "$umbra" run --name modes --no-reboot --audit --stats "$tmp/stats" "$@" \
    --kernel "$folder/vmlinuz" --initrd "$folder/initrd.img" --append "console=ttyS0 panic=-1" \
    < "$tmp/keys" > "$tmp/out" 2> "$tmp/err" &
vm=$!
check "$name: /init reached" wait_for 380 grep -q "umbra-guest: a shell" "$tmp/out"

# The code of the running kernel, by its own tables.
"$umbra" walk modes 0xffffffff81000000 > "$tmp/walk" 2>&1
[ "${name#686}" = "$name" ] || "$umbra" walk modes 0xc1000000 > "$tmp/walk" 2>&1
check "$name: walks $format tables" grep -q "^GVA  *$format tables" "$tmp/walk"

echo 'echo la57 in $(grep -c -w la57 /proc/cpuinfo) CPUs; poweroff -f' > "$tmp/keys"
wait "$vm"
check "$name: status 0" [ $? = 0 ]
check "$name: powered off" [ "$(field "$tmp/stats" state)" = power-off ]
check "$name: audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
if [ "$format" = 5-level ]; then
    # Linux takes the flag back when it runs with four levels.
    check "$name: the kernel says la57" grep -q "^la57 in 1 CPUs" "$tmp/out"
fi
echo "     $(field "$tmp/stats" wall_seconds) s, $(field "$tmp/stats" instructions) instructions"
finish
