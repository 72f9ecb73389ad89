#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Disks: a stock kernel makes a file system and swap on raw images, trims, meets a read-only disk and host errors;
# what it wrote is looked at from the host, and by QEMU as another opinion.
# Usage: disks.sh
. "$(dirname "$0")/lib.sh"
need_guest

# What the guest does, by the word after "disks=" on its command line. Results are lines "name: value".
cat > "$tmp/umbra-run" << 'EOF'
#!/bin/sh
say() { echo "$1: $2"; }
sum() { md5sum < "$1" | cut -d ' ' -f 1; }
fresh() { sync; echo 3 > /proc/sys/vm/drop_caches; }
mount_vda() { mkdir -p /mnt; mount -t ext4 /dev/vda /mnt 2> /dev/null || mount -t ext2 /dev/vda /mnt; }
work=$(sed 's/.*disks=\([a-z]*\).*/\1/' /proc/cmdline)
case $work in
write)
    say serial "$(cat /sys/block/vda/serial)"
    say capacity "$(cat /sys/block/vda/size)"
    mke2fs /dev/vda > /dev/null && mount_vda && say filesystem made
    dd if=/dev/urandom of=/mnt/keep bs=64k count=64 2> /dev/null
    dd if=/dev/urandom of=/mnt/drop bs=64k count=640 2> /dev/null
    say keep "$(sum /mnt/keep)"
    sum /mnt/keep > /mnt/keep.sum
    umount /mnt && fresh && mount_vda
    say again "$(sum /mnt/keep)"
    rm /mnt/drop && sync && fstrim /mnt && say trim done
    umount /mnt
    ;;
blocks)
    say readonly "$(cat /sys/block/vdb/ro)"
    dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync 2> /dev/null || say readonly refused
    say readonly_sum "$(sum /dev/vdb)"
    dd if=/dev/urandom of=/dev/vdc bs=64k count=256 conv=fsync 2> /dev/null
    fresh
    say discard "$(blkdiscard /dev/vdc && echo done)"
    mkswap /dev/vdd > /dev/null && swapon /dev/vdd && say swap on
    mkdir -p /big && mount -t tmpfs -o size=200m tmpfs /big
    dd if=/dev/urandom of=/big/a bs=64k count=1400 2> /dev/null
    say first "$(sum /big/a)"
    say second "$(sum /big/a)"
    say swapped "$(sed -n 's/^pswpout //p' /proc/vmstat)"
    rm /big/a
    swapoff /dev/vdd && say swap off
    ;;
errors)
    dd if=/dev/zero of=/dev/vda bs=4k count=64 oflag=direct 2> /dev/null || say write failed
    dd if=/dev/zero of=/dev/vda bs=4k count=64 oflag=direct 2> /dev/null && say write works
    ;;
verify)
    mount_vda
    say keep "$(sum /mnt/keep)"
    say noted "$(cat /mnt/keep.sum)"
    [ -f /mnt/other ] && say other "$(sum /mnt/other)" && say other_noted "$(cat /mnt/other.sum)"
    if [ ! -f /mnt/other ]; then
        dd if=/dev/urandom of=/mnt/other bs=64k count=32 2> /dev/null
        sum /mnt/other > /mnt/other.sum
    fi
    umount /mnt && say verify done
    ;;
sleep) say sleep begins; sleep 600 ;;
esac
EOF
chmod +x "$tmp/umbra-run"
"$top/tools/make-overlay" "$tmp/overlay" "$tmp/umbra-run:umbra-run"
cat "$guest/initrd.img" "$tmp/overlay" > "$tmp/initrd"

guest_run() { # WORD OPTION...
    local word=$1
    shift
    boot 300 --initrd "$tmp/initrd" --append "console=ttyS0 panic=-1 quiet disks=$word" "$@"
}
said() { sed -n "s/^$1: //p" "$tmp/out" | tr -d '\r' | tail -n 1; }
says() { check "$1: $2" [ "$(said "$1")" = "$2" ]; }
host_sum() { md5sum < "$1" | cut -d ' ' -f 1; }
taken() { echo $(($(stat -c %b "$1") / 2)); } # KiB of the host's disk
image() { truncate -s "$2" "$1"; }

# ---- refused at power-on, in words and with status 2 ----
refuse() { # WORDS OPTION...
    local words=$1
    shift
    run 20 run --no-reboot "$@"
    check "refused: $words" [ "$status" = 2 ]
    check "$words: one line says so" grep -q "$words" "$tmp/err"
    check "$words: no more lines" [ "$(wc -l < "$tmp/err")" = 1 ]
}
image "$tmp/a.img" 96M
: > "$tmp/empty.img"
image "$tmp/odd.img" 1000
refuse "there is no such file" --disk "$tmp/none.img"
refuse "is a folder" --disk "$tmp"
refuse "is empty" --disk "$tmp/empty.img"
refuse "not a multiple of 512" --disk "$tmp/odd.img"
refuse "in use" --disk "$tmp/a.img" --disk "$tmp/a.img"

