/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of random bytes, to show that no guest crashes or hangs its host process.
 *
 *   random_code.c   random instructions: raw bytes, and the privileged ones with operands that
 *                   often work
 *   random_world.c  what the code finds: mode, page tables, descriptors, gates, handlers
 *   random_guest.c  runs them, each with a budget, in a child process that may die
 */
#ifndef UMBRA_TESTS_FUZZ_RANDOM_GUEST_H
#define UMBRA_TESTS_FUZZ_RANDOM_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/x86/state.h"
#include "dice.h"
#include "mem/mem.h"

/*
 * Guest-physical layout. Tables and handler lie in low memory, where the random code may well
 * destroy them.
 */
#define COUNTER_AT 0x3000u
#define IDT_AT     0x4000u
#define GDT_AT     0x5000u
#define TSS_AT     0x6000u
#define HANDLER_AT 0x7000u
#define TABLES_AT  0x8000u /* to 0x10000 */
#define STACK_TOP  0x90000u
#define CODE_AT    0x100000u
#define CODE_BYTES 0x10000u
#define GUEST_BYTES (UINT64_C(16) << 20)

#define SEL_CODE32  0x08u
#define SEL_DATA    0x10u
#define SEL_CODE64  0x18u
#define SEL_USER32  0x23u
#define SEL_USER    0x2bu
#define SEL_USER64  0x33u
#define SEL_TSS     0x38u
#define GDT_ENTRIES 32u

/* RAW: as Multiboot enters it, random bytes and no tables at all. USER*: code at level 3. */
enum world {
    WORLD_RAW,
    WORLD_REAL16,
    WORLD_PROT32,
    WORLD_PAGED32,
    WORLD_PAE,
    WORLD_LONG64,
    WORLD_USER32,
    WORLD_USER64,
    WORLD_COMPAT32,
    WORLD_VM86,
    WORLDS
};

extern const char *const world_names[WORLDS];

/* An address that a guest of these may want to reach. */
uint32_t dice_address(struct dice *d);

/* Fills code with random instructions for 16-, 32- or 64-bit mode. */
void random_code(struct dice *d, uint8_t *code, size_t bytes, unsigned bits);
unsigned world_bits(enum world world);

/*
 * Writes the world's tables and sets the CPU state that enters it; state comes from boot_load.
 * False: host error.
 */
bool world_enter(enum world world, struct dice *d, struct guest_mem *mem, struct x86_state *state);

#endif
