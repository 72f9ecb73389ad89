/* SPDX-License-Identifier: Apache-2.0 */
#include "mmu/plain.h"

#include <string.h>

/* SDM 3A 4.1.1, 4.6; numbers spelled out here so that a slip in format.h is not shared. */
static bool paging_on(const struct mmu_context *c)
{
    return c->cr0 >> 31 & 1;
}

static bool has_pae(const struct mmu_context *c)
{
    return c->cr4 >> 5 & 1;
}

static bool is_long(const struct mmu_context *c)
{
    return c->efer >> 10 & 1;
}

static bool has_nx(const struct mmu_context *c)
{
    return has_pae(c) && (c->efer >> 11 & 1);
}

static uint64_t peek(struct guest_mem *mem, uint64_t gpa, unsigned bytes, struct plain *out)
{
    uint64_t value = 0;
    hva_t hva;
    bool writable;

    switch (mem_peek(mem, gfn_make(gpa >> 12), MEM_FOR_READ, &hva, &writable)) {
    case MEM_OK:
        memcpy(&value, (const char *)hva_ptr(hva) + (gpa & 0xfff), bytes);
        return value;
    case MEM_NOT_RAM:
        return bytes == 8 ? UINT64_MAX : UINT32_MAX;
    default: /* compressed, swapped, ...: looked at where it is */
        if (!mem_read_through(mem, gpa_make(gpa), &value, bytes))
            out->unknown = true;
        return value;
    }
}

static void stop(struct plain *out, uint32_t why)
{
    out->faults = true;
    out->why = why;
}

/* An entry with the rights bits: adds them; false when the walk stops here. */
static bool use_entry(struct plain *out, const struct mmu_context *c, uint64_t entry,
                      uint64_t reserved)
{
    if (!(entry & 1)) {
        stop(out, 0);
        return false;
    }
    if (entry & reserved) {
        stop(out, PF_P | PF_RSVD);
        return false;
    }
    if (!(entry & 2))
        out->write = false;
    if (!(entry & 4))
        out->user = false;
    if (!(entry & 0x20))
        out->accessed = false;
    if (has_nx(c) && entry >> 63)
        out->nx = true;
    return true;
}

static void leaf(struct plain *out, const struct mmu_context *c, uint64_t entry, uint64_t base,
                 unsigned shift, uint64_t gva)
{
    uint64_t size = UINT64_C(1) << shift;

    out->page = base + (gva & (size - 1) & ~UINT64_C(0xfff));
    out->shift = (uint8_t)shift;
    out->dirty = entry & 0x40;
    out->global = (entry & 0x100) && (c->cr4 >> 7 & 1);
    if (is_long(c))
        out->pkey = (uint8_t)(entry >> 59 & 0xf);
}

