#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The control socket: ps, stat, stop, QMP, names, stale sockets, signals.
. "$(dirname "$0")/lib.sh"
need_guest

start() { # NAME: a guest that sits in its shell, with no terminal
    local name=$1
    # A FIFO that is never written keeps the shell waiting.
    [ -p "$tmp/fifo" ] || mkfifo "$tmp/fifo"
    "$umbra" run --name "$name" --memory 128M --append "console=ttyS0 panic=-1" <> "$tmp/fifo" \
        > "$tmp/$name.out" 2> "$tmp/$name.err" &
    pid=$!
    comes_up "$name" $pid
}

answers() { # NAME
    "$umbra" stat "$1" --json > "$tmp/stat"
}

start one
check "the socket is there" test -S "$XDG_RUNTIME_DIR/umbra/one.sock"
check "its mode is 0600" [ "$(stat -c %a "$XDG_RUNTIME_DIR/umbra/one.sock")" = 600 ]
check "the folder's mode is 0700" [ "$(stat -c %a "$XDG_RUNTIME_DIR/umbra")" = 700 ]
check "it answers" wait_for 20 answers one
check "ps lists it" wait_for 20 sh -c "'$umbra' ps | grep -q '^one .* running'"
check "ps --json lists it" sh -c "'$umbra' ps --json | grep -q '\"name\": \"one\"'"
executes() { answers one && [ "$(field "$tmp/stat" instructions)" -gt 0 ]; }
check "stat tells instructions" wait_for 20 executes
check "stat tells the pages" sh -c "'$umbra' stat one | grep -q 'absent: never touched'"
run 20 run --name one --memory 128M
check "a second VM of that name is refused" [ "$status" = 2 ]
check "and says so" grep -q "running already" "$tmp/err"
check "the first one still answers" answers one

check "the guest reaches its shell" wait_for 120 grep -q "a shell" "$tmp/one.out"
run 40 restart one
check "restart answers 0" [ "$status" = 0 ]
check "and says what happened" grep -q "^one was reset and starts again$" "$tmp/out"
twice() { [ "$(grep -c "a shell" "$tmp/one.out")" = 2 ]; }
check "the guest reaches its shell again" wait_for 120 twice
check "stop answers 0" "$umbra" stop one
check "stop waited: the socket is gone" [ ! -e "$XDG_RUNTIME_DIR/umbra/one.sock" ]
wait "$pid"
check "a stopped run ends with 0" [ $? = 0 ]

start two
check "it answers" wait_for 20 answers two
kill -9 "$pid"
wait "$pid" 2> /dev/null
check "a killed VM leaves its socket" test -S "$XDG_RUNTIME_DIR/umbra/two.sock"
check "ps does not list it" sh -c "! '$umbra' ps | grep -q '^two '"
check "ps removes the stale socket" [ ! -e "$XDG_RUNTIME_DIR/umbra/two.sock" ]

start three
kill -9 "$pid"
wait "$pid" 2> /dev/null
start three
check "a stale socket is replaced by a new VM of that name" wait_for 20 answers three
kill -TERM "$pid"
wait "$pid" 2> /dev/null
check "SIGTERM ends it as that signal" [ $? = 143 ]
check "and leaves no socket" [ ! -e "$XDG_RUNTIME_DIR/umbra/three.sock" ]

"$umbra" run --name once --no-reboot --memory 128M --append "console=ttyS0 panic=-1" <> "$tmp/fifo" > /dev/null 2>&1 &
pid=$!
check "it answers" wait_for 20 answers once
run 40 restart once
check "restart of a VM that a reset ends: status 4" [ "$status" = 4 ]
check "and why" grep -q -- "--no-reboot" "$tmp/err"
wait "$pid"
check "it has ended well" [ $? = 0 ]

# Nobody reads: the guest waits, the VM still answers and can be stopped.
mkfifo "$tmp/deaf"
exec 8<> "$tmp/deaf"
"$umbra" run --name deaf --memory 128M --append "console=ttyS0 panic=-1" < /dev/null > "$tmp/deaf" 2> /dev/null &
pid=$!
check "with a reader that reads nothing it answers" wait_for 20 answers deaf
sleep 3
check "also when its output is full" answers deaf
check "and stops" timeout 100 "$umbra" stop deaf
exec 8>&-
timeout 240 "$umbra" run --memory 128M --append "console=ttyS0 panic=-1" < /dev/null 2> "$tmp/err" | head -c 10 > "$tmp/out"
check "a reader that leaves: status 4" [ "${PIPESTATUS[0]}" = 4 ]
check "and a message" grep -q "cannot write the guest's console" "$tmp/err"
finish
