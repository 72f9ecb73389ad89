/* SPDX-License-Identifier: Apache-2.0 */
/* IRET in all modes (SDM 2A IRET). */
#include "cpu/interp/debug.h"
#include "cpu/interp/far.h"
#include "cpu/interp/stack.h"
#include "cpu/interp/system.h"
#include "cpu/interp/task.h"

/* The image on the stack, top first. */
enum {
    FRAME_RIP,
    FRAME_CS,
    FRAME_FLAGS,
    FRAME_RSP,
    FRAME_SS,
    FRAME_ES,
    FRAME_DS,
    FRAME_FS,
    FRAME_GS,
    FRAME_MAX
};

#define FLAGS_ALWAYS (RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT)
#define FLAGS_WIDE   (RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)
#define FLAGS_VM86   (RFLAGS_VM | RFLAGS_VIF | RFLAGS_VIP)
#define VM86_ATTR                                                                                  \
    (SEG_ATTR_P | SEG_ATTR_S | 3u << SEG_ATTR_DPL_SHIFT | SEG_TYPE_RW | SEG_TYPE_ACCESSED)

/* The flags after an IRET at this level; VM is the caller's. */
static uint64_t merge_flags(const struct interp *c, uint64_t image, unsigned opsize)
{
    uint64_t mask = FLAGS_ALWAYS;
    if (opsize != 2)
        mask |= FLAGS_WIDE;
    if (c->cpl <= iopl(c))
        mask |= RFLAGS_IF;
    if (c->cpl == 0)
        mask |= RFLAGS_IOPL | (opsize != 2 && in_protected_mode(c) ? RFLAGS_VIF | RFLAGS_VIP : 0);
    /*
     * RF only matters to instruction breakpoints; without them the next instruction clears it
     * unseen.
     */
    if (!debug_has_breakpoints(c))
        image &= ~(uint64_t)RFLAGS_RF;
    return (interp_rflags(c) & ~(mask | RFLAGS_RF)) | (image & mask);
}

static const struct uop *iret_real(struct interp *c, const struct uop *u, const uint64_t *v,
                                   struct stack *st)
{
    struct x86_segment cs = c->s.seg[SEG_CS];
    if ((c->s.rflags & RFLAGS_VM) && iopl(c) < 3)
        exc_raise_code(c, u, VEC_GP, 0);
    cs.selector = (uint16_t)v[FRAME_CS];
    cs.base = (uint32_t)cs.selector << 4;
    far_check_rip(c, u, &cs, v[FRAME_RIP]);
    uint64_t flags = merge_flags(c, v[FRAME_FLAGS], u->opsize);
    if (c->s.rflags & RFLAGS_VM) /* IOPL stays at level 3, as merge_flags has it */
        flags |= RFLAGS_VM;
    stack_drop(st, 3u * u->opsize);
    stack_commit(c, st);
    c->s.seg[SEG_CS] = cs;
    interp_set_rflags(c, flags);
    c->s.nmi_blocked = false;
    interp_update_mode(c);
    return resume_at(c, u, v[FRAME_RIP]);
}

/* To virtual-8086 mode: six more values, no checks but that of EIP. */
static const struct uop *iret_to_vm86(struct interp *c, const struct uop *u, const struct stack *st)
{
    static const uint8_t order[][2] = {{SEG_CS, FRAME_CS}, {SEG_SS, FRAME_SS}, {SEG_ES, FRAME_ES},
                                       {SEG_DS, FRAME_DS}, {SEG_FS, FRAME_FS}, {SEG_GS, FRAME_GS}};
    uint64_t v[FRAME_MAX];
    stack_peek_frame(c, u, st, v, FRAME_MAX, 4);
    if (v[FRAME_RIP] > 0xffff)
        exc_raise_code(c, u, VEC_GP, 0);
    uint64_t flags = merge_flags(c, v[FRAME_FLAGS], 4) | (v[FRAME_FLAGS] & FLAGS_VM86);
    for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint16_t selector = (uint16_t)v[order[i][1]];
        c->s.seg[order[i][0]] = (struct x86_segment){.base = (uint32_t)selector << 4,
                                                     .limit = 0xffff,
                                                     .attr = VM86_ATTR,
                                                     .selector = selector};
    }
    c->gpr[RSP] = v[FRAME_RSP];
    interp_set_rflags(c, flags);
    c->s.nmi_blocked = false;
    interp_update_mode(c);
    return resume_at(c, u, v[FRAME_RIP]);
}

const struct uop *sys_iret(struct interp *c, const struct uop *u)
{
    struct stack st = stack_current(c);
    uint64_t v[FRAME_MAX];
    bool pops_stack = c->mode == CODE_64;
    if (in_protected_mode(c) && (c->s.rflags & RFLAGS_NT)) {
        if (in_long_mode(c))
            exc_raise_code(c, u, VEC_GP, 0);
        return task_return(c, u);
    }
    stack_peek_frame(c, u, &st, v, pops_stack ? 5 : 3, u->opsize);
    if (!in_protected_mode(c))
        return iret_real(c, u, v, &st);
    if ((v[FRAME_FLAGS] & RFLAGS_VM) && u->opsize == 4 && c->cpl == 0 && !in_long_mode(c))
        return iret_to_vm86(c, u, &st);

    struct x86_segment cs, ss = c->s.seg[SEG_SS];
    far_check_return_code(c, u, (uint16_t)v[FRAME_CS], &cs);
    bool outer = (cs.selector & SELECTOR_RPL) > c->cpl;
    if (outer && !pops_stack) {
        stack_peek_frame(c, u, &st, v, 5, u->opsize);
        pops_stack = true;
    }
    if (pops_stack)
        far_check_return_stack(c, u, (uint16_t)v[FRAME_SS], &cs, &ss);
    far_check_rip(c, u, &cs, v[FRAME_RIP]);

    uint64_t flags = merge_flags(c, v[FRAME_FLAGS], u->opsize);
    if (!pops_stack) {
        stack_drop(&st, 3u * u->opsize);
        v[FRAME_RSP] = st.sp;
    }
    interp_set_rflags(c, flags);
    c->s.nmi_blocked = false;
    far_commit_outer(c, &cs, &ss, v[FRAME_RSP], 0);
    return resume_at(c, u, v[FRAME_RIP]);
}
