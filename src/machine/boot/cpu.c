/* SPDX-License-Identifier: Apache-2.0 */
/* The first state of the boot CPU, as the three protocols of Linux and Multiboot ask for it. */
#include "machine/boot/load.h"

#include <string.h>

#define ATTR_CODE32 (SEG_ATTR_G | SEG_ATTR_DB | SEG_ATTR_P | SEG_ATTR_S | 0xbu)
#define ATTR_CODE64 (SEG_ATTR_G | SEG_ATTR_L | SEG_ATTR_P | SEG_ATTR_S | 0xbu)
#define ATTR_DATA   (SEG_ATTR_G | SEG_ATTR_DB | SEG_ATTR_P | SEG_ATTR_S | 0x3u)
#define ATTR_TSS    (SEG_ATTR_P | 0xbu) /* busy */

/* enabled, fixed ranges off, default type WB (SDM 3A 11.11.2.1) */
#define MTRR_ALL_WRITE_BACK 0x806u

#define PTE_P_RW 0x3u
#define PTE_PS   0x80u

/* A descriptor with base 0 (SDM 3A 3.4.5); attr as in struct x86_segment. */
static uint64_t descriptor(uint32_t attr, uint32_t limit)
{
    uint64_t units = attr & SEG_ATTR_G ? limit >> PAGE_SHIFT : limit;

    return (units & 0xffff) | (units & 0xf0000) << 32 | (uint64_t)(attr & 0xf0ff) << 40;
}

static enum err flat_segments(struct boot_job *job, uint32_t code_attr)
{
    struct x86_state *s = job->state;
    /* null, unused, code, data, TSS (two entries in 64-bit mode) */
    const uint64_t gdt[6] = {0,
                             0,
                             descriptor(code_attr, UINT32_MAX),
                             descriptor(ATTR_DATA, UINT32_MAX),
                             descriptor(ATTR_TSS, 0x67),
                             0};
    gpa_t at;
    enum err err = boot_put_low(job, gdt, sizeof(gdt), 16, &at);

    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] =
            (struct x86_segment){.limit = UINT32_MAX, .attr = ATTR_DATA, .selector = BOOT_DS};
    s->seg[SEG_CS] =
        (struct x86_segment){.limit = UINT32_MAX, .attr = code_attr, .selector = BOOT_CS};
    s->tr = (struct x86_segment){.limit = 0x67, .attr = ATTR_TSS, .selector = BOOT_TSS};
    s->ldtr = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    s->gdtr = (struct x86_table){.base = at.v, .limit = sizeof(gdt) - 1};
    /*
     * As after power-on. Not empty: a triple fault behind an empty table is how kernels ask for a
     * reset.
     */
    s->idtr = (struct x86_table){.base = 0, .limit = 0xffff};
    return ERR_OK;
}

static enum err protected_mode(struct boot_job *job, uint64_t entry, uint32_t code_attr)
{
    struct x86_state *s = job->state;

    x86_state_reset(s);
    memset(s->gpr, 0, sizeof(s->gpr));
    s->rip = entry;
    s->rflags = RFLAGS_ONE;
    s->cr0 = CR0_PE | CR0_ET;
    s->cr3 = 0;
    s->cr4 = 0;
    s->efer = 0;
    /* as firmware leaves it: otherwise kernels do without PAT */
    s->mtrr_def_type = MTRR_ALL_WRITE_BACK;
    return flat_segments(job, code_attr);
}

enum err boot_cpu_flat32(struct boot_job *job, uint64_t entry)
{
    return protected_mode(job, entry, ATTR_CODE32);
}

/* PML4, PDPT and four page directories of 2 MiB pages: the first 4 GiB onto themselves. */
static enum err identity_map(struct boot_job *job, uint64_t *cr3)
{
    enum { PML4, PDPT, PD, TABLES = PD + 4 };
    uint64_t table[512];
    gpa_t at;
    enum err err = boot_place_low(job, TABLES * PAGE_SIZE, PAGE_SIZE, &at);

    for (unsigned t = 0; t < TABLES && err == ERR_OK; t++) {
        memset(table, 0, sizeof(table));
        if (t == PML4)
            table[0] = (at.v + PDPT * PAGE_SIZE) | PTE_P_RW;
        for (unsigned i = 0; t == PDPT && i < 4; i++)
            table[i] = (at.v + (PD + i) * PAGE_SIZE) | PTE_P_RW;
        for (unsigned i = 0; t >= PD && i < 512; i++)
            table[i] = ((uint64_t)(t - PD) * 512 + i) << 21 | PTE_PS | PTE_P_RW;
        err = boot_write(job, at.v + t * PAGE_SIZE, table, sizeof(table));
    }
    *cr3 = at.v;
    return err;
}

enum err boot_cpu_long64(struct boot_job *job, uint64_t entry)
{
    struct x86_state *s = job->state;
    enum err err = protected_mode(job, entry, ATTR_CODE64);

    if (err == ERR_OK)
        err = identity_map(job, &s->cr3);
    s->cr0 |= CR0_PG;
    s->cr4 = CR4_PAE;
    s->efer = EFER_LME | EFER_LMA;
    return err;
}
