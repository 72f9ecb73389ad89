/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program headers of 32- and 64-bit little-endian x86 ELF images, read in one way. Private to
 * boot/.
 */
#ifndef UMBRA_MACHINE_BOOT_ELF_IMAGE_H
#define UMBRA_MACHINE_BOOT_ELF_IMAGE_H

#include "machine/boot/load.h"

struct elf_image {
    const struct boot_image *image;
    bool is_64;
    uint64_t entry;
    uint64_t headers; /* offset of the program headers, known to lie inside the image */
    unsigned count;
};

struct elf_segment {
    uint32_t type;
    uint64_t offset, vaddr, paddr, file_bytes, memory_bytes, align;
};

bool elf_is_elf(const struct boot_image *image);

/* ERR_INVAL: not for this machine, or damaged; the text says which. */
enum err elf_open(struct elf_image *elf, const struct boot_image *image) MUST_USE;

/* i < count. */
struct elf_segment elf_segment(const struct elf_image *elf, unsigned i);

/*
 * Puts every loadable segment at its physical address, the rest of it zeroed, and claims the
 * places.
 */
enum err elf_load(struct boot_job *job, const struct elf_image *elf) MUST_USE;

/* The image's entry point as a physical address: images linked high say a virtual one. */
uint64_t elf_physical_entry(const struct elf_image *elf);

/*
 * Looks for a note; answers its descriptor within the image and its size (also 0), NULL when there
 * is none.
 */
const uint8_t *elf_find_note(const struct elf_image *elf, const char *owner, uint32_t type,
                             uint32_t *desc_bytes);

#endif
