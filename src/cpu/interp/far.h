/* SPDX-License-Identifier: Apache-2.0 */
/* What far RET and IRET share: the checks of a return, and its commit. */
#ifndef UMBRA_CPU_INTERP_FAR_H
#define UMBRA_CPU_INTERP_FAR_H

#include "cpu/interp/interp.h"
#include "cpu/interp/seg.h"

/* In long mode a code segment must not have both L and D. */
static inline bool far_is_bad_long_code(const struct interp *c, uint32_t attr)
{
    return in_long_mode(c) && (attr & (SEG_ATTR_L | SEG_ATTR_DB)) == (SEG_ATTR_L | SEG_ATTR_DB);
}

/* #GP(0) unless rip is canonical (64-bit code) or within the limit. */
void far_check_rip(struct interp *c, const struct uop *u, const struct x86_segment *cs,
                   uint64_t rip);

/* CS of a return: selector's RPL is the level returned to. */
void far_check_return_code(struct interp *c, const struct uop *u, uint16_t selector,
                           struct x86_segment *cs);

/* SS of a return to the level of cs. */
void far_check_return_stack(struct interp *c, const struct uop *u, uint16_t selector,
                            const struct x86_segment *cs, struct x86_segment *ss);

/* CS, SS, RSP (then += drop) and the data segments after a return that pops a stack. */
void far_commit_outer(struct interp *c, const struct x86_segment *cs, const struct x86_segment *ss,
                      uint64_t rsp, uint64_t drop);

#endif