static void walk_2level(struct guest_mem *mem, const struct mmu_context *c, unsigned maxphyaddr,
                        uint64_t gva, struct plain *out)
{
    uint64_t pde = peek(mem, (c->cr3 & 0xfffff000) + (gva >> 22 & 0x3ff) * 4, 4, out);
    bool big = (pde & 0x80) && (c->cr4 >> 4 & 1);
    uint64_t reserved = 0;

    if (big) {
        reserved = 1u << 21;
        for (unsigned bit = maxphyaddr; bit < 40; bit++)
            reserved |= UINT64_C(1) << (bit - 32 + 13);
    }
    if (!use_entry(out, c, pde, reserved))
        return;
    if (big) {
        leaf(out, c, pde, (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32, 22, gva);
        return;
    }
    uint64_t pte = peek(mem, (pde & 0xfffff000) + (gva >> 12 & 0x3ff) * 4, 4, out);
    if (use_entry(out, c, pte, 0))
        leaf(out, c, pte, pte & 0xfffff000, 12, gva);
}

/* From some table of 8-byte entries downwards. */
static void walk_8byte(struct guest_mem *mem, const struct mmu_context *c, unsigned maxphyaddr,
                       uint64_t table, int level, uint64_t gva, struct plain *out)
{
    uint64_t above = 0; /* address bits that do not exist */

    for (unsigned bit = maxphyaddr; bit < 52; bit++)
        above |= UINT64_C(1) << bit;
    if (!is_long(c))
        above |= UINT64_C(0x7ff) << 52;
    if (!has_nx(c))
        above |= UINT64_C(1) << 63;
    for (; level > 0; level--) {
        unsigned shift = 12 + 9 * (unsigned)(level - 1);
        uint64_t entry = peek(mem, table + (gva >> shift & 0x1ff) * 8, 8, out);
        bool ps = entry & 0x80;
        uint64_t reserved = above;
        if (level >= 4)
            reserved |= 0x80;
        if (level == 3 && ps)
            reserved |= 0x3fffe000;
        if (level == 2 && ps)
            reserved |= 0x1fe000;
        if (!use_entry(out, c, entry, reserved))
            return;
        uint64_t address = entry & UINT64_C(0x000ffffffffff000);
        if (level == 1 || ps) {
            leaf(out, c, entry, address >> shift << shift, shift, gva);
            return;
        }
        table = address;
    }
}

void plain_walk(struct guest_mem *mem, const struct mmu_context *c, unsigned maxphyaddr, gva_t gva,
                struct plain *out)
{
    memset(out, 0, sizeof *out);
    out->user = out->write = out->accessed = true;
    if (!paging_on(c)) {
        out->page = gva.v & 0xfffff000;
        out->shift = 12;
        out->dirty = true;
    } else if (!has_pae(c)) {
        walk_2level(mem, c, maxphyaddr, gva.v, out);
    } else if (!is_long(c)) {
        uint64_t pdpte = c->pdpte[gva.v >> 30 & 3];
        if (pdpte & 1)
            walk_8byte(mem, c, maxphyaddr, pdpte & UINT64_C(0x000ffffffffff000), 2, gva.v, out);
        else
            stop(out, 0);
    } else {
        uint64_t above = maxphyaddr < 52 ? UINT64_MAX << maxphyaddr : UINT64_C(0xfff) << 52;
        walk_8byte(mem, c, maxphyaddr, c->cr3 & ~above & ~UINT64_C(0xfff), c->cr4 >> 12 & 1 ? 5 : 4,
                   gva.v, out);
    }
}

bool plain_equal(const struct plain *a, const struct plain *b)
{
    return a->page == b->page && a->shift == b->shift && a->pkey == b->pkey && a->user == b->user &&
           a->write == b->write && a->nx == b->nx && a->dirty == b->dirty && a->global == b->global;
}

struct plain_allowed plain_allow(const struct mmu_context *c, const struct plain *p,
                                 const struct mmu_access *access, bool ac)
{
    struct plain_allowed a = {.read = true, .write = true, .exec = true};
    bool wp = c->cr0 >> 16 & 1;
    bool key_blocks_read = false, key_blocks_write = false;

    if (!paging_on(c)) {
        a.this_access = true;
        return a;
    }
    if (access->user && !p->user)
        a.read = a.write = a.exec = false;
    if (!p->write && (access->user || wp))
        a.write = false;
    if (p->nx)
        a.exec = false;
    if (!access->user && p->user) {
        if (c->cr4 >> 20 & 1)
            a.exec = false;
        if ((c->cr4 >> 21 & 1) && (access->implicit || !ac))
            a.read = a.write = false;
    }
    if (is_long(c) && (c->cr4 >> 22 & 1) && p->user) {
        unsigned two = c->pkru >> (p->pkey * 2) & 3;
        key_blocks_read = two & 1;
        key_blocks_write = (two & 1) || ((two & 2) && (access->user || wp));
    }
    a.read = a.read && !key_blocks_read;
    a.write = a.write && !key_blocks_write;
    if (access->kind == MMU_READ) {
        a.this_access = a.read;
        a.key_refuses = key_blocks_read;
    } else if (access->kind == MMU_WRITE) {
        a.this_access = a.write;
        a.key_refuses = key_blocks_write;
    } else {
        a.this_access = a.exec;
    }
    return a;
}

bool plain_fault(const struct mmu_context *c, const struct plain *p,
                 const struct mmu_access *access, bool ac, uint32_t *code)
{
    *code = 0;
    if (access->kind == MMU_WRITE)
        *code |= 2;
    if (access->user)
        *code |= 4;
    if (access->kind == MMU_FETCH && (has_nx(c) || (c->cr4 >> 20 & 1)))
        *code |= 16;
    if (p->faults) {
        *code |= p->why;
        return true;
    }
    struct plain_allowed a = plain_allow(c, p, access, ac);
    *code |= 1 | (a.key_refuses ? 32 : 0);
    return !a.this_access;
}