# ---- a file system ----
guest_run write --disk "$tmp/a.img"
check "write: status 0" [ "$status" = 0 ]
says serial umbra-disk0
says capacity $((96 * 2048))
says filesystem made
keep=$(said keep)
says again "$keep"
says trim done
# 44 MiB were written, 4 of them kept; the file system takes some itself
check "trim: the host has its blocks back ($(taken "$tmp/a.img") KiB left)" [ "$(taken "$tmp/a.img")" -lt 16384 ]
if PATH=$PATH:/sbin command -v debugfs > /dev/null; then
    PATH=$PATH:/sbin e2fsck -fn "$tmp/a.img" > "$tmp/fsck" 2>&1
    check "the file system is clean" [ $? = 0 ]
    PATH=$PATH:/sbin debugfs -R "cat keep" "$tmp/a.img" 2> /dev/null > "$tmp/keep"
    check "the host reads what the guest wrote" [ "$(host_sum "$tmp/keep")" = "$keep" ]
else
    skipped=$((skipped + 2))
    echo "SKIP no e2fsprogs"
fi

# ---- read-only, discard, swap; one image where nothing goes past the page cache ----
head -c 4M /dev/urandom > "$tmp/b.img"
image "$tmp/c.img" 32M
memory_folder=$tmp
clean_up() { rm -rf "$memory_folder"; }
[ -w /dev/shm ] && memory_folder=$(mktemp -d /dev/shm/umbra-e2e-XXXXXX)
image "$memory_folder/d.img" 128M
before=$(host_sum "$tmp/b.img")
guest_run blocks --memory 128M --disk "$tmp/a.img" --disk "$tmp/b.img,ro" --disk "$tmp/c.img" \
    --disk "$memory_folder/d.img" --disk "$tmp/b.img,ro" --audit
check "blocks: status 0" [ "$status" = 0 ]
says readonly refused
says readonly_sum "$before"
check "a read-only image stays as it was" [ "$(host_sum "$tmp/b.img")" = "$before" ]
says discard done
check "discard: the host has its blocks back" [ "$(taken "$tmp/c.img")" -lt 1024 ]
says swap off
check "the guest has swapped ($(said swapped) pages)" [ "$(said swapped)" -gt 1000 ]
says second "$(said first)"
check "audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"

# ---- the host's disk fails ----
image "$tmp/e.img" 4M
guest_run errors --disk "$tmp/e.img" --inject disk-write=EIO@5
check "errors: status 0" [ "$status" = 0 ]
says write works
check "a failed write is told to the guest" grep -q "write: failed" "$tmp/out"
check "and to the user, with the file's name" grep -q "file=$tmp/e.img op=write error=" "$tmp/err"

# ---- two VMs on one image ----
"$umbra" run --name holder --no-reboot --initrd "$tmp/initrd" --append "console=ttyS0 disks=sleep" \
    --disk "$tmp/e.img" < /dev/null > "$tmp/holder" 2>&1 &
holder=$!
check "another VM has the disk" wait_for 60 grep -q "sleep: begins" "$tmp/holder"
refuse "in use by another VM" --disk "$tmp/e.img"
refuse "in use by another VM" --disk "$tmp/e.img,ro"
"$umbra" stop holder > /dev/null 2>&1
wait "$holder"
guest_run errors --disk "$tmp/e.img"
check "the disk is free again" [ "$status" = 0 ]

# ---- two runs by the count of instructions are the same, on the disk too ----
for i in 1 2; do
    rm -f "$tmp/same.img"
    image "$tmp/same.img" 96M
    guest_run write --clock instructions --memory 128M --disk "$tmp/same.img"
    cp "$tmp/out" "$tmp/same.$i"
    host_sum "$tmp/same.img" > "$tmp/same.sum.$i"
done
check "instructions: two runs say the same" cmp -s "$tmp/same.1" "$tmp/same.2"
check "instructions: two runs write the same" cmp -s "$tmp/same.sum.1" "$tmp/same.sum.2"

# ---- QEMU's opinion: it reads what a guest here wrote, and the other way round ----
if command -v qemu-system-x86_64 > /dev/null; then
    timeout 300 qemu-system-x86_64 -accel tcg -m 256 -display none -monitor none -serial stdio -no-reboot \
        -kernel "$guest/vmlinuz" -initrd "$tmp/initrd" -append "console=ttyS0 panic=-1 quiet disks=verify" \
        -drive "file=$tmp/a.img,if=virtio,format=raw,discard=unmap" < /dev/null > "$tmp/out" 2> "$tmp/err"
    says keep "$keep"
    says noted "$keep"
    says verify done
    guest_run verify --disk "$tmp/a.img"
    says keep "$keep"
    check "what QEMU's guest wrote: $(said other)" [ -n "$(said other)" ]
    says other "$(said other_noted)"
else
    skipped=$((skipped + 6))
    echo "SKIP no qemu-system-x86_64"
fi
finish
