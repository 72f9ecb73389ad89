/* SPDX-License-Identifier: Apache-2.0 */
/* Protection keys for user pages: RDPKRU and WRPKRU (SDM 2B, SDM 3A 4.6.2). */
#include "cpu/interp/run.h"
#include "cpu/interp/system.h"

void pkru_set(struct interp *c, uint32_t value)
{
    if (c->s.pkru == value)
        return;
    c->s.pkru = value;
    if (c->s.cr4 & CR4_PKE)
        interp_update_mmu(c, MMU_SWITCH_KEEP);
}

static void check_pku(struct interp *c, const struct uop *u)
{
    if (!(c->s.cr4 & CR4_PKE))
        exc_raise(c, u, VEC_UD);
    if ((uint32_t)c->gpr[RCX])
        exc_raise_code(c, u, VEC_GP, 0);
}

const struct uop *sys_rdpkru(struct interp *c, const struct uop *u)
{
    check_pku(c, u);
    c->gpr[RAX] = c->s.pkru;
    c->gpr[RDX] = 0;
    NEXT;
}

const struct uop *sys_wrpkru(struct interp *c, const struct uop *u)
{
    check_pku(c, u);
    if ((uint32_t)c->gpr[RDX])
        exc_raise_code(c, u, VEC_GP, 0);
    pkru_set(c, (uint32_t)c->gpr[RAX]);
    return goto_next_insn(c, u);
}
