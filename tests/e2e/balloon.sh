#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The balloon with Debian's own driver: down, up, out of memory, reports, hints, no driver, reboot, QMP.
# What the host holds is measured from outside: the process's resident set.
. "$(dirname "$0")/lib.sh"
need_guest
client=${QMP_SESSION:?set QMP_SESSION to the helper program}

mkfifo "$tmp/fifo"
"$umbra" run --name b --memory 512M --append "console=ttyS0 panic=-1" <> "$tmp/fifo" > "$tmp/console" 2> "$tmp/run.err" &
pid=$!
socket=$XDG_RUNTIME_DIR/umbra/b.sock

# guest SECONDS COMMAND: typed into the guest's shell; until it is done. The word is not in the echo of the line.
lines=0
guest() {
    lines=$((lines + 1))
    echo "$2; echo done-\"\"$lines" > "$tmp/fifo"
    wait_for "$1" grep -q "^done-$lines" "$tmp/console"
}
rss_mib() { echo $(($(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status") / 1024)); }
state() { # KEY: of x-umbra-balloon
    "$umbra" balloon b --json > "$tmp/look" && field "$tmp/look" "$1"
}
mib() { echo $(($(state "$1") / 1048576)); }
keeps() { [ "$(mib actual_bytes)" = "$1" ]; }
has_driver() { [ "$(state driver)" = true ]; }
has_none() { [ "$(state driver)" = false ]; }
below() { [ "$(rss_mib)" -lt "$1" ]; }
balloon() { run 60 balloon b "$@"; }
says() { grep -q -- "$1" "$tmp/out" "$tmp/err"; }
say() {
    timeout 200 "$client" "$socket" '{"execute":"qmp_capabilities"}' "$@" > "$tmp/reply" || echo "client: $?" >> "$tmp/reply"
}
has() { grep -q -- "$1" "$tmp/reply"; }

check "the guest's driver is there" wait_for 60 has_driver
check "a shell" wait_for 30 grep -q "a shell" "$tmp/console"
check "which does what is typed" guest 20 "mkdir /r; mount -t ramfs r /r"

# ---- down and up ----
check "380 MiB are written" guest 60 "dd if=/dev/zero of=/r/f bs=1M count=380"
before=$(rss_mib)
check "and the host holds them ($before MiB)" [ "$before" -gt 380 ]
echo "rm /r/f" > "$tmp/fifo"
balloon 128M
check "the balloon goes down to 128M" [ $status = 0 ]
check "and says what it reached" says "^b keeps 128M of 512M: 384M went into the balloon in .* GiB/s"
after=$(rss_mib)
check "the host holds $((before - after)) MiB less" [ $((before - after)) -ge 300 ]
check "no more than it must ($after MiB)" [ "$after" -lt 240 ]
check "the guest keeps 128M" keeps 128
check "and Umbra counts the same" [ "$(mib ballooned_bytes)" = 384 ]
balloon
check "without a size: the state" says "keeps 128M; 384M are in its balloon"

# ---- out of memory ----
guest 5 "dmesg -n 1"
check "a guest that runs out of memory takes pages back" guest 120 "dd if=/dev/zero of=/r/f bs=1M count=200; wc -c /r/f"
check "and gets them" grep -q "^209715200 /r/f" "$tmp/console"
check "the balloon is smaller for it" [ "$(mib actual_bytes)" -gt 190 ]
guest 10 "rm /r/f"
balloon all
check "the balloon goes up to all" [ $status = 0 ]
check "all of 512M" keeps 512
check "nothing is left in it" [ "$(mib ballooned_bytes)" = 0 ]

# ---- reports and hints ----
guest 60 "dd if=/dev/zero of=/r/f bs=1M count=300"
held=$(rss_mib)
check "300 MiB are held again" [ "$held" -gt 300 ]
guest 10 "rm /r/f"
check "what the guest has free it reports by itself, within seconds" wait_for 30 below $((held - 250))
guest 60 "dd if=/dev/zero of=/r/f bs=1M count=100; rm /r/f"
balloon --hint
check "one round of hints" [ $status = 0 ]
state hinted > "$tmp/hinted"
check "some ten thousand pages ($(cat "$tmp/hinted"))" [ "$(cat "$tmp/hinted")" -gt 10000 ]
check "the guest has its pages back" guest 60 "dd if=/dev/zero of=/r/f bs=1M count=300; rm /r/f"

# ---- no driver ----
balloon 256M
check "down to 256M" keeps 256
check "the driver goes" guest 20 "rmmod virtio_balloon"
check "Umbra sees it" wait_for 10 has_none
check "its pages are the guest's" [ "$(mib ballooned_bytes)" = 0 ]
balloon 200M
check "a balloon without a driver is stuck" says "the balloon is stuck: the guest has no driver"
check "the next means takes over" says "taken without the guest"
check "and reaches it" [ $status = 0 ]
check "the driver comes" guest 20 "modprobe virtio_balloon"
check "and is asked for the same again" wait_for 20 keeps 200
check "unbound" guest 20 "for d in /sys/bus/virtio/drivers/virtio_balloon/virtio*; do echo \${d##*/} > /sys/bus/virtio/drivers/virtio_balloon/unbind; done"
check "Umbra sees it" wait_for 10 has_none

# ---- reboot ----
guest 20 "modprobe -r virtio_balloon; modprobe virtio_balloon"
check "200M again" wait_for 20 keeps 200
echo "reboot -f" > "$tmp/fifo"
rebooted() { [ "$(grep -c "init reached" "$tmp/console")" = 2 ]; }
check "a reboot with a balloon" wait_for 60 rebooted
check "the new kernel's driver is asked again" wait_for 30 keeps 200
balloon all
check "all of it" keeps 512

# ---- QMP ----
q='{"execute":"query-balloon"}'
say '{"execute":"balloon","arguments":{"value":134217728}}' '~"data":{"actual":134217728}' "$q"
check "balloon: accepted" has '^{"return":{}}'
check "query-balloon" has '"actual":134217728'
check "event BALLOON_CHANGE" has '"event":"BALLOON_CHANGE"'
grep '"BALLOON_CHANGE"' "$tmp/reply" > "$tmp/events"
check "its last value is the last" grep -q '"actual":134217728' <(tail -n 1 "$tmp/events")
seconds=$(sed 's/.*"seconds":\([0-9]*\).*/\1/' "$tmp/events" | sort | uniq -c | awk '$1 > 2' | wc -l)
check "not more than one a second" [ "$seconds" = 0 ]
path='"path":"/machine/peripheral/balloon0"'
say "{\"execute\":\"qom-set\",\"arguments\":{$path,\"property\":\"guest-stats-polling-interval\",\"value\":1}}"
guest_stats() {
    say "{\"execute\":\"qom-get\",\"id\":7,\"arguments\":{$path,\"property\":\"guest-stats\"}}"
    has '"stat-total-memory": [0-9]\{9\},'
}
check "guest-stats" wait_for 20 guest_stats
check "with the time of the last" has '"last-update": 1[0-9]\{9\}},"id":7}'
say "{\"execute\":\"qom-get\",\"arguments\":{$path,\"property\":\"guest-stats-polling-interval\"}}" \
    "{\"execute\":\"qom-get\",\"arguments\":{$path,\"property\":\"no\"}}" \
    '{"execute":"qom-get","arguments":{"path":"/machine/x","property":"type"}}' \
    "{\"execute\":\"qom-set\",\"arguments\":{$path,\"property\":\"guest-stats-polling-interval\",\"value\":-1}}" \
    '{"execute":"balloon","arguments":{"value":0}}' '{"execute":"balloon"}' '{"execute":"balloon","arguments":{"value":1.5}}'
check "the interval" has '^{"return":1}'
check "no such property" has "GenericError.*Property 'virtio-balloon-pci.no' not found"
check "no such device" has "\"DeviceNotFound\",\"desc\":\"Device '/machine/x' not found\""
check "an interval below 0" has "timer value must be greater than zero"
check "a size of 0" has "Parameter 'target' expects a size"
check "no size" has "Parameter 'value' is missing"
check "half a byte" has "Invalid parameter type for 'value', expected: integer"

# ---- giving up ----
balloon all
say '{"execute":"stop"}'
balloon 300M --within 500ms
check "not in that time" [ $status = 1 ]
check "it says so" says "not reached in time"
"$umbra" balloon b 200M > "$tmp/out" 2> "$tmp/err" &
waits=$!
check "while it waits it tells how far it is" wait_for 20 says "asked for 200M"
kill -INT $waits
wait $waits
check "Ctrl-C leaves the balloon where it is" says "interrupted: the balloon stays where it is"
say '{"execute":"cont"}'
check "there" wait_for 10 keeps 512
balloon 600M
check "more than there is" [ $status = 2 ]
check "what there is is said" says "the guest has 512M"
run 20 balloon nobody 1M
check "no such VM" [ $status = 2 ]

echo "poweroff -f" > "$tmp/fifo"
wait "$pid"
check "the guest powers off" [ $? = 0 ]
finish
