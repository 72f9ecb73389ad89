#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whatever the user gets wrong: status 2 and one clear line on stderr.
. "$(dirname "$0")/lib.sh"

# refuses WHAT PATTERN ARGUMENTS...
refuses() {
    local what=$1 pattern=$2
    shift 2
    run 20 "$@"
    if [ "$status" != 2 ]; then
        fail "$what" "status $status instead of 2: $*" "$(head -n 3 "$tmp/err")"
    elif [ "$(wc -l < "$tmp/err")" != 1 ]; then
        fail "$what" "not one line:" "$(head -n 5 "$tmp/err")"
    elif ! grep -q -- "$pattern" "$tmp/err"; then
        fail "$what" "does not say '$pattern':" "$(cat "$tmp/err")"
    else
        ok "$what"
    fi
}

: > "$tmp/empty"
head -c 1000 /dev/zero > "$tmp/zeros"
head -c 300000 /dev/urandom > "$tmp/random"
head -c 8192 /dev/zero > "$tmp/sectors"
mkdir "$tmp/folder"
: > "$tmp/secret"
chmod 000 "$tmp/secret"
# an ELF header for AArch64
printf '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00\x01\x00\x00\x00' > "$tmp/aarch64"
head -c 4096 /dev/zero >> "$tmp/aarch64"

refuses "a command that does not exist" "unknown command" fly
refuses "a typo of a command" "did you mean 'umbra stat'" stta
refuses "a command that is not built yet" "not built yet" snapshot
refuses "an unknown option" "unknown option" run --colour
refuses "a typo of an option" "did you mean '--memory'" run --memroy 1G
refuses "an option without its value" "needs a value" run --memory
refuses "a value for a flag" "takes no value" run --audit=yes
refuses "a short option" "unknown option" run -m 512
refuses "a stray word" "unexpected word" run vmlinuz
refuses "--memory 0" "too little" run --memory 0
refuses "--memory 1" "too little" run --memory 1
refuses "--memory 1M" "too little" run --memory 1M
refuses "--memory 512, probably 512M" "did you mean --memory 512M" run --memory 512
refuses "--memory 900T" "this host has" run --memory 900T
refuses "--memory that overflows" "larger than any address" run --memory 99999999999999999999G
refuses "--memory -1" "not a size" run --memory -1
refuses "--memory empty" "not a size" run --memory ''
refuses "--memory 512X" "not a size" run --memory 512X
refuses "--memory 4095K and a bit" "multiple of 4K" run --memory 5000000
refuses "--cpus 2" "not built yet" run --cpus 2
refuses "--cpus 0" "not a number of CPUs" run --cpus 0
refuses "--cpus many" "not a number of CPUs" run --cpus many
refuses "--engine kvm" "not built yet" run --engine kvm
refuses "--engine warp" "unknown value" run --engine warp
refuses "--shadow eager" "unknown value" run --shadow eager
refuses "--clock sundial" "unknown value" run --clock sundial
refuses "--pool with --limit" "exclude each other" run --pool web --limit 300M
refuses "--shares without a pool" "need --pool" run --shares 3
refuses "--shares 0" "no number" run --pool web --shares 0
refuses "--minimum over --memory" "more than --memory" run --pool web --memory 256M --minimum 300M
refuses "--pool with a slash" "cannot be" run --pool a/b
refuses "host without memory" "give the pool some memory" host
refuses "host --tax 100" "no percentage" host --memory 1G --tax 100
refuses "--disk that is not there" "no such file" run --disk "$tmp/none.img"
refuses "--disk that is a folder" "folder" run --disk "$tmp/folder"
refuses "--disk that is empty" "empty" run --disk "$tmp/empty"
refuses "--disk of no whole sectors" "not a multiple of 512" run --disk "$tmp/zeros"
refuses "--disk twice" "in use by another VM, or named twice" run --disk "$tmp/sectors" --disk "$tmp/sectors"
refuses "--disk without a name" "cannot be a file's name" run --disk ,ro
refuses "--limit below what works" "need 72M" run --limit 71M
refuses "--limit of nothing" "too little" run --limit 0
refuses "--limit, no size" "not a size" run --limit much
refuses "--reservation of more than there is" "at most 512M" run --reservation 513M
refuses "--reservation above the limit" "more than --limit" run --limit 100M --reservation 101M
refuses "--reservation of half a page" "pages of 4K" run --reservation 2049
refuses "--swap-dir that is not there" "No such file" run --swap-dir "$tmp/none" --kernel "$tmp/random"
refuses "--swap-dir that is a file" "is not a folder" run --swap-dir "$tmp/zeros" --kernel "$tmp/random"
refuses "--smart-paging-dir that is not there" "No such file" run --pool web --smart-paging-dir "$tmp/none" \
    --kernel "$tmp/random"
