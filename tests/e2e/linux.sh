# SPDX-License-Identifier: Apache-2.0
# Linux guests that run a test's own script: sourced after lib.sh, with OWNER naming the memory owner
# (src/workload/owner.c).
owner=${OWNER:?set OWNER to the program owner}

need_modules() {
    need_guest
    [ -s "$guest/modules.img" ] || skip_all "the cached guest has no drivers of virtio devices (make guest)"
}

# make_guest [SOURCE:PATH...] < SCRIPT: $tmp/initrd, which runs the script; /owner is there
make_guest() {
    cat > "$tmp/umbra-run"
    chmod 755 "$tmp/umbra-run"
    "$top/tools/make-overlay" "$tmp/overlay" "$tmp/umbra-run:/umbra-run" "$owner:/owner" "$@" || exit 2
    cat "$guest/initrd.img" "$tmp/overlay" > "$tmp/initrd"
}

# start_vm NAME OPTIONS...: in the background; sets $vm; $tmp/keys is its keyboard
start_vm() {
    local name=$1
    shift
    [ -p "$tmp/keys" ] || mkfifo "$tmp/keys"
    # What the last one said is not this one's, which may begin later than who waits for its words.
    : > "$tmp/out"
    : > "$tmp/err"
    "$umbra" run --name "$name" --no-reboot --initrd "$tmp/initrd" --append "console=ttyS0 quiet panic=-1" \
        --stats "$tmp/stats" "$@" <> "$tmp/keys" > "$tmp/out" 2> "$tmp/err" &
    vm=$!
}

said() { grep -q -- "$1" "$tmp/out"; }

# said_often COUNT TEXT: in so many lines
said_often() { [ "$(grep -c -- "$2" "$tmp/out")" -ge "$1" ]; }

# The VM is there and has said so, or it has ended.
said_or_ended() { said_often "$@" || ! kill -0 "$vm"; }

# of the running VM
stat_of() { # NAME KEY
    "$umbra" stat "$1" --json > "$tmp/stat.json" && field "$tmp/stat.json" "$2"
}

# Guests in a pool: tools/pool.sh with what a test needs.
use_pool() {
    initrd=$tmp/initrd
    : > "$tmp/host"
    . "$top/tools/pool.sh"
}

# watched NAME KEY: of the newest picture that the pool's manager gives; NAME pool: of the pool itself
watched() {
    local line="\"member\":{\"name\":\"$1\""
    [ "$1" != pool ] || line='"pool":{"name"'
    QMP_QUIET_MS=1 "${QMP_SESSION:?}" "$XDG_RUNTIME_DIR/umbra/web.pool" '{"watch": {}}' '~{"pool"' > "$tmp/watch"
    grep -F "$line" "$tmp/watch" | head -n 1 | sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}
