/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a guest that crashed, for people: on stderr, one line a group. */
#ifndef UMBRA_CONTROL_REGDUMP_H
#define UMBRA_CONTROL_REGDUMP_H

#include <stdio.h>

#include "cpu/x86/state.h"
#include "mem/mem.h"
#include "mmu/mmu.h"

/* mmu and mem serve to show the code bytes at RIP; both may be NULL. */
void regdump_print(FILE *out, const struct x86_state *s, struct guest_mem *mem, struct mmu *mmu);

#endif
