#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Turns ASL into a header with one constant array, dsdt_aml. Usage: compile.sh IASL FILE.asl OUT.h
set -eu
iasl=$1 asl=$2 out=$3
log=$("$iasl" -ve -p "${out%.h}" -tc "$asl" 2>&1) || {
    printf '%s\n' "$log" >&2
    exit 1
}
# iasl makes a mutable array with a name of its own and external linkage.
sed 's/^unsigned char .*\[\]/static const unsigned char dsdt_aml[]/' "${out%.h}.hex" > "$out"
rm -f "${out%.h}.hex" "${out%.h}.aml"
