#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# umbra top on a terminal: what it shows, its keys, windows of all sizes, and a terminal that is as before.
. "$(dirname "$0")/lib.sh"
kernel=${GUESTS:?set GUESTS to the folder of the guest images}/memory_marks.elf
command -v tmux > /dev/null || skip_all "no tmux"
server=umbra-top-$$
export LC_ALL=C.UTF-8
window() { tmux -L "$server" "$@"; }
clean_up() { window kill-server; }

start() { # NAME SIZE OPTIONS...
    "$umbra" run --engine interp --name "$1" --memory "$2" --kernel "$kernel" "${@:3}" < /dev/null > "$tmp/$1.out" 2> "$tmp/$1.err" &
    pid=$!
    comes_up "$1" $pid
}
start alpha 64M --reservation 4M
alpha=$pid
start beta 32M
beta=$pid
# It holds far less than beta then, so that the order by memory held is certain.
"$umbra" swap alpha --resident 8M --within 30s > /dev/null

window -f /dev/null new-session -d -x 80 -y 24 "env -u NO_COLOR XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR PS1='host> ' sh"
keys() { window send-keys "$@"; }
shows() { window capture-pane -p | grep -q -- "$1"; }
shows_not() { ! shows "$1"; }
colours() { window capture-pane -p -e | grep -q "$(printf '\033')\[3[0-7]"; }
no_colours() { ! colours; }
first_is() { [ "$(window capture-pane -p | sed -n 's/^\(alpha\|beta\) .*/\1/p' | head -n 1)" = "$1" ]; }
view() { # SETTINGS AND OPTIONS: on a clear window, from a shell that tells how it ended
    rm -f "$tmp/after"
    keys "clear; echo before; env $1 $umbra top -d 200ms $2; echo status \$?; stty -a > $tmp/after" Enter
}
ends() { # HOW
    check "$1: it ends with 0" wait_for 20 shows '^status 0'
    check "the terminal is as before" wait_for 20 cmp "$tmp/before" "$tmp/after"
    check "the window shows what was before" wait_for 20 shows '^before'
}
keys "stty -a > $tmp/before" Enter
wait_for 20 test -s "$tmp/before"

# ---- what is seen ----
view "" ""
check "the titles" wait_for 20 shows '^NAME *STATE *MIPS *MEMORY *HELD *LIMIT *IN/s *OUT/s *WAITS$'
check "a sum" wait_for 20 shows '^2 VMs of 96M hold '
check "a VM" wait_for 20 shows '^alpha  *running  *[0-9.]*  *64M '
check "its bar" wait_for 20 shows '^ ██*█·* [a-z]*: '
check "in colours" wait_for 20 colours
check "the panel of the first" wait_for 20 shows '^── alpha ─'
check "states with their sizes" wait_for 20 shows '^pages .*█ resident [0-9.]*M .*█ swapped [0-9.]*M'
fits() { [ "$(window capture-pane -p | wc -L)" -le 80 ]; }
check "nothing is wider than the window" fits
keys Down
check "down: the panel of the second" wait_for 20 shows '^── beta ─'
check "it has no swapped pages" wait_for 20 shows_not 'swapped [0-9.]*M'
keys r
check "r: the other way round" wait_for 20 first_is beta
keys r
check "and back" wait_for 20 first_is alpha
keys r m
check "m, reversed: by memory held" wait_for 20 shows 'by memory held, reversed'
check "the smaller one first" wait_for 20 first_is alpha
keys r
check "r: the other one first" wait_for 20 first_is beta
keys r
keys n r
keys Enter
check "enter: umbra explain's words" wait_for 20 shows '^beta believes it has 32.0 MiB'
keys NPage NPage NPage
check "they can be scrolled" wait_for 20 shows_not 'beta believes it has'
keys Enter
check "and left" wait_for 20 shows '^NAME *STATE'
keys h
check "h: the states" wait_for 20 shows 'swapped  *in the VM.s swap file'
keys x
check "any key leaves it" wait_for 20 shows '^NAME *STATE'
keys p
check "p: paused" wait_for 20 shows ' paused$'
# Its last frame is drawn in several pieces.
is_drawn() {
    window capture-pane -p > "$tmp/one"
    sleep 0.1
    window capture-pane -p | cmp -s - "$tmp/one"
}
check "it is drawn" wait_for 20 is_drawn
sleep 0.6
window capture-pane -p > "$tmp/two"
check "the picture stands still" cmp "$tmp/one" "$tmp/two"
keys p
changed() { window capture-pane -p > "$tmp/two"; ! cmp -s "$tmp/one" "$tmp/two"; }
check "and goes on" wait_for 20 changed

# ---- windows ----
for size in 132x40 79x23 60x18 40x10 20x5 10x3 3x2 200x60 80x24; do
    window resize-window -x "${size%x*}" -y "${size#*x}"
    sleep 0.3
done
check "after many sizes the picture is whole" wait_for 20 shows '^NAME *STATE *MIPS *MEMORY *HELD'
check "the panel, too" wait_for 20 shows '^── beta ─'
window resize-window -x 40 -y 10
check "a narrow window has what matters" wait_for 20 shows '^alpha .*running .* 64M *[0-9.]*M$'
window resize-window -x 132 -y 40
check "a wide one has more" wait_for 20 shows '^NAME *STATE *ENGINE *PID *MIPS'
window resize-window -x 80 -y 24

# ---- VMs that hang and go ----
kill -STOP "$beta"
check "a VM that hangs is marked" wait_for 20 shows '^beta  *not answering'
keys Up
check "keys are answered all the while" wait_for 20 shows '^── alpha ─'
kill -CONT "$beta"
check "it comes back" wait_for 20 shows '^beta  *running'
kill -KILL "$beta"
wait "$beta" 2> /dev/null
check "one that is killed goes" wait_for 20 shows_not '^beta '
check "the sum follows" wait_for 20 shows '^1 VM of 64M holds '

# ---- ends ----
keys q
ends "q"
view "NO_COLOR=1" ""
check "NO_COLOR: letters" wait_for 20 shows '^ #*[#cs]*\.* '
check "no colours" wait_for 20 no_colours
keys C-c
ends "Ctrl-C"
view "LC_ALL=C" ""
check "without UTF-8: letters" wait_for 20 shows '^ #*[#cs]*\.* '
check "a rule of ASCII" wait_for 20 shows '^-- alpha -'
check "in colours" wait_for 20 colours
keys C-z
check "Ctrl-Z gives the terminal back" wait_for 20 shows 'Stopped'
wait_for 20 cmp "$tmp/before" "$tmp/after"
rm -f "$tmp/after"
keys "clear; echo before; fg; echo status \$?; stty -a > $tmp/after" Enter
check "and fg takes it again" wait_for 20 shows '^-- alpha -'
top_pid() { pgrep -u "$(id -u)" -f "^$umbra top -d 200ms"; }
kill -TERM "$(top_pid)"
ends "SIGTERM"
view "" "-n 3"
ends "-n 3"
view "TERM=dumb" ""
check "a terminal that cannot place characters gets text" wait_for 20 shows '^  policy   '
ends "once"
view "" ""
wait_for 20 shows '^NAME *STATE'
gone=$(top_pid)
window kill-server
check "a window that is closed ends it" wait_for 20 sh -c "! kill -0 $gone 2> /dev/null"
"$umbra" stop alpha
wait "$alpha"
finish
