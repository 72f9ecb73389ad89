#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest with file system and swap on disks of its own, held to less host memory than it uses, without its balloon:
# both swap at once, pages leave to the image and come back, and every file stays what it was.
# Usage: memory_disks.sh
. "$(dirname "$0")/lib.sh"
need_guest

cat > "$tmp/umbra-run" << 'EOF'
#!/bin/sh
sum() { md5sum < "$1" | cut -d ' ' -f 1; }
mount_vda() { mkdir -p /mnt; mount -t ext4 /dev/vda /mnt 2> /dev/null || mount -t ext2 /dev/vda /mnt; }
rmmod virtio_balloon
mke2fs -b 4096 /dev/vda > /dev/null && mount_vda
dd if=/dev/urandom of=/mnt/file bs=64k count=640 2> /dev/null
wanted=$(sum /mnt/file)
echo "wanted: $wanted"
for i in 1 2; do echo "file: $(sum /mnt/file)"; done
mkswap /dev/vdb > /dev/null && swapon /dev/vdb
mkdir -p /big && mount -t tmpfs -o size=100m tmpfs /big
dd if=/mnt/file of=/big/copy bs=64k 2> /dev/null
for i in 1 2; do
    dd if=/dev/urandom of=/big/more bs=64k count=320 2> /dev/null
    echo "copy: $(sum /big/copy)"
done
umount /mnt && mount_vda && echo "again: $(sum /mnt/file)"
umount /mnt
EOF
chmod +x "$tmp/umbra-run"
"$top/tools/make-overlay" "$tmp/overlay" "$tmp/umbra-run:umbra-run"
cat "$guest/initrd.img" "$tmp/overlay" > "$tmp/initrd"
truncate -s 96M "$tmp/a.img"
truncate -s 128M "$tmp/b.img"

boot 600 --initrd "$tmp/initrd" --append "console=ttyS0 panic=-1 quiet" --memory 96M --limit 72M --compress off \
    --disk "$tmp/a.img" --disk "$tmp/b.img" --stats "$tmp/stats" --audit
check "status 0" [ "$status" = 0 ]
wanted=$(sed -n 's/^wanted: //p' "$tmp/out" | tr -d '\r')
check "a file was made" [ ${#wanted} = 32 ]
check "its contents, five times: in the page cache, in swapped memory, on the disk" \
    [ "$(grep -cE "^(file|copy|again): $wanted" "$tmp/out")" = 5 ]
check "audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
for what in silent_writes_saved double_paging_saved came_from_image; do
    check "$what: $(field "$tmp/stats" $what)" [ "$(field "$tmp/stats" $what)" -gt 0 ]
done
check "no page was damaged" [ "$(field "$tmp/stats" checksum_errors)" = 0 ]
if PATH=$PATH:/sbin command -v e2fsck > /dev/null; then
    PATH=$PATH:/sbin e2fsck -fn "$tmp/a.img" > "$tmp/fsck" 2>&1
    check "the file system is clean" [ $? = 0 ]
else
    skipped=$((skipped + 1))
    echo "SKIP no e2fsprogs"
fi
finish
