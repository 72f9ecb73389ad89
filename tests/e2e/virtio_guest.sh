#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs in the guest as /umbra-run: its stock drivers and the virtio devices. One line "ok WHAT" for each claim.
ok() { echo "virtio-guest: ok $*"; }
bad() { echo "virtio-guest: FAIL $*"; }
claim() { # WHAT COMMAND...
    what=$1
    shift
    if "$@"; then ok "$what"; else bad "$what"; fi
}
random() { dd if=/dev/hwrng of="$1" bs=512 count=32 2> /dev/null && [ "$(wc -c < "$1")" = 16384 ]; }
differ() { ! cmp -s "$1" "$2"; }
interrupts() { awk '/virtio/ { n += $2 } END { print n + 0 }' /proc/interrupts; }
bound() { [ -e "/sys/bus/pci/devices/0000:00:$1.0/driver" ]; }

claim "balloon bound" bound 01
claim "entropy bound" bound 02
before=$(interrupts)
claim "random bytes" random /tmp/a
claim "interrupts" test "$(interrupts)" -ge $((before + 32))
claim "more random bytes" random /tmp/b
claim "which differ" differ /tmp/a /tmp/b

# the driver goes and comes: reset and negotiation; then the function itself: its BAR is sized and placed again
rmmod virtio_rng && modprobe virtio_rng
claim "driver loaded again" random /tmp/c
echo 1 > /sys/bus/pci/devices/0000:00:02.0/remove
echo 1 > /sys/bus/pci/rescan
claim "function removed and found again" bound 02
claim "random bytes after it" random /tmp/d

# disks are as long as their number says and hold it
n=0
for disk in /sys/block/vd*; do
    [ -e "$disk" ] || continue
    n=$((n + 1))
    [ "$(cat "$disk/size")" = $((n * 8)) ] || bad "size of disk $n"
    [ "$(head -n 1 "/dev/${disk##*/}")" = "disk $n" ] || bad "content of disk $n"
    echo "written $n" | dd of="/dev/${disk##*/}" bs=4096 conv=sync oflag=direct 2> /dev/null || bad "write to disk $n"
done
ok "$n disks"
grep virtio /proc/interrupts | sed 's/^/virtio-guest: irq /'