refuses "--smart-paging-dir that is a file" "is not a folder" run --pool web --smart-paging-dir "$tmp/zeros" \
    --kernel "$tmp/random"
[ "$(id -u)" = 0 ] || refuses "--smart-paging-dir that cannot be written to" "cannot write" run --pool web \
    --smart-paging-dir /usr --kernel "$tmp/random"
refuses "--smart-paging-dir without a pool" "need --pool" run --smart-paging-dir "$tmp/folder"
refuses "--smart-paging-limit without a pool" "need --pool" run --smart-paging-limit 10m
refuses "--smart-paging-limit, no time" "not a time" run --pool web --smart-paging-limit soon
refuses "--smart-paging-limit of nothing" "smart-paging-limit" run --pool web --smart-paging-limit 0
refuses "restart of nobody" "no VM named" restart nobody
refuses "restart without a name" "name the VM" restart
refuses "--compress, no size" "not a size" run --compress well
refuses "--inject, nonsense" "is not FILE-REQUEST=ERROR@FIRST-LAST" run --inject swap-write=EVIL@1
refuses "swap of nobody" "no VM named" swap nobody --resident 100M
refuses "swap without a size" "how much may stay" swap nobody
refuses "swap without a name" "name the VM" swap --resident 100M
refuses "swap within no time" "not a time" swap nobody --resident 100M --within soon
refuses "explain of nobody" "no VM named" explain nobody
refuses "explain without a name" "name the VM" explain
refuses "--name with a slash" "cannot be a VM's name" run --name a/b
refuses "--name that is hidden" "cannot be a VM's name" run --name .a
refuses "--name empty" "1 to 64" run --name ''
refuses "no kernel file" "" run --kernel "$tmp/none"
refuses "an empty kernel file" "" run --kernel "$tmp/empty"
refuses "zeros as kernel" "" run --kernel "$tmp/zeros"
refuses "random bytes as kernel" "" run --kernel "$tmp/random"
refuses "a folder as kernel" "" run --kernel "$tmp/folder"
refuses "a kernel for another architecture" "" run --kernel "$tmp/aarch64"
[ "$(id -u)" = 0 ] || refuses "a kernel that may not be read" "" run --kernel "$tmp/secret"
refuses "--stats into no folder" "stats" run --stats "$tmp/no/f.json" --kernel "$tmp/random"
refuses "--stats at a folder" "is a folder" run --stats "$tmp/folder" --kernel "$tmp/random"
refuses "stat of nobody" "no VM named" stat nobody
refuses "stop of nobody" "no VM named" stop nobody
refuses "stat without a name" "name the VM" stat
refuses "stat of an empty file" "" stat --file "$tmp/empty"
refuses "stat of random bytes" "" stat --file "$tmp/random"

if [ -s "$guest/vmlinuz" ]; then
    head -c 100000 "$guest/vmlinuz" > "$tmp/truncated"
    head -c 9000000 "$guest/vmlinuz" > "$tmp/half"
    refuses "a truncated kernel" "" run --kernel "$tmp/truncated"
    refuses "half a kernel" "" run --kernel "$tmp/half"
    refuses "no initrd file" "" run --kernel "$guest/vmlinuz" --initrd "$tmp/none"
    refuses "a folder as initrd" "" run --kernel "$guest/vmlinuz" --initrd "$tmp/folder"
    truncate -s 600M "$tmp/large"
    refuses "an initrd larger than memory" "" run --kernel "$guest/vmlinuz" --initrd "$tmp/large"
    refuses "memory too small for the kernel" "" run --kernel "$guest/vmlinuz" --memory 8M
fi

HOME=$tmp XDG_CACHE_HOME=$tmp/cache run 20 run
check "no cached guest: status 2" [ "$status" = 2 ]
check "no cached guest: says which command gets one" grep -q "make guest" "$tmp/err"

run 20 ps
check "ps without VMs: status 0" [ "$status" = 0 ]
run 20 ps --json
check "ps --json without VMs" [ "$(tr -d ' \n' < "$tmp/out")" = '[]' ]
for command in "" run ps stat stop; do
    # shellcheck disable=SC2086
    run 20 $command --help
    check "'$command --help': status 0" [ "$status" = 0 ]
    check "'$command --help': examples first" grep -qm1 "Example" "$tmp/out"
done
run 20 --version
check "--version" grep -q '^umbra [0-9]' "$tmp/out"
"$umbra" --help > /dev/full 2> "$tmp/err"
check "a full standard output: status 4" [ $? = 4 ]
finish
