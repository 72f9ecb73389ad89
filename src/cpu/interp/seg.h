/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors and the checks that come before a segment register may hold them (SDM 3A 3.4, 5).
 *
 * The check functions raise what the architecture says, or fill an x86_segment; no guest-visible
 * state but the descriptor's accessed bit changes (rule R1). Whoever called then commits all at
 * once.
 */
#ifndef UMBRA_CPU_INTERP_SEG_H
#define UMBRA_CPU_INTERP_SEG_H

#include "cpu/interp/interp.h"

/* System descriptor types (SDM 3A table 3-2). */
enum desc_type {
    DESC_TSS16 = 1,
    DESC_LDT = 2,
    DESC_TSS16_BUSY = 3,
    DESC_CALL16 = 4,
    DESC_TASK_GATE = 5,
    DESC_INT16 = 6,
    DESC_TRAP16 = 7,
    DESC_TSS = 9,
    DESC_TSS_BUSY = 11,
    DESC_CALL = 12,
    DESC_INT = 14,
    DESC_TRAP = 15
};

#define SEG_TYPE_CODE       0x8u
#define SEG_TYPE_CONFORMING 0x4u /* code */
#define SEG_TYPE_EXPAND     0x4u /* data: expand-down */
#define SEG_TYPE_RW         0x2u /* code: readable, data: writable */
#define SEG_TYPE_ACCESSED   0x1u

#define SELECTOR_RPL 3u
#define SELECTOR_TI  4u

static inline bool selector_is_null(uint16_t selector)
{
    return (selector & 0xfffc) == 0;
}

/* Bits 40..55 of a descriptor without the limit's: the layout of x86_segment.attr. */
static inline uint32_t desc_attr(uint64_t raw)
{
    return (uint32_t)(raw >> 40) & 0xf0ff;
}

static inline unsigned attr_dpl(uint32_t attr)
{
    return (attr & SEG_ATTR_DPL) >> SEG_ATTR_DPL_SHIFT;
}

static inline bool attr_is_code(uint32_t attr)
{
    return (attr & SEG_ATTR_S) && (attr & SEG_TYPE_CODE);
}

static inline bool attr_is_conforming(uint32_t attr)
{
    return attr_is_code(attr) && (attr & SEG_TYPE_CONFORMING);
}

static inline bool attr_is_writable_data(uint32_t attr)
{
    return (attr & (SEG_ATTR_S | SEG_TYPE_CODE | SEG_TYPE_RW)) == (SEG_ATTR_S | SEG_TYPE_RW);
}

/* Type of a system descriptor; meaningless when S is set. */
static inline unsigned attr_type(uint32_t attr)
{
    return attr & SEG_ATTR_TYPE;
}

static inline bool attr_is_system(uint32_t attr, enum desc_type type)
{
    return !(attr & SEG_ATTR_S) && attr_type(attr) == type;
}

static inline bool in_long_mode(const struct interp *c)
{
    return c->s.efer & EFER_LMA;
}

static inline bool in_protected_mode(const struct interp *c)
{
    return (c->s.cr0 & CR0_PE) && !(c->s.rflags & RFLAGS_VM);
}

/* Segment from the 8 bytes of a descriptor. */
struct x86_segment desc_to_segment(uint64_t raw, uint16_t selector);

/*
 * Is the byte range at offset inside the segment's limit? Both kinds of limits; bytes at least 1.
 */
bool seg_covers(const struct x86_segment *seg, uint64_t offset, unsigned bytes);

/* Raises vector with the selector (EXT added during delivery) as error code. */
_Noreturn void exc_raise_selector(struct interp *c, const struct uop *u, enum x86_vector vector,
                                  uint16_t selector);

/*
 * Reads a descriptor (bytes: 8, or 16 for system descriptors of long mode). False: outside its
 * table.
 */
bool desc_read(struct interp *c, const struct uop *u, uint16_t selector, uint64_t *raw,
               unsigned bytes);

/* Writes the descriptor's type byte back, with these bits of the type set or cleared. */
void desc_set_type(struct interp *c, const struct uop *u, uint16_t selector, uint64_t raw,
                   uint8_t set, uint8_t clear);

/*
 * Checks of loading `selector` into a data segment register or SS by MOV, POP, LDS... at the
 * current CPL (SDM 2B MOV); in real mode and VM86 none.
 */
void seg_check_load(struct interp *c, const struct uop *u, enum x86_seg seg, uint16_t selector,
                    struct x86_segment *out);

/*
 * SS for another privilege level: `vector` (#TS or #GP) for all but "not present" (#SS). Null
 * raises vector(0). SDM 3A 5.8.5, IRET, far RET.
 */
void seg_check_stack(struct interp *c, const struct uop *u, uint16_t selector, unsigned cpl,
                     enum x86_vector vector, struct x86_segment *out);

/* The null SS of 64-bit mode at a privilege level. */
struct x86_segment seg_null_stack(unsigned cpl);

/* LDTR by LLDT (#GP) or a task switch (#TS). A null selector gives an unusable one. */
void seg_check_ldt(struct interp *c, const struct uop *u, uint16_t selector, enum x86_vector vector,
                   struct x86_segment *out);

/*
 * After a return to an outer level: data segment registers that the new CPL may not use become null
 * (SDM 2B RET).
 */
void seg_drop_inner(struct interp *c, unsigned cpl);

/* Descriptor of a selector for LAR, LSL, VERR, VERW: false where these clear ZF. */
bool seg_probe(struct interp *c, const struct uop *u, uint16_t selector, uint64_t *raw);

#endif
