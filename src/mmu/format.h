/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest page table formats as level tables, and what the control registers make of them.
 *
 * Levels count from the leaf: 1 holds 4 KiB entries; format->top is the root.
 * Source: SDM 3A 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level and 5-level).
 */
#ifndef UMBRA_MMU_FORMAT_H
#define UMBRA_MMU_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "mmu/mmu.h"

/* Control bits that matter here (SDM 3A 2.5, 2.2.1). */
#define CTX_CR0_WP    0x00010000u
#define CTX_CR0_PG    0x80000000u
#define CTX_CR4_PSE   0x00000010u
#define CTX_CR4_PAE   0x00000020u
#define CTX_CR4_PGE   0x00000080u
#define CTX_CR4_LA57  0x00001000u
#define CTX_CR4_PCIDE 0x00020000u
#define CTX_CR4_SMEP  0x00100000u
#define CTX_CR4_SMAP  0x00200000u
#define CTX_CR4_PKE   0x00400000u
#define CTX_EFER_LMA  0x00000400u
#define CTX_EFER_NXE  0x00000800u

/* Bits of guest entries that all formats share. */
#define PTE_P          UINT64_C(0x001)
#define PTE_W          UINT64_C(0x002)
#define PTE_U          UINT64_C(0x004)
#define PTE_A          UINT64_C(0x020)
#define PTE_D          UINT64_C(0x040)
#define PTE_PS         UINT64_C(0x080)
#define PTE_G          UINT64_C(0x100)
#define PTE_NX         (UINT64_C(1) << 63)
#define PTE_ADDR       UINT64_C(0x000ffffffffff000)
#define PTE_PKEY_SHIFT 59

#define LEVELS_MAX 5

enum format_id { FORMAT_OFF, FORMAT_2LEVEL, FORMAT_PAE, FORMAT_4LEVEL, FORMAT_5LEVEL, FORMATS };

/* no_rights: entries have neither R/W, U/S nor A (PAE's PDPTEs). */
struct format_level {
    uint8_t shift;
    uint8_t bits;
    bool may_be_large;
    bool no_rights;
};

/* root_in_registers: the top level is struct paging's regs, not a table in guest memory. */
struct format {
    const char *name;
    enum format_id id;
    uint8_t entry_bytes;
    uint8_t top;
    bool root_in_registers;
    struct format_level level[LEVELS_MAX + 1];
};

/*
 * The meaning of guest tables under one control state.
 *
 * root:      table of the top level (when not in registers)
 * reserved:  [level][is_large] bits that must be zero in a present entry
 * large:     PS has its meaning (CR4.PSE for the 2-level format, else always)
 * fetch_bit: page faults by fetches say so in the error code
 */
struct paging {
    const struct format *format;
    gfn_t root;
    uint64_t regs[4];
    uint64_t reserved[LEVELS_MAX + 1][2];
    bool large, wp, smep, smap, nxe, pge, pke, fetch_bit;
    uint32_t pkru;
};

const struct format *format_get(enum format_id id);

void paging_init(struct paging *pg, const struct mmu_context *ctx, unsigned maxphyaddr);

/* The same after CR3 alone has changed, where tables of the top level are not in registers. */
void paging_set_root(struct paging *pg, uint64_t cr3, unsigned maxphyaddr);

static inline unsigned paging_index(const struct paging *pg, unsigned level, gva_t gva)
{
    const struct format_level *l = &pg->format->level[level];
    return (unsigned)(gva.v >> l->shift) & ((1u << l->bits) - 1);
}

static inline bool paging_is_large(const struct paging *pg, unsigned level, uint64_t entry)
{
    return (entry & PTE_PS) && pg->large && pg->format->level[level].may_be_large;
}

/* First byte of the page that a leaf entry maps; PSE-36 puts address bits 39:32 at 20:13. */
static inline gpa_t paging_page_base(const struct paging *pg, unsigned level, uint64_t entry)
{
    if (level == 1)
        return gpa_make(entry & PTE_ADDR);
    uint64_t mask = PTE_ADDR & ~((UINT64_C(1) << pg->format->level[level].shift) - 1);
    if (pg->format->id == FORMAT_2LEVEL)
        return gpa_make((entry & mask) | ((entry >> 13) & 0xff) << 32);
    return gpa_make(entry & mask);
}

/* Linear addresses under this format have this many bits; the others play no role. */
static inline uint64_t paging_linear_mask(const struct paging *pg)
{
    const struct format_level *l = &pg->format->level[pg->format->top];
    return (UINT64_C(1) << (l->shift + l->bits)) - 1;
}

/*
 * PDPTEs as MOV to CR3 checks them (SDM 3A 4.4.1): true when a present one has a reserved bit set.
 */
bool paging_pdpte_is_bad(uint64_t pdpte, unsigned maxphyaddr);

#endif
