#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Virtio devices under Debian's stock drivers: entropy, balloon, sixteen disks.
# Usage: virtio.sh GUEST msix|intx     GUEST: as for tools/get-guest
. "$(dirname "$0")/lib.sh"
name=$1
way=$2
need_guest
folder=$guest/$name
[ "$name" != amd64-cloud ] || folder=$guest
[ -s "$folder/vmlinuz" ] && [ -s "$folder/modules.img" ] || "$top/tools/get-guest" "$name" > "$tmp/get" 2>&1 ||
    skip_all "guest $name cannot be fetched: $(tail -n 1 "$tmp/get")"

append="console=ttyS0 panic=-1"
[ "$way" = msix ] || append="$append pci=nomsi"
disks=()
for n in $(seq 16); do
    truncate -s $((n * 4096)) "$tmp/disk$n"
    echo "disk $n" | dd of="$tmp/disk$n" conv=notrunc 2> /dev/null
    disks+=(--disk "$tmp/disk$n")
done
"$top/tools/make-overlay" "$tmp/overlay" "$top/tests/e2e/virtio_guest.sh:umbra-run"
cat "$folder/initrd.img" "$tmp/overlay" > "$tmp/initrd"

boot 300 --audit "${disks[@]}" --kernel "$folder/vmlinuz" --initrd "$tmp/initrd" --append "$append"
check "$name $way: status 0" [ "$status" = 0 ]
check "$name $way: audit" grep -q "audit: memory and shadow tables agree" "$tmp/err"
tr -d '\r' < "$tmp/out" > "$tmp/lines"
for what in "balloon bound" "entropy bound" "random bytes" "interrupts" "more random bytes" "which differ" \
    "driver loaded again" "function removed and found again" "random bytes after it" "16 disks"; do
    check "$name $way: $what" grep -qx "virtio-guest: ok $what" "$tmp/lines"
done
check "$name $way: nothing failed" [ -z "$(grep 'virtio-guest: FAIL' "$tmp/lines")" ]
written=0
for n in $(seq 16); do
    [ "$(head -n 1 "$tmp/disk$n")" != "written $n" ] || written=$((written + 1))
done
check "$name $way: what the guest wrote is in the files" [ "$written" = 16 ]
if [ "$way" = msix ]; then
    check "$name: messages" grep -q 'virtio-guest: irq.*PCI-MSI.*virtio' "$tmp/lines"
else
    check "$name: wires" grep -q 'virtio-guest: irq.*IO-APIC.*virtio' "$tmp/lines"
    check "$name: no messages" [ -z "$(grep 'virtio-guest: irq.*PCI-MSI' "$tmp/lines")" ]
fi
finish
