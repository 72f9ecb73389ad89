/* SPDX-License-Identifier: Apache-2.0 */
#include "mmu/format.h"

#include <string.h>

/*
 *                     5          4          3          2          1
 *   off               .          .        [1 GiB identity, in registers]
 *   2-level           .          .          .        PDE (4 MiB) PTE        4-byte entries
 *   PAE               .          .     PDPTE (regs)  PDE (2 MiB) PTE
 *   4-level           .        PML4E   PDPTE (1 GiB) PDE (2 MiB) PTE
 *   5-level         PML5E      PML4E   PDPTE (1 GiB) PDE (2 MiB) PTE
 *
 * Paging off is a format too: four entries that nobody wrote, each a large page that maps itself.
 */
/* clang-format off */
static const struct format formats[FORMATS] = {
    [FORMAT_OFF] = {
        .name = "off", .id = FORMAT_OFF, .entry_bytes = 8, .top = 3, .root_in_registers = true,
        .level = {[3] = {.shift = 30, .bits = 2, .may_be_large = true}},
    },
    [FORMAT_2LEVEL] = {
        .name = "2-level", .id = FORMAT_2LEVEL, .entry_bytes = 4, .top = 2,
        .level = {
            [1] = {.shift = 12, .bits = 10},
            [2] = {.shift = 22, .bits = 10, .may_be_large = true},
        },
    },
    [FORMAT_PAE] = {
        .name = "PAE", .id = FORMAT_PAE, .entry_bytes = 8, .top = 3, .root_in_registers = true,
        .level = {
            [1] = {.shift = 12, .bits = 9},
            [2] = {.shift = 21, .bits = 9, .may_be_large = true},
            [3] = {.shift = 30, .bits = 2, .no_rights = true},
        },
    },
    [FORMAT_4LEVEL] = {
        .name = "4-level", .id = FORMAT_4LEVEL, .entry_bytes = 8, .top = 4,
        .level = {
            [1] = {.shift = 12, .bits = 9},
            [2] = {.shift = 21, .bits = 9, .may_be_large = true},
            [3] = {.shift = 30, .bits = 9, .may_be_large = true},
            [4] = {.shift = 39, .bits = 9},
        },
    },
    [FORMAT_5LEVEL] = {
        .name = "5-level", .id = FORMAT_5LEVEL, .entry_bytes = 8, .top = 5,
        .level = {
            [1] = {.shift = 12, .bits = 9},
            [2] = {.shift = 21, .bits = 9, .may_be_large = true},
            [3] = {.shift = 30, .bits = 9, .may_be_large = true},
            [4] = {.shift = 39, .bits = 9},
            [5] = {.shift = 48, .bits = 9},
        },
    },
};
/* clang-format on */

const struct format *format_get(enum format_id id)
{
    return &formats[id];
}

static uint64_t bits(unsigned high, unsigned low)
{
    return high < low ? 0 : (UINT64_C(2) << high) - (UINT64_C(1) << low);
}

static enum format_id choose(const struct mmu_context *ctx)
{
    if (!(ctx->cr0 & CTX_CR0_PG))
        return FORMAT_OFF;
    if (!(ctx->cr4 & CTX_CR4_PAE))
        return FORMAT_2LEVEL;
    if (!(ctx->efer & CTX_EFER_LMA))
        return FORMAT_PAE;
    return ctx->cr4 & CTX_CR4_LA57 ? FORMAT_5LEVEL : FORMAT_4LEVEL;
}

/* Bits that must be zero (SDM 3A tables 4-4 to 4-6, 4-8 to 4-11, 4-14 to 4-20). */
static void init_reserved(struct paging *pg, unsigned maxphyaddr)
{
    const struct format *f = pg->format;

    if (f->id == FORMAT_OFF)
        return;
    if (f->id == FORMAT_2LEVEL) {
        unsigned phys = maxphyaddr < 40 ? maxphyaddr : 40; /* PSE-36 ends at bit 39 */
        pg->reserved[2][1] = bits(21, phys > 32 ? phys - 32 + 13 : 13);
        return;
    }
    for (unsigned l = 1; l <= f->top; l++) {
        uint64_t mask = bits(51, maxphyaddr);
        if (f->id == FORMAT_PAE)
            mask |= bits(62, 52);
        if (!pg->nxe)
            mask |= PTE_NX;
        if (f->level[l].no_rights)
            mask = 0; /* checked when the registers were loaded */
        pg->reserved[l][0] = mask;
        pg->reserved[l][1] = mask | bits(f->level[l].shift - 1u, 13);
        if (l > 3)
            pg->reserved[l][0] |= PTE_PS;
    }
}

void paging_set_root(struct paging *pg, uint64_t cr3, unsigned maxphyaddr)
{
    pg->root = gpa_gfn(
        gpa_make(cr3 & bits(pg->format->id == FORMAT_2LEVEL ? 31 : maxphyaddr - 1, 12)));
}

void paging_init(struct paging *pg, const struct mmu_context *ctx, unsigned maxphyaddr)
{
    memset(pg, 0, sizeof *pg);
    enum format_id id = choose(ctx);
    pg->format = &formats[id];
    pg->wp = ctx->cr0 & CTX_CR0_WP;
    pg->pge = ctx->cr4 & CTX_CR4_PGE;
    pg->large = id != FORMAT_2LEVEL || (ctx->cr4 & CTX_CR4_PSE);
    if (id == FORMAT_OFF) {
        for (uint64_t i = 0; i < 4; i++)
            pg->regs[i] = i << 30 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS;
        return; /* no page fault and no protection without paging */
    }
    pg->smep = ctx->cr4 & CTX_CR4_SMEP;
    pg->smap = ctx->cr4 & CTX_CR4_SMAP;
    pg->nxe = id != FORMAT_2LEVEL && (ctx->efer & CTX_EFER_NXE);
    pg->fetch_bit = pg->nxe || pg->smep;
    pg->pke = id >= FORMAT_4LEVEL && (ctx->cr4 & CTX_CR4_PKE);
    pg->pkru = pg->pke ? ctx->pkru : 0;
    if (id == FORMAT_PAE)
        memcpy(pg->regs, ctx->pdpte, sizeof pg->regs);
    paging_set_root(pg, ctx->cr3, maxphyaddr);
    init_reserved(pg, maxphyaddr);
}

bool paging_pdpte_is_bad(uint64_t pdpte, unsigned maxphyaddr)
{
    return (pdpte & PTE_P) && (pdpte & (bits(2, 1) | bits(8, 5) | bits(63, maxphyaddr)));
}
