/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as instruction handlers see it. Every function either does the whole access or
 * leaves by an exception (#PF, #GP, #SS, #AC) with nothing done (rule R1). Device accesses go to
 * the bus.
 *
 * The inline fast path is one TLB compare that also catches accesses crossing a page; all else is
 * in mem.c.
 */
#ifndef UMBRA_CPU_INTERP_MEM_H
#define UMBRA_CPU_INTERP_MEM_H

#include <string.h>

#include "cpu/interp/interp.h"

/* Effective address of the memory operand, cut to the address size (no segment base yet). */
static inline uint64_t uop_ea(const struct interp *c, const struct uop *u)
{
    uint64_t ea = *(const uint64_t *)((const char *)c->gpr + u->base) +
                  (*(const uint64_t *)((const char *)c->gpr + u->index) << u->scale) +
                  (uint64_t)u->disp;
    if (likely(u->addrsize == 8))
        return ea;
    return u->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

/*
 * Linear address of ea in u->seg (or seg) for an access of `bytes`: adds the base; outside 64-bit
 * mode checks limit, type and presence, raising #GP(0) or #SS(0). mem.c.
 */
uint64_t seg_linear(struct interp *c, const struct uop *u, unsigned seg, uint64_t ea,
                    unsigned bytes, enum mmu_access_kind kind);

/* Segments whose linear address is the effective address while c->flat, for reads and writes. */
static inline bool seg_is_flat(unsigned seg)
{
    return ((1u << SEG_ES | 1u << SEG_SS | 1u << SEG_DS) >> seg) & 1u;
}

/* Linear address of the memory operand of u. */
static inline uint64_t uop_lin(struct interp *c, const struct uop *u, unsigned bytes,
                               enum mmu_access_kind kind)
{
    uint64_t ea = uop_ea(c, u);
    if (likely(c->flat)) {
        if (likely(seg_is_flat(u->seg)))
            return ea;
        if (c->mode == CODE_64)
            return ea + c->s.seg[u->seg].base;
    }
    return seg_linear(c, u, u->seg, ea, bytes, kind);
}

/* Privilege and AC have places of their own, so that a kernel that copies does not evict. */
static inline struct tlb_entry *tlb_view_slot(struct interp *c, uint64_t lin, uint32_t view)
{
    return &c->tlb[tlb_index(lin, c->mix[half_of(lin)]) ^
                   (view & (VIEW_AC | VIEW_USER)) * (TLB_ENTRIES / TLB_VIEWS)];
}

static inline struct tlb_entry *tlb_slot(struct interp *c, uint64_t lin)
{
    return tlb_view_slot(c, lin, c->view[half_of(lin)]);
}

/* Tag that answers for lin now. */
static inline uint64_t tlb_want(const struct interp *c, uint64_t lin)
{
    return (lin & PAGE_MASK) | c->view[half_of(lin)];
}

/* mem.c: slow paths. bytes 1..8; the value is zero-extended. */
uint64_t mem_load_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes);
void mem_store_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                    uint64_t value);

#define MEM_FITS(lin, bytes) (((lin) & (PAGE_SIZE - 1)) <= PAGE_SIZE - (bytes))

#define DEFINE_MEM_ACCESS(bits)                                                                    \
    static inline uint##bits##_t lin_ld##bits(struct interp *c, const struct uop *u, uint64_t lin) \
    {                                                                                              \
        const struct tlb_entry *e = tlb_slot(c, lin);                                              \
        if (likely(e->rtag == tlb_want(c, lin) && MEM_FITS(lin, bits / 8))) {                      \
            uint##bits##_t v;                                                                      \
            memcpy(&v, (const void *)(uintptr_t)(lin + e->addend), sizeof v);                      \
            return v;                                                                              \
        }                                                                                          \
        return (uint##bits##_t)mem_load_slow(c, u, lin, bits / 8);                                 \
    }                                                                                              \
    static inline void lin_st##bits(struct interp *c, const struct uop *u, uint64_t lin,           \
                                    uint##bits##_t v)                                              \
    {                                                                                              \
        const struct tlb_entry *e = tlb_slot(c, lin);                                              \
        if (likely(e->wtag == tlb_want(c, lin) && MEM_FITS(lin, bits / 8))) {                      \
            memcpy((void *)(uintptr_t)(lin + e->addend), &v, sizeof v);                            \
            return;                                                                                \
        }                                                                                          \
        mem_store_slow(c, u, lin, bits / 8, v);                                                    \
    }                                                                                              \
    /* memory operand of u */                                                                      \
    static inline uint##bits##_t mem_ld##bits(struct interp *c, const struct uop *u)               \
    {                                                                                              \
        return lin_ld##bits(c, u, uop_lin(c, u, bits / 8, MMU_READ));                              \
    }                                                                                              \
    static inline void mem_st##bits(struct interp *c, const struct uop *u, uint##bits##_t v)       \
    {                                                                                              \
        lin_st##bits(c, u, uop_lin(c, u, bits / 8, MMU_WRITE), v);                                 \
    }
DEFINE_MEM_ACCESS(8)
DEFINE_MEM_ACCESS(16)
DEFINE_MEM_ACCESS(32)
DEFINE_MEM_ACCESS(64)

/*
 * Any length 1..4096 (at most one page boundary crossed), all or nothing: both pages are translated
 * before the first byte moves. For vector operands, FXSAVE, descriptor pairs. user mode by c->cpl.
 */
void lin_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes);
void lin_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf,
               unsigned bytes);

