/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interp/stack.h"

#include "cpu/interp/mem.h"
#include "cpu/interp/seg.h"

/* The largest frame: a call gate's, 4 values and 31 parameters of 4 bytes. */
#define STACK_MAX_BYTES 140

struct stack stack_of(const struct interp *c, struct x86_segment ss, uint64_t sp, unsigned cpl)
{
    struct stack st = {.ss = ss, .sp = sp, .user = cpl == 3};
    if (c->mode == CODE_64)
        st.mask = ~UINT64_C(0);
    else
        st.mask = ss.attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;
    return st;
}

struct stack stack_current(const struct interp *c)
{
    return stack_of(c, c->s.seg[SEG_SS], c->gpr[RSP], c->cpl);
}

void stack_commit(struct interp *c, const struct stack *st)
{
    if (st->mask == 0xffff)
        c->gpr[RSP] = (c->gpr[RSP] & ~UINT64_C(0xffff)) | (st->sp & 0xffff);
    else
        c->gpr[RSP] = st->sp & st->mask;
}

/* Linear address of bytes at offset sp, or #SS(error). */
static uint64_t stack_linear(struct interp *c, const struct uop *u, const struct stack *st,
                             uint64_t sp, unsigned bytes, uint32_t error)
{
    if (st->mask == ~UINT64_C(0)) {
        if (!is_canonical(c, sp) || !is_canonical(c, sp + bytes - 1))
            exc_raise_code(c, u, VEC_SS, error);
        return sp;
    }
    if ((st->ss.attr & SEG_ATTR_UNUSABLE) || !seg_covers(&st->ss, sp, bytes))
        exc_raise_code(c, u, VEC_SS, error);
    return (uint32_t)(st->ss.base + sp);
}

static void probe_write(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                        bool user)
{
    if (user)
        lin_probe(c, u, lin, bytes, MMU_WRITE);
    else
        sys_probe(c, u, lin, bytes, MMU_WRITE);
}

void stack_probe_pushes(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                        unsigned size, bool user)
{
    uint64_t last = lin + bytes - size;
    uint64_t edge = last & PAGE_MASK;

    probe_write(c, u, last, size, user);
    if (lin < edge)
        probe_write(c, u, lin + (edge - lin - 1) / size * size, size, user);
}

void stack_push_frame(struct interp *c, const struct uop *u, struct stack *st, const uint64_t *v,
                      unsigned n, unsigned size, uint32_t error)
{
    unsigned bytes = n * size;
    uint64_t top = st->sp & st->mask;
    uint64_t low = (top - bytes) & st->mask;
    uint8_t image[STACK_MAX_BYTES];
    invariant(bytes <= sizeof image);
    for (unsigned i = 0; i < n; i++)
        memcpy(image + (n - 1 - i) * size, &v[i], size);

    if (top == 0 || top >= bytes) {
        uint64_t lin = stack_linear(c, u, st, low, bytes, error);
        stack_probe_pushes(c, u, lin, bytes, size, st->user);
        priv_write(c, u, lin, image, bytes, st->user);
    } else { /* the pointer wraps within the frame: value by value, all checked before the first is
                written */
        for (unsigned i = 0; i < n; i++) {
            uint64_t at = (low + i * size) & st->mask;
            uint64_t lin = stack_linear(c, u, st, at, size, error);
            probe_write(c, u, lin, size, st->user);
        }
        for (unsigned i = 0; i < n; i++) {
            uint64_t at = (low + i * size) & st->mask;
            priv_write(c, u, stack_linear(c, u, st, at, size, error), image + i * size, size,
                       st->user);
        }
    }
    st->sp = (st->sp & ~st->mask) | low;
}

void stack_peek_frame(struct interp *c, const struct uop *u, const struct stack *st, uint64_t *v,
                      unsigned n, unsigned size)
{
    unsigned bytes = n * size;
    uint64_t top = st->sp & st->mask;
    uint8_t image[STACK_MAX_BYTES];
    invariant(bytes <= sizeof image);

    if (((top + bytes - 1) & st->mask) >= top) {
        priv_read(c, u, stack_linear(c, u, st, top, bytes, 0), image, bytes, st->user);
    } else {
        for (unsigned i = 0; i < n; i++) {
            uint64_t at = (top + i * size) & st->mask;
            priv_read(c, u, stack_linear(c, u, st, at, size, 0), image + i * size, size, st->user);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        v[i] = 0;
        memcpy(&v[i], image + i * size, size);
    }
}
