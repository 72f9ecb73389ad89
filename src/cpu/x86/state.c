/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/x86/state.h"

#include <string.h>

#include "cpu/x86/cpuid.h"

#define PAT_RESET        UINT64_C(0x0007040600070406)
#define MISC_ENABLE_FAST UINT64_C(0x1)
#define DR6_RESET        UINT64_C(0xffff0ff0)
#define DR7_RESET        UINT64_C(0x400)
#define FXSAVE_FCW       0
#define FXSAVE_FTW       4
#define FXSAVE_MXCSR     24
#define FCW_RESET        0x0040u
#define MXCSR_RESET      0x1f80u

static void put_segment(struct x86_segment *seg, uint16_t selector, uint64_t base, uint32_t attr)
{
    seg->selector = selector;
    seg->base = base;
    seg->limit = 0xffff;
    seg->attr = attr;
}

void x86_state_reset(struct x86_state *s)
{
    memset(s, 0, sizeof *s);
    s->rip = 0xfff0;
    s->rflags = RFLAGS_ONE;
    s->gpr[RDX] = CPUID_SIGNATURE;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        put_segment(&s->seg[i], 0, 0, SEG_ATTR_P | SEG_ATTR_S | 0x3);
    put_segment(&s->seg[SEG_CS], 0xf000, 0xffff0000, SEG_ATTR_P | SEG_ATTR_S | 0xb);
    put_segment(&s->ldtr, 0, 0, SEG_ATTR_P | 0x2);
    put_segment(&s->tr, 0, 0, SEG_ATTR_P | 0xb);
    s->gdtr.limit = 0xffff;
    s->idtr.limit = 0xffff;
    s->cr0 = CR0_CD | CR0_NW | CR0_ET;
    s->dr[6] = DR6_RESET;
    s->dr[7] = DR7_RESET;
    s->pat = PAT_RESET;
    s->misc_enable = MISC_ENABLE_FAST;
    s->xcr0 = 1;
    /* An FXSAVE image cannot hold FTW = 5555h (all zero and valid) but as "all valid". */
    s->fpu[FXSAVE_FCW] = FCW_RESET;
    s->fpu[FXSAVE_FTW] = 0xff;
    s->fpu[FXSAVE_MXCSR] = MXCSR_RESET & 0xff;
    s->fpu[FXSAVE_MXCSR + 1] = MXCSR_RESET >> 8;
}
