# SPDX-License-Identifier: Apache-2.0
# Shared by the end-to-end tests: sourced, with UMBRA naming the program under test.
# A test calls check for each claim and ends with finish. Everything it makes lies in $tmp.
set -u
umbra=${UMBRA:?set UMBRA to the umbra program}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
guest=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/umbra/guest
tmp=$(mktemp -d)
mkdir -m 700 "$tmp/run"
export XDG_RUNTIME_DIR=$tmp/run XDG_STATE_HOME=$tmp/state
. "$top/tools/wait.sh"
patience=4
passed=0 failed=0 skipped=0
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$tmp"' EXIT

ok() {
    passed=$((passed + 1))
    echo "ok   $1"
}

fail() {
    failed=$((failed + 1))
    echo "FAIL $1"
    shift
    [ $# -eq 0 ] || printf '     %s\n' "$@"
}

# check WHAT COMMAND...: the command holds
check() {
    local what=$1
    shift
    if "$@"; then ok "$what"; else fail "$what" "failed: $*"; fi
}

skip_all() {
    echo "SKIP $1"
    exit 77
}

# A limit counts all that the process holds.
need_no_sanitizer() {
    ! grep -qa '__asan_init\|__tsan_init' "$umbra" || skip_all "a sanitizer's own memory would count as the VM's"
}

need_guest() {
    [ -s "$guest/vmlinuz" ] && [ -s "$guest/initrd.img" ] || skip_all "no cached guest (make guest)"
}

# runs umbra with a limit in seconds, times patience; sets status, and leaves $tmp/out and $tmp/err
run() {
    local limit=$(($1 * patience))
    shift
    timeout -k 5 "$limit" "$umbra" "$@" < /dev/null > "$tmp/out" 2> "$tmp/err"
    status=$?
}

# boot SECONDS OPTIONS...: the cached guest
boot() {
    local limit=$1
    shift
    run "$limit" run --no-reboot "$@"
}

field() { # FILE KEY: a number or string of a JSON file with one field a line
    sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1" | head -n 1
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit $?
}
