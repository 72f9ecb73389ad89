/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/seg.h"

#include "cpu/interp/exception.h"
#include "cpu/interp/mem.h"

#define DESC_TYPE_BYTE  5
#define DESC_TYPE_SHIFT 40

struct x86_segment desc_to_segment(uint64_t raw, uint16_t selector)
{
    uint32_t attr = desc_attr(raw);
    uint32_t limit = (uint32_t)(raw & 0xffff) | (uint32_t)((raw >> 32) & 0xf0000);
    if (attr & SEG_ATTR_G)
        limit = (limit << 12) | 0xfff;
    return (struct x86_segment){
        .base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000),
        .limit = limit,
        .attr = attr,
        .selector = selector,
    };
}

bool seg_covers(const struct x86_segment *seg, uint64_t offset, unsigned bytes)
{
    uint64_t last = offset + bytes - 1;
    if ((seg->attr & (SEG_TYPE_CODE | SEG_TYPE_EXPAND)) != SEG_TYPE_EXPAND)
        return last <= seg->limit && last >= offset;
    uint64_t top = seg->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;
    return offset > seg->limit && last <= top && last >= offset;
}

void exc_raise_selector(struct interp *c, const struct uop *u, enum x86_vector vector,
                        uint16_t selector)
{
    exc_raise_code(c, u, vector, (selector & 0xfffcu) | exc_ext(c));
}

/* Linear address of a descriptor; false: outside its table. */
static bool desc_locate(const struct interp *c, uint16_t selector, unsigned bytes, uint64_t *lin)
{
    uint32_t offset = selector & 0xfff8u;
    uint64_t base = c->s.gdtr.base;
    uint32_t limit = c->s.gdtr.limit;
    if (selector & SELECTOR_TI) {
        if (selector_is_null(c->s.ldtr.selector) || (c->s.ldtr.attr & SEG_ATTR_UNUSABLE))
            return false;
        base = c->s.ldtr.base;
        limit = c->s.ldtr.limit;
    }
    *lin = base + offset;
    if (!in_long_mode(c))
        *lin = (uint32_t)*lin;
    return offset + bytes - 1 <= limit;
}

bool desc_read(struct interp *c, const struct uop *u, uint16_t selector, uint64_t *raw,
               unsigned bytes)
{
    uint64_t lin;
    if (!desc_locate(c, selector, bytes, &lin))
        return false;
    sys_read(c, u, lin, raw, bytes);
    return true;
}

void desc_set_type(struct interp *c, const struct uop *u, uint16_t selector, uint64_t raw,
                   uint8_t set, uint8_t clear)
{
    uint64_t lin;
    uint8_t byte = (uint8_t)(raw >> DESC_TYPE_SHIFT);
    uint8_t wanted = (uint8_t)((byte | set) & ~clear);
    if (wanted != byte && desc_locate(c, selector, 8, &lin))
        sys_write(c, u, lin + DESC_TYPE_BYTE, &wanted, 1);
}

struct x86_segment seg_null_stack(unsigned cpl)
{
    return (struct x86_segment){.attr = SEG_ATTR_UNUSABLE | cpl << SEG_ATTR_DPL_SHIFT,
                                .selector = (uint16_t)cpl};
}

/* A segment as real mode and VM86 load it. */
static struct x86_segment seg_real(const struct interp *c, enum x86_seg seg, uint16_t selector)
{
    struct x86_segment s = c->s.seg[seg];
    if (s.attr & SEG_ATTR_UNUSABLE) {
        s.limit = 0xffff;
        s.attr = SEG_ATTR_P | SEG_ATTR_S | SEG_TYPE_RW | SEG_TYPE_ACCESSED;
    }
    s.selector = selector;
    s.base = (uint32_t)selector << 4;
    return s;
}

static void seg_finish(struct interp *c, const struct uop *u, uint16_t selector, uint64_t raw,
                       struct x86_segment *out)
{
    desc_set_type(c, u, selector, raw, SEG_TYPE_ACCESSED, 0);
    *out = desc_to_segment(raw, selector);
    out->attr |= SEG_TYPE_ACCESSED;
}

