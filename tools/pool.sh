# SPDX-License-Identifier: Apache-2.0
# Guests in a pool, for tests and measurements: sourced with $umbra (the program), $tmp (a folder) and $initrd set,
# after tools/wait.sh. Each guest's files are $tmp/{keys,out,err}-NAME; what it does follows from its name, which is
# on its kernel's command line as who=NAME.
managers=0

start_manager() { # OPTIONS...: sets $manager; false: it does not listen
    "$umbra" host --name web "$@" 2>> "$tmp/host" &
    manager=$!
    managers=$((managers + 1))
    wait_for 20 listens
}

# Each writes its line when it listens; a socket may be left from one that was killed.
listens() { [ "$(grep -c "for all VMs with --pool" "$tmp/host")" -ge "$managers" ]; }

kill_manager() {
    kill -KILL "$manager"
    wait "$manager" 2> /dev/null
}

start_member() { # NAME OPTIONS...: sets $vm
    local name=$1
    shift
    [ -p "$tmp/keys-$name" ] || mkfifo "$tmp/keys-$name"
    mkdir -p "$tmp/vm-$name"
    "$umbra" run --name "$name" --pool web --audit --initrd "$initrd" --swap-dir "$tmp/vm-$name" \
        --append "console=ttyS0 quiet panic=-1 who=$name" "$@" \
        <> "$tmp/keys-$name" > "$tmp/out-$name" 2> "$tmp/err-$name" &
    vm=$!
}

press_key() { echo > "$tmp/keys-$1"; }

joined() { [ "$(grep -c ": $1 has joined" "$tmp/host")" -ge "${2:-1}" ]; }
left() { [ "$(grep -c ": $1 has left" "$tmp/host")" -ge "${2:-1}" ]; }

# said_by NAME TEXT [COUNT]: in so many lines, since it last booted
said_by() {
    [ "$(awk -v text="$2" '/umbra-guest: init reached/ { n = 0 } index($0, text) { n++ } END { print n + 0 }' \
        "$tmp/out-$1")" -ge "${3:-1}" ]
}

boots_of() { grep -c "umbra-guest: init reached" "$tmp/out-$1"; }
has_booted() { [ "$(boots_of "$1")" -ge "$2" ]; } # NAME COUNT

resident_kib() { awk '/^VmRSS:/ { print $2; found = 1 } END { if (!found) print 0 }' "/proc/$1/status" 2> /dev/null; }
