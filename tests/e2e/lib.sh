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
passed=0 failed=0 skipped=0 is_over=no last=none failures=() shown=''

# A test that makes something outside of $tmp defines this, to take it away.
clean_up() { :; }

leave() {
    kill $(jobs -p) 2> /dev/null
    # Ended from outside, as by a test runner that has waited long enough.
    if [ $is_over = no ]; then
        echo "ended from outside after $passed checks that hold; the last one: $last"
        show_files
    fi
    clean_up 2> /dev/null
    rm -rf "$tmp"
}
trap leave EXIT
trap 'exit 143' TERM

# show_files: the last words of every text in $tmp, of the VMs' messages first
show_files() {
    local file
    for file in $(cd "$tmp" && ls -tp | grep -v / | awk '/err|messages|host/ { print; next } { rest = rest $0 "\n" }
        END { printf "%s", rest }'); do
        [ -f "$tmp/$file" ] && [ -s "$tmp/$file" ] && head -c 4096 "$tmp/$file" | LC_ALL=C grep -Iq . || continue
        echo "  -- $file"
        tail -c 1200 "$tmp/$file" | tr -d '\r' | tail -n 8 | cut -c 1-240
    done | head -n 90
}

ok() {
    passed=$((passed + 1))
    echo "ok   $1"
}

fail() {
    failed=$((failed + 1))
    failures+=("$1")
    echo "FAIL $1"
    shift
    [ $# -eq 0 ] || printf '     %s\n' "$@"
    # What is there now may be gone at the end.
    [ "$failed" -gt 1 ] || shown=$(show_files)
}

# check WHAT COMMAND...: the command holds
check() {
    local what=$1
    last=$what
    shift
    if "$@"; then ok "$what"; else fail "$what" "failed: $*"; fi
}

skip_all() {
    echo "SKIP $1"
    is_over=yes
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
    [ $status != 124 ] || echo "     not done within $limit s: umbra $*" | tee -a "$tmp/err"
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

# VM NAME is the process PID and answers, or that process has ended.
is_up_or_ended() {
    { "$umbra" stat "$1" --json > "$tmp/up" && [ "$(field "$tmp/up" pid)" = "$2" ]; } || ! kill -0 "$2"
}

# comes_up NAME PID: the VM that was just started answers; false: it has ended instead. Its socket says neither: a VM
# of that name that was killed leaves one, too.
comes_up() { wait_for 60 is_up_or_ended "$@" && kill -0 "$2" 2> /dev/null; }

# A test's log may be shown by its end alone, so what failed is told there once more.
finish() {
    is_over=yes
    if [ "$failed" -gt 0 ]; then
        echo "when the first of these failed:"
        echo "$shown"
        printf 'failed: %s\n' "${failures[@]}" | head -n 20
    fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit $?
}
