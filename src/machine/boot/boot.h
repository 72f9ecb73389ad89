/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to a CPU that can start: finds out what the kernel file is, loads it and the initrd
 * into guest memory and answers the first CPU state. One file per protocol:
 *
 *   bzimage.c    Linux bzImage: unpacked on the host and entered by PVH where the kernel has the
 *                note, else by the 64-bit or 32-bit boot protocol (linux64.c)
 *   elf_pvh.c    ELF with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY)
 *   multiboot.c  Multiboot 1
 */
#ifndef UMBRA_MACHINE_BOOT_BOOT_H
#define UMBRA_MACHINE_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "cpu/x86/state.h"
#include "mem/mem.h"

/* Fixed places below 1 MiB. */
#define BOOT_ACPI_BASE  UINT64_C(0x000e0000) /* ACPI tables, to 0xfffff */
#define BOOT_EBDA_START UINT64_C(0x0009fc00) /* end of conventional RAM in the memory map */

/*
 * kernel, initrd: paths; initrd NULL: none
 * append:         command line ("" when none)
 * rsdp:           address of the ACPI RSDP in guest memory
 * five_levels:    the CPU offers LA57: a bzImage then unpacks itself, because only its own way in
 *                 turns five-level paging on (it must be done with paging off; the PVH entry stays
 *                 at four)
 */
struct boot_config {
    struct guest_mem *mem;
    const char *kernel;
    const char *initrd;
    const char *append;
    gpa_t rsdp;
    bool five_levels;
};

/* protocol: "pvh", "linux64", "linux32", "multiboot"; entry: address for messages. */
struct boot_info {
    const char *protocol;
    uint64_t entry;
    uint64_t kernel_start, kernel_end;
    uint64_t initrd_start, initrd_end;
};

/*
 * ERR_INVAL with a text that says what to do for everything wrong with the user's files or sizes;
 * ERR_IO and ERR_NOMEM for the host's failures.
 */
enum err boot_load(const struct boot_config *config, struct x86_state *state,
                   struct boot_info *info) MUST_USE;

#endif
