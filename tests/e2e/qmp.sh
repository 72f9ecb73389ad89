#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A QMP session over the control socket, good and bad manners.
. "$(dirname "$0")/lib.sh"
need_guest
client=${QMP_SESSION:?set QMP_SESSION to the helper program}

mkfifo "$tmp/fifo"
"$umbra" run --name q --memory 128M --append "console=ttyS0 panic=-1" <> "$tmp/fifo" > "$tmp/out" 2> "$tmp/err" &
pid=$!
socket=$XDG_RUNTIME_DIR/umbra/q.sock
comes_up q $pid

# say TEXT: one connection; replies in $tmp/reply
say() {
    timeout 200 "$client" "$socket" "$@" > "$tmp/reply" || echo "client: status $?" >> "$tmp/reply"
}
has() { grep -q -- "$1" "$tmp/reply"; }
caps='{"execute":"qmp_capabilities"}'

say "$caps"
check "greeting" has '^{"QMP":.*"capabilities":\[\]'
check "handshake without line end" has '^{"return":{}}'
say '{"execute":"query-status"}'
check "before the handshake nothing else works" has '"class":"CommandNotFound"'
say "$caps" '{"execute":"query-status","id":[1,{"a":"x"}]}'
check "query-status" has '"status":"running"'
check "the id comes back" has '"id":\[1,{"a":"x"}\]'
say "$caps" '{"execute":"query-version"}' '{"execute":"query-name"}' '{"execute":"query-uuid"}' \
    '{"execute":"query-kvm"}' '{"execute":"query-cpus-fast"}' '{"execute":"query-commands"}' \
    '{"execute":"query-memory-size-summary"}'
check "query-version" has '"package":"Umbra'
check "query-name" has '"name":"q"'
check "query-uuid" has '"UUID":"[0-9a-f]\{8\}-'
check "query-kvm" has '"enabled":false'
check "query-cpus-fast" has '"cpu-index":0'
check "query-commands" has '"name":"system_reset"'
check "query-memory-size-summary" has '"base-memory":134217728'
say "$caps" '{"execute":"stop"}' '{"execute":"query-status"}' '{"execute":"cont"}' '{"execute":"query-status"}'
check "stop" has '"event":"STOP"'
check "stopped" has '"status":"paused"'
check "cont" has '"event":"RESUME"'
check "running again" has '"status":"running"'
say "$caps" '{"execute":"fly"}'
check "an unknown command" has '"class":"CommandNotFound"'
say "$caps" '{"execute":"stop","arguments":{"now":1}}' '{"execute":"query-status"}'
check "an unknown argument is refused" has "Parameter 'now' is unexpected"
check "before any effect" has '"status":"running"'
say "$caps" '{"execute":"system_powerdown"}'
check "no power button" has '"class":"GenericError"'
for bad in '[1,2]' '{"execute":1}' '{"x":1}' '{"execute":"stop","extra":1}' 'hello
' '{"a":}' '{"execute":"stop","execute":"cont"}' '{"execute":"stop","arguments":[]}'; do
    say "$caps" "$bad" '{"execute":"query-name"}'
    check "bad input: $bad" has '"class":"GenericError"'
    check "and the connection lives on" has '"name":"q"'
done
deep=$(printf '[%.0s' $(seq 5000))
say "$caps" "$deep
" '{"execute":"query-name"}'
check "5,000 brackets" has 'nested too deeply'
check "and the connection lives on" has '"name":"q"'
long=$(head -c 70000 /dev/zero | tr '\0' a)
say "$caps" "{\"execute\":\"$long\"}
" '{"execute":"query-name"}'
check "a name of 70,000 letters" has 'too long'
check "and the connection lives on" has '"name":"q"'
say "$caps" "$(printf '{"execute":"qu\001')" '{"execute":"query-name"}'
check "a control character starts afresh" has '"name":"q"'
say "$caps" '{"execute":"x-umbra-stat"}'
check "x-umbra-stat" has '"resident_bytes"'
resets() { "$umbra" stat q --json > "$tmp/stat" && [ "$(field "$tmp/stat" resets)" = 1 ]; }
say "$caps" '{"execute":"system_reset"}'
check "system_reset" wait_for 20 resets
say "$caps" '{"execute":"quit"}' '~"event":"SHUTDOWN"'
check "quit" has '"event":"SHUTDOWN"'
wait "$pid"
check "the run ends with status 0" [ $? = 0 ]
finish
