/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firmware leaves below 1 MiB, for kernels that look there or call it in real mode:
 *
 *   0        0x400                     0x9fc00
 *   | IVT -->| BIOS data area: COM1,   | extended BIOS data area: its size in KiB,
 *   |   |    | end of low memory       | what the vectors lead to
 *   |   +-------------------------------------^
 *
 * There is no BIOS. Its calls are refused as an old one refuses what it does not know (carry set,
 * AH 86h), so that a kernel goes on with what its loader told it; exceptions and interrupts return.
 */
#include "machine/boot/load.h"

#include <assert.h>
#include <string.h>

#define BDA_START 0x400u

struct bios_data {
    uint16_t com[4], lpt[3]; /* I/O ports */
    uint16_t ebda_segment;
    uint16_t equipment; /* bits 11:9: serial ports */
    uint8_t self_test;
    uint16_t memory_kib;
} __attribute__((packed));
static_assert(offsetof(struct bios_data, ebda_segment) == 0x0e, "word 40:0E");
static_assert(offsetof(struct bios_data, memory_kib) == 0x13, "word 40:13");

struct far_pointer {
    uint16_t offset, segment;
};

struct low_memory {
    struct far_pointer vectors[256];
    struct bios_data data;
};
static_assert(offsetof(struct low_memory, data) == BDA_START, "the IVT has 1 KiB");

struct extended_data {
    uint8_t kib;
    uint8_t refuse[11];
    uint8_t end_irq[9];
    uint8_t nothing;
};

static const struct extended_data extended = {
    .kib = 1,
    /* push bp; mov bp, sp; or byte [bp + 6], 1 (carry of the caller); mov ah, 86h; pop bp; iret */
    .refuse = {0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0xb4, 0x86, 0x5d, 0xcf},
    /* push ax; mov al, 20h; out a0h, al; out 20h, al; pop ax; iret */
    .end_irq = {0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf},
    .nothing = 0xcf, /* iret */
};

static uint16_t handler_of(unsigned vector)
{
    if (vector < 8)
        return offsetof(struct extended_data, nothing);
    if (vector < 0x10 || (vector >= 0x70 && vector < 0x78))
        return offsetof(struct extended_data, end_irq);
    return offsetof(struct extended_data, refuse);
}

enum err boot_put_bios_data(struct boot_job *job)
{
    struct low_memory low = {
        .data = {.com = {0x3f8},
                 .ebda_segment = BOOT_EBDA_START >> 4,
                 .equipment = 1u << 9,
                 .memory_kib = BOOT_EBDA_START / 1024},
    };
    enum err err = ERR_OK;

    for (unsigned i = 0; i < 256; i++)
        low.vectors[i] = (struct far_pointer){handler_of(i), BOOT_EBDA_START >> 4};
    /* A kernel may be linked there: then it asks nobody. */
    if (!boot_is_taken(job, 0, sizeof(low)))
        err = boot_write(job, 0, &low, sizeof(low));
    return err != ERR_OK ? err : boot_write(job, BOOT_EBDA_START, &extended, sizeof(extended));
}
