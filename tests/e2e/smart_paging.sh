#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Smart paging happens exactly when all three hold: the VM restarts, the pool has nothing free, and nothing can be
# reclaimed elsewhere. Eight combinations, with a guest that has no balloon and never ends; and what happens when the
# folder fails or the VM is killed.
. "$(dirname "$0")/lib.sh"
need_no_sanitizer
guests=${GUESTS:?set GUESTS to the folder of the freestanding guests}
member=${POOL_MEMBER:?set POOL_MEMBER to the program pool_member}
image=$guests/memory_marks.elf # owns all of its memory, for ever
mark='UMBRA PLAINTEXT!'
limit=8
mkdir "$tmp/vm" "$tmp/bridge"
file=$tmp/bridge/a.smart

# start_pool MIB MINIMUM RECLAIMABLE: a manager, and a VM beside ours that holds 300 MiB of it
start_pool() {
    : > "$tmp/host"
    "$umbra" host --name p --memory "$1M" 2>> "$tmp/host" &
    manager=$!
    wait_for 20 grep -q "for all VMs" "$tmp/host" # a socket may be left from one that was killed
    "$member" "$XDG_RUNTIME_DIR/umbra/p.pool" other 300 "$2" "$3" > "$tmp/other" &
    other=$!
    wait_for 20 grep -q lease "$tmp/other"
}

end_pool() {
    kill "$other" "$manager"
    wait "$other" "$manager" 2> /dev/null
}

start_vm() { # OPTIONS...
    "$umbra" run --name a --pool p --kernel "$image" --memory 96M --startup 128M --minimum 70M --compress off \
        --swap-dir "$tmp/vm" --smart-paging-dir "$tmp/bridge" --debug-exit "$@" < /dev/null > "$tmp/console" 2> "$tmp/messages" &
    vm=$!
    comes_up a $vm
}

stat_now() { "$umbra" stat a --json > "$tmp/stat"; }
value() { field "$tmp/stat" "$1"; }
touched() { [ "$(value absent)" -lt 1500 ]; }
# It has touched all of its memory, or more of it than it may hold.
pressed() { stat_now && { touched || [ $(($(value evicted_swapped) + $(value evicted_smart))) -gt $((before + 500)) ]; }; }
# What the manager says of our VM.
manager_says() { # PATTERN
    "$umbra" top --json -n 1 | grep -o '{"name":"a",[^}]*' | grep -q "$1"
}
gone() { [ ! -e "$file" ]; }
# It may be over by now.
has_bridged() { stat_now && [ "$(value evicted_smart)" -gt 500 ]; }
end_vm() {
    "$umbra" stop a
    wait "$vm"
}

paged=0 table=""
row() { # RESTARTS FULL NOTHING: 1 or 0 each
    check "$1$2$3: the guest meets its limit, or has all it wants" wait_for 60 pressed
    local pages
    pages=$(value evicted_smart)
    table="$table     restarting $1, nothing free $2, nothing reclaimable elsewhere $3: $pages pages"$'\n'
    [ "$pages" = 0 ] || paged=$((paged + 1))
    if [ "$1$2$3" = 111 ]; then
        check "111: smart paging" [ "$pages" -gt 0 ]
    else
        check "$1$2$3: no smart paging" [ "$pages" = 0 ]
        check "$1$2$3: no file" gone
    fi
}

combination() { # FULL NOTHING, POOL MINIMUM RECLAIMABLE
    start_pool "$3" "$4" "$5"
    before=0
    start_vm --smart-paging-limit 600s
    row 0 "$1" "$2"
    restart_vm
    row 1 "$1" "$2"
}

restart_vm() {
    restarted=$(date +%s%N)
    run 30 restart a
    stat_now
    before=$(($(value evicted_swapped) + $(value evicted_smart)))
    check "restart answers 0" [ "$status" = 0 ]
    check "and says so" grep -q "a was reset" "$tmp/out"
}

combination 0 0 600 16 100
end_vm
end_pool
combination 0 1 600 300 0
end_vm
end_pool
combination 1 0 400 16 100
end_vm
end_pool
combination 1 1 400 300 0
check "the manager says why" wait_for 20 manager_says "smart paging bridges them"
check "its file has mode 0600" [ "$(stat -c %a "$file")" = 600 ]
check "nothing in it can be read" sh -c "! LC_ALL=C grep -qaF '$mark' '$file'"
check "explain tells it" sh -c "'$umbra' explain a | grep -q 'bridged by smart paging'"
end_vm

