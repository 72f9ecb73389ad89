#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A VM that is swapping is killed with -9 at random moments, again and again. Nothing of the guest's memory can be read
# in what is left behind, and the next VM of that name starts.
# Usage: memory_kill.sh [--long] [--seed N]     --long: 200 times instead of 20
. "$(dirname "$0")/lib.sh"
guests=${GUESTS:?set GUESTS to the folder of the freestanding guests}
times=20 seed=$((1 + $$ % 32767))
while [ $# -gt 0 ]; do
    case $1 in
        --long) times=200; shift ;;
        --seed) seed=$2; shift 2 ;;
        *) echo "memory_kill.sh: unknown option $1" >&2; exit 2 ;;
    esac
done
echo "     seed $seed"
RANDOM=$seed
image=$guests/memory_marks.elf
mkdir "$tmp/vm"
swap=$tmp/vm/kill.vswp

start() {
    "$umbra" run --name kill --kernel "$image" --memory 160M --limit 80M --swap-dir "$tmp/vm" "$@" \
        < /dev/null > "$tmp/out" 2> "$tmp/err" &
    vm=$!
    comes_up kill $vm
}
is_swapping() { "$umbra" stat kill --json > "$tmp/stat" && [ "$(field "$tmp/stat" evicted_swapped)" -gt 100 ]; }
readable() { LC_ALL=C grep -rqaF 'UMBRA PLAINTEXT!' "$1"; }

check "the mark can be found" readable "$image"
started=0 secret=0 swapped=0 mode=0 tidy=0
for i in $(seq "$times"); do
    compress=()
    [ $((RANDOM % 2)) = 0 ] || compress=(--compress off)
    start "${compress[@]}" && started=$((started + 1))
    # Most are killed while they swap, some before.
    [ $((RANDOM % 5)) = 0 ] || wait_for 20 is_swapping
    sleep "0.$(printf %03d $((RANDOM % 600)))"
    ! is_swapping || swapped=$((swapped + 1))
    [ "$(stat -c %a "$swap")" != 600 ] || mode=$((mode + 1))
    kill -9 "$vm"
    wait "$vm" 2> /dev/null
    readable "$tmp/vm" || secret=$((secret + 1))
    [ "$(find "$tmp/vm" -mindepth 1 | wc -l)" -gt 1 ] || tidy=$((tidy + 1))
    [ "$started" = "$i" ] || break
done
check "each VM started, $times times" [ "$started" = "$times" ]
check "its swap file had mode 0600" [ "$mode" = "$times" ]
check "no page of the guest could be read afterwards" [ "$secret" = "$times" ]
check "no more than the swap file was left behind" [ "$tidy" = "$times" ]
check "some of them were swapping" [ "$swapped" -gt 0 ]
check "a last one starts" start
check "and is stopped" "$umbra" stop kill
wait "$vm"
check "its status is 0" [ $? = 0 ]
check "nothing is left" [ -z "$(find "$tmp/vm" "$XDG_RUNTIME_DIR" ! -type d)" ]
echo "     $swapped of $times were swapping"
finish