void seg_check_stack(struct interp *c, const struct uop *u, uint16_t selector, unsigned cpl,
                     enum x86_vector vector, struct x86_segment *out)
{
    uint64_t raw = 0;
    if (selector_is_null(selector))
        exc_raise_selector(c, u, vector, 0);
    if (!desc_read(c, u, selector, &raw, 8))
        exc_raise_selector(c, u, vector, selector);
    uint32_t attr = desc_attr(raw);
    if ((selector & SELECTOR_RPL) != cpl || attr_dpl(attr) != cpl || !attr_is_writable_data(attr))
        exc_raise_selector(c, u, vector, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_SS, selector);
    seg_finish(c, u, selector, raw, out);
}

void seg_check_load(struct interp *c, const struct uop *u, enum x86_seg seg, uint16_t selector,
                    struct x86_segment *out)
{
    uint64_t raw = 0;
    if (!in_protected_mode(c)) {
        *out = seg_real(c, seg, selector);
        return;
    }
    if (seg == SEG_SS) {
        if (selector_is_null(selector) && c->mode == CODE_64 && c->cpl < 3 &&
            (selector & SELECTOR_RPL) == c->cpl)
            *out = seg_null_stack(c->cpl);
        else
            seg_check_stack(c, u, selector, c->cpl, VEC_GP, out);
        return;
    }
    if (selector_is_null(selector)) {
        *out = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE, .selector = selector};
        return;
    }
    if (!desc_read(c, u, selector, &raw, 8))
        exc_raise_selector(c, u, VEC_GP, selector);
    uint32_t attr = desc_attr(raw);
    if (!(attr & SEG_ATTR_S) || (attr & (SEG_TYPE_CODE | SEG_TYPE_RW)) == SEG_TYPE_CODE)
        exc_raise_selector(c, u, VEC_GP, selector);
    if (!attr_is_conforming(attr) &&
        (attr_dpl(attr) < c->cpl || attr_dpl(attr) < (selector & SELECTOR_RPL)))
        exc_raise_selector(c, u, VEC_GP, selector);
    if (!(attr & SEG_ATTR_P))
        exc_raise_selector(c, u, VEC_NP, selector);
    seg_finish(c, u, selector, raw, out);
}

void seg_check_ldt(struct interp *c, const struct uop *u, uint16_t selector, enum x86_vector vector,
                   struct x86_segment *out)
{
    uint64_t raw[2] = {0, 0};
    if (selector_is_null(selector)) {
        *out = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE, .selector = selector};
        return;
    }
    if ((selector & SELECTOR_TI) || !desc_read(c, u, selector, raw, in_long_mode(c) ? 16 : 8) ||
        !attr_is_system(desc_attr(raw[0]), DESC_LDT))
        exc_raise_selector(c, u, vector, selector);
    if (!(desc_attr(raw[0]) & SEG_ATTR_P))
        exc_raise_selector(c, u, vector == VEC_TS ? VEC_TS : VEC_NP, selector);
    *out = desc_to_segment(raw[0], selector);
    out->base |= raw[1] << 32;
    if (!is_canonical_base(c, out->base))
        exc_raise_selector(c, u, vector, selector);
}

void seg_drop_inner(struct interp *c, unsigned cpl)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < sizeof data; i++) {
        struct x86_segment *s = &c->s.seg[data[i]];
        if (!attr_is_conforming(s->attr) && attr_dpl(s->attr) < cpl &&
            !(s->attr & SEG_ATTR_UNUSABLE))
            *s = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    }
}

bool seg_probe(struct interp *c, const struct uop *u, uint16_t selector, uint64_t *raw)
{
    if (selector_is_null(selector) || !desc_read(c, u, selector, raw, 8))
        return false;
    uint32_t attr = desc_attr(*raw);
    return attr_is_conforming(attr) ||
           (attr_dpl(attr) >= c->cpl && attr_dpl(attr) >= (selector & SELECTOR_RPL));
}
