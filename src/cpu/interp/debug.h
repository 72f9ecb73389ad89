/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug registers and single step (SDM 3B 17). The hooks around an instruction, debug_before_insn
 * and debug_after_insn, are declared in interp.h.
 */
#ifndef UMBRA_CPU_INTERP_DEBUG_H
#define UMBRA_CPU_INTERP_DEBUG_H

#include "cpu/interp/interp.h"

#define DR6_B       0xfu /* B0..B3 */
#define DR6_BD      0x2000u
#define DR6_BS      0x4000u
#define DR6_BT      0x8000u
#define DR6_ONE     0xffff0ff0u
#define DR7_GD      0x2000u
#define DR7_ONE     0x400u
#define DR7_ENABLES 0xffu

/* Does DR7 enable any breakpoint? */
static inline bool debug_has_breakpoints(const struct interp *c)
{
    return c->s.dr[7] & DR7_ENABLES;
}

/*
 * Notes in c->dr6_pending the I/O breakpoints (CR4.DE) that an access meets; the trap follows the
 * instruction.
 */
void debug_note_io(struct interp *c, uint16_t port, unsigned bytes);

#endif