/* Raises what a write (or read) of these bytes would raise, changes nothing but A/D bits. */
void lin_probe(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
               enum mmu_access_kind kind);

/*
 * For bulk moves inside one page: host address of lin for reading or writing up to the page's end,
 * or NULL when each access must go its own way (device, slow view, tracked frame: *told then says
 * that it is memory, whose writes somebody is told of). Raises what an access of one byte would.
 */
void *lin_span_read(struct interp *c, const struct uop *u, uint64_t lin);
void *lin_span_write(struct interp *c, const struct uop *u, uint64_t lin, bool *told);

/*
 * A span that is told of, which all the same may be written at once; lin_span_tell follows, with
 * *gpa. NULL: one by one, which is for code that may be written as it was.
 */
void *lin_span_told(struct interp *c, uint64_t lin, gpa_t *gpa);
void lin_span_tell(struct interp *c, gpa_t gpa, uint64_t bytes);

/* For reading, but NULL too where lin_span_read would raise. *gfn: the frame. */
void *lin_try_span(struct interp *c, uint64_t lin, gfn_t *gfn);

/*
 * For writing the whole page at lin at once, with bytes from the frames in source: what it held is
 * not brought in. The caller writes every byte before it does anything else. NULL: as
 * lin_span_write, or the page is itself one of the sources; then nothing is lost.
 */
void *lin_span_overwrite(struct interp *c, const struct uop *u, uint64_t lin,
                         const gfn_t source[2]);

/* Is a write to lin answered, one way or the other, without a translation? */
static inline bool lin_knows_write(struct interp *c, uint64_t lin)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    uint64_t want = tlb_want(c, lin);
    return e->wtag == want || (e->rtag == want && (e->note & TLB_NOTED));
}

/*
 * Implicit supervisor accesses (descriptor tables, TSS, stacks of delivery): privilege 0 at any
 * CPL.
 */
void sys_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes);
void sys_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf,
               unsigned bytes);
void sys_probe(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
               enum mmu_access_kind kind);

/*
 * Accesses with a chosen privilege (a far transfer pushing on the stack of the new level).
 * user: treat as a user-mode access.
 */
void priv_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf,
                unsigned bytes, bool user);
void priv_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes,
               bool user);

/*
 * Read-modify-write: rmw_begin checks write access to the operand and answers a host pointer to its
 * bytes (in guest memory, or a bounce buffer when the access crosses a page, meets a device or a
 * tracked frame); rmw_end writes the bounce buffer back. Nothing between them may raise.
 */
void *rmw_begin_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes);
void rmw_end_slow(struct interp *c, const struct uop *u);

static inline void *rmw_begin(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    if (likely(e->wtag == tlb_want(c, lin) && MEM_FITS(lin, bytes)))
        return (void *)(uintptr_t)(lin + e->addend);
    return rmw_begin_slow(c, u, lin, bytes);
}

static inline void rmw_end(struct interp *c, const struct uop *u, const void *p)
{
    if (unlikely(p == c->rmw_buf))
        rmw_end_slow(c, u);
}

/* By a size of 1, 2, 4 or 8 bytes; what is loaded is zero-extended. */
static inline uint64_t lin_load(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes)
{
    switch (bytes) {
    case 1:
        return lin_ld8(c, u, lin);
    case 2:
        return lin_ld16(c, u, lin);
    case 4:
        return lin_ld32(c, u, lin);
    default:
        return lin_ld64(c, u, lin);
    }
}

static inline void lin_store(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                             uint64_t v)
{
    switch (bytes) {
    case 1:
        lin_st8(c, u, lin, (uint8_t)v);
        break;
    case 2:
        lin_st16(c, u, lin, (uint16_t)v);
        break;
    case 4:
        lin_st32(c, u, lin, (uint32_t)v);
        break;
    default:
        lin_st64(c, u, lin, v);
        break;
    }
}

#endif