# ---- a guest that never tells that it has booted ----
before=0
start_vm --smart-paging-limit ${limit}s
check "a guest on its limit" wait_for 60 pressed
restart_vm
check "smart paging once more" wait_for 60 has_bridged
check "its file is gone at the limit" wait_for $((limit + 20)) gone
took=$((($(date +%s%N) - restarted) / 1000000))
stat_now
check "the manager knows of no page there" wait_for 10 manager_says '"smart":0,'
check "no page is left in that state" [ "$(value smart)" = 0 ]
before=$(value evicted_swapped)
pages=$(value evicted_smart)
check "the guest runs on under pressure" wait_for 60 pressed
stat_now
check "a running VM does none of it" [ "$(value evicted_smart)" = "$pages" ]
check "its data are right" [ -z "$(tr -d '\r' < "$tmp/console" | grep -v "^round$")" ]
check "the folder is empty" [ -z "$(ls -A "$tmp/bridge")" ]
end_vm
no_lease() { ! "$umbra" top --json -n 1 | grep -q '"name":"a",'; }
check "no lease is left" wait_for 20 no_lease
check "exactly one of eight pages" [ "$paged" = 1 ]
printf '%s' "$table"
echo "     $pages pages; the file was gone after $took ms of a limit of ${limit} s; bytes left: $(du -sb --apparent-size "$tmp/bridge"/* 2> /dev/null | wc -l)"

told_once() { [ "$(grep -c "the swap file takes over" "$tmp/messages")" = 1 ]; }

# The host fails it: nobody is stuck, and one line says what to do.
fault() { # WHAT: the swap file has taken over
    check "$1: the swap file takes over" wait_for 60 pressed
    stat_now
    check "$1: nothing is in the smart-paging file, which is gone" wait_for 20 gone
    check "$1: the guest does not wait" [ -z "$(value stall)" ]
    check "$1: one line says so" wait_for 60 told_once
    check "$1: and what to do" grep -q -- "(--smart-paging-dir)" "$tmp/messages"
    end_vm
}

before=0
start_vm --smart-paging-limit 60s --inject smart-write=ENOSPC@3-
check "a guest on its limit" wait_for 60 pressed
restart_vm
fault "a full folder"

before=0
start_vm --smart-paging-limit 60s
check "a guest on its limit" wait_for 60 pressed
rmdir "$tmp/bridge"
restart_vm
fault "a folder that is gone"
mkdir "$tmp/bridge"

# Reset again and again, and killed.
smart_now() { stat_now && [ "$(value smart)" -gt 500 ]; }
before=0
start_vm
check "a guest on its limit" wait_for 60 pressed
for i in 1 2 3; do
    restart_vm
    check "smart paging again ($i)" wait_for 60 smart_now
done
check "a file for each restart" [ "$(value smart_files)" = 3 ]
check "memory and files agree" sh -c "'$umbra' stat a --audit | grep -q 'agree'"
kill -9 "$vm"
wait "$vm" 2> /dev/null
check "a killed VM leaves its file" [ -e "$file" ]
check "in which nothing can be read" sh -c "! LC_ALL=C grep -rqaF '$mark' '$tmp/bridge' '$tmp/vm'"
before=0
start_vm
check "the next one of the name removes it" gone
check "a guest on its limit" wait_for 60 pressed
stat_now
check "who died alone starts cold: no smart paging" [ "$(value evicted_smart)" = 0 ]
restart_vm
check "smart paging once more" wait_for 60 smart_now
kill -9 "$manager"
wait "$manager" 2> /dev/null
check "a manager that dies ends smart paging" wait_for 30 gone
check "and the guest runs on" wait_for 60 pressed
end_vm

# All die at once, as with their host: what is started anew restarts, too.
wait "$other" 2> /dev/null
start_pool 400 300 0
start_vm
check "a VM joins the next manager" wait_for 60 pressed
kill -9 "$manager" "$vm" "$other"
wait "$manager" "$vm" "$other" 2> /dev/null
before=0
start_pool 400 300 0
start_vm --smart-paging-limit 16s
check "a restart of the manager is one of its VMs" wait_for 20 grep -q "a has joined; it was here before" "$tmp/host"
check "which does smart paging" wait_for 60 has_bridged
check "its file is gone at the limit" wait_for 60 gone
end_vm
end_pool
check "nothing is left" [ -z "$(ls -A "$tmp/bridge" "$tmp/vm" | grep -v ':$')" ]
finish
