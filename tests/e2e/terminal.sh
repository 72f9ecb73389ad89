#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest on a terminal: typing, help, escape, quitting, suspension, and a window that is sane afterwards.
. "$(dirname "$0")/lib.sh"
need_guest
command -v tmux > /dev/null || skip_all "no tmux"
server=umbra-test-$$
window() { tmux -L "$server" "$@"; }
clean_up() { window kill-server; }

window -f /dev/null new-session -d -x 100 -y 40 "env XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR PS1='host> ' sh"
shows() { window capture-pane -p -J -S -500 | grep -q -- "$1"; }
keys() { window send-keys "$@"; }
# On a window that shows nothing of the run before, whatever the shell does when.
start() {
    rm -f "$tmp/stty"
    window send-keys -R
    window clear-history
    keys "$umbra run --name t --memory 128M; echo status \$?; stty -a > $tmp/stty" Enter
}
answers() { "$umbra" stat t --json > "$tmp/stat"; }
as_before() { check "the terminal is as before" wait_for 20 cmp "$tmp/before" "$tmp/stty"; }

keys "stty -a > $tmp/before" Enter
wait_for 20 test -s "$tmp/before"
start
check "a prompt of the guest" wait_for 240 shows "a shell; 'exit' powers off"
keys 'echo $((6 * 7))' Enter
check "typing reaches the guest" wait_for 20 shows '^42'
keys C-a h
check "Ctrl-A H shows help" wait_for 20 shows "Ctrl-A X"
# Its shell does not take Ctrl-C for a key of its line editor any more.
keys 'echo begins $((3 * 3)); sleep 1000' Enter
wait_for 20 shows '^begins 9'
keys C-c
keys 'echo alive $((1 + 1))' Enter
check "Ctrl-C goes to the guest" wait_for 20 shows '^alive 2'
keys 'vi /tmp/file' Enter
check "a full-screen program" wait_for 20 shows '^~'
keys C-a x
check "Ctrl-A X ends it" wait_for 20 shows '^status 0'
below() { window capture-pane -p -J | awk '/vi .tmp.file/ { a = NR } /^status 0/ { b = NR } END { exit !(a && b > a) }'; }
check "the window shows what was before it, the prompt below" wait_for 20 below
as_before

start
wait_for 240 shows "a shell; 'exit' powers off"
keys 'exit' Enter
check "leaving the shell powers off" wait_for 60 shows '^status 0'
as_before

# The shell must not report the kill before stty has run.
for number in TERM SEGV ABRT; do
    start
    check "it answers" wait_for 60 answers
    kill -$number "$(field "$tmp/stat" pid)"
    check "after SIG$number" wait_for 60 test -s "$tmp/stty"
    as_before
done
finish
