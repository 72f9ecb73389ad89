#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The host fails while a VM swaps: no space, I/O errors, a compressed store that is full, a disk image cut short. The
# guest waits with a message where it cannot go on, goes on when the host can again, and has lost no page.
# Usage: memory_faults.sh [RUN OPTION...]
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/linux.sh"
need_modules
options=(--memory 192M --limit 96M --audit "$@")

holds() { # WHAT: a run that ended: its owner found no mismatch, and memory adds up
    check "$1: status 0" [ "$status" = 0 ]
    check "$1: no page differs" said '"mismatches": 0}'
    check "$1: audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
}
folder() { rm -rf "$tmp/vm" && mkdir "$tmp/vm"; }
answers() { "$umbra" stat f --json > "$tmp/stat.json"; }
waits() { grep -q "VM f waits: " "$tmp/err"; }

make_guest << 'END'
#!/bin/sh
exec /owner mib 112 kinds ccrr order random seconds 4
END
injected() { # WHAT FAULTS OPTION...
    local what=$1 faults=$2
    shift 2
    folder
    run 200 run --name f --no-reboot --initrd "$tmp/initrd" --append "console=ttyS0 quiet panic=-1" --stats "$tmp/stats" \
        --swap-dir "$tmp/vm" --inject "$faults" "${options[@]}" "$@"
    holds "$what"
    check "$what: pages were swapped" [ "$(field "$tmp/stats" evicted_swapped)" -gt 0 ]
    check "$what: errors were counted" [ "$(field "$tmp/stats" io_errors)" -gt 0 ]
}
injected "no space for 200 writes" swap-write=ENOSPC@20-219 --compress off
injected "errors of writes and reads" swap-write=EIO@10-20,swap-read=EIO@5-9,swap-read=EIO@50

folder
run 200 run --name f --no-reboot --initrd "$tmp/initrd" --append "console=ttyS0 quiet panic=-1" --stats "$tmp/stats" \
    --swap-dir "$tmp/vm" --compress 4M "${options[@]}"
holds "a compressed store of 4M"
check "a compressed store of 4M: it was full" \
    [ $(($(field "$tmp/stats" refused_full) + $(field "$tmp/stats" compressed_to_swap))) -gt 0 ]

# Whether it has to wait for those 200 depends on how fast they fail; for ever, it has to.
folder
start_vm f --swap-dir "$tmp/vm" --inject swap-write=ENOSPC@20- --compress off "${options[@]}"
check "no space any more: it says why it waits" wait_for 100 waits
check "no space any more: it can be stopped" timeout 100 "$umbra" stop f
wait "$vm"

# A file system that is really full, and then has space again.
make_guest << 'END'
#!/bin/sh
/owner mib 112 kinds cr order random seconds 0 seed 2 & a=$!
read line
kill -TERM $a
wait $a
END
folder
if mount -t tmpfs -o size=16M none "$tmp/vm" 2> /dev/null; then
    clean_up() { wait; umount "$tmp/vm"; }
    start_vm f --swap-dir "$tmp/vm" --compress off "${options[@]}"
    check "a full disk: the guest waits with a message" wait_for 100 waits
    check "a full disk: the message says for what" grep -qi "waits: .*space.*f.vswp" "$tmp/err"
    check "a full disk: the VM answers" answers
    check "a full disk: and is alive" kill -0 "$vm"
    mount -o remount,size=400M "$tmp/vm"
    check "space returns: the guest goes on" wait_for 100 said "owner: filled"
    echo > "$tmp/keys"
    wait "$vm"
    status=$?
    holds "space returns"
    check "space returns: no swap file is left" [ -z "$(ls -A "$tmp/vm")" ]
    umount "$tmp/vm"
    clean_up() { :; }
else
    echo "     mount is not allowed here: no really full disk"
    skipped=$((skipped + 1))
fi

# A disk image is cut short under a guest whose page cache was dropped in favour of it, and mended with what it held
# when the guest had nothing left to write.
make_guest << 'END'
#!/bin/sh
mke2fs -b 4096 /dev/vda > /dev/null && mkdir /mnt && mount -t ext4 /dev/vda /mnt || exit
/owner mib 48 kinds cr order random writes 0 seconds 0 seed 3 file /mnt/file > /tmp/said & a=$!
until grep "owner: filled" /tmp/said; do sleep 1 && kill -0 $a || exit; done
sync
echo "all is written"
read line
kill -TERM $a
wait $a
status=$?
tail -n 1 /tmp/said
exit $status
END
folder
truncate -s 64M "$tmp/disk"
start_vm f --swap-dir "$tmp/vm" --disk "$tmp/disk" --audit --memory 160M "$@"
wait_for 100 said_or_ended 1 "all is written"
check "a short image: the guest runs" said "all is written"
cp --sparse=always "$tmp/disk" "$tmp/saved"
truncate -s 1M "$tmp/disk"
timeout 240 "$umbra" swap f --resident 24M --within 10 > "$tmp/drive" 2>&1
check "a short image: the guest waits with a message" wait_for 60 waits
check "a short image: the VM answers" answers
dd if="$tmp/saved" of="$tmp/disk" bs=1M conv=notrunc status=none
check "the image is mended: the guest goes on" wait_for 60 grep -q "VM f goes on" "$tmp/err"
echo > "$tmp/keys"
wait_for 100 said_or_ended 1 "/umbra-run ended"
wait "$vm"
status=$?
holds "the image is mended"
check "pages were dropped in favour of the image" [ "$(field "$tmp/stats" evicted_image)" -gt 0 ]
finish
