/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers of the system half, by file, as system.c's builder puts them into uops; and the
 * small checks they share. Operand conventions are the builder's: dst and src are registers (byte
 * offsets in gpr) unless said otherwise; OPERAND_MEMORY in u->cond says that the r/m operand is
 * memory.
 */
#ifndef UMBRA_CPU_INTERP_SYSTEM_H
#define UMBRA_CPU_INTERP_SYSTEM_H

#include "cpu/interp/interp.h"
#include "cpu/interp/run.h"

#define OPERAND_MEMORY 1

/*
 * Goes on at rip after a change of mode or flags: straight to the next block, or by way of the
 * outer loop when an event could be taken now that could not before.
 */
static inline const struct uop *resume_at(struct interp *c, const struct uop *u, uint64_t rip)
{
    if (c->slow_step || atomic_load_explicit(&c->nmi_pending, memory_order_relaxed) ||
        ((c->s.rflags & RFLAGS_IF) && atomic_load_explicit(&c->irq_line, memory_order_relaxed)))
        return leave_to(c, u, rip);
    return goto_rip(c, u, rip);
}

/* #GP(0) unless CPL 0. */
static inline void require_cpl0(struct interp *c, const struct uop *u)
{
    if (c->cpl != 0)
        exc_raise_code(c, u, VEC_GP, 0);
}

static inline unsigned iopl(const struct interp *c)
{
    return (c->s.rflags & RFLAGS_IOPL) >> 12;
}

/* --- sysreg.c --- */
uop_fn sys_mov_from_cr; /* dst, number in imm */
uop_fn sys_mov_to_cr;   /* src, number in imm */
uop_fn sys_clts;
uop_fn sys_lmsw; /* r/m16: src */
uop_fn sys_smsw; /* r/m: dst */
uop_fn sys_invlpg;
uop_fn sys_invpcid; /* type: src */

/* MSR C0000080h. */
void efer_write(struct interp *c, const struct uop *u, uint64_t value);

/* --- debug.c --- */
uop_fn sys_mov_from_dr; /* dst, number in imm */
uop_fn sys_mov_to_dr;   /* src, number in imm */

/* --- msr.c --- */
uop_fn sys_rdmsr;
uop_fn sys_wrmsr;
uop_fn sys_rdtsc;
uop_fn sys_rdtscp;
uop_fn sys_rdpmc;
uop_fn sys_rdpid; /* dst */
uop_fn sys_swapgs;
uop_fn sys_rdfsbase; /* dst; SEG_FS or SEG_GS in cond */
uop_fn sys_wrfsbase; /* src; SEG_FS or SEG_GS in cond */

/* --- syscall.c --- */
uop_fn sys_syscall;
uop_fn sys_sysret;
uop_fn sys_sysenter;
uop_fn sys_sysexit;

/* --- far.c --- */
uop_fn sys_jmp_far_direct; /* selector in src2 | dst << 8, offset in imm */
uop_fn sys_jmp_far_memory;
uop_fn sys_call_far_direct;
uop_fn sys_call_far_memory;
uop_fn sys_ret_far; /* bytes to drop in imm */

/* --- iret.c --- */
uop_fn sys_iret;

/* --- pkru.c --- */
uop_fn sys_rdpkru;
uop_fn sys_wrpkru;

/* --- io.c --- */
uop_fn sys_in_imm; /* port in imm; opsize: bytes */
uop_fn sys_in_dx;
uop_fn sys_out_imm;
uop_fn sys_out_dx;
uop_fn sys_ins;
uop_fn sys_outs;

/* --- segops.c --- */
uop_fn sys_mov_from_sreg; /* dst or memory; register number in src */
uop_fn sys_mov_to_sreg;   /* src or memory; register number in dst */
uop_fn sys_push_sreg;     /* register number in src */
uop_fn sys_pop_sreg;      /* register number in dst */
uop_fn sys_load_far;      /* LDS, LES, LFS, LGS, LSS: dst; register number in src */
uop_fn sys_lgdt;
uop_fn sys_lidt;
uop_fn sys_sgdt;
uop_fn sys_sidt;
uop_fn sys_lldt;
uop_fn sys_ltr;
uop_fn sys_sldt;
uop_fn sys_str;
uop_fn sys_lar;
uop_fn sys_lsl;
uop_fn sys_verr;
uop_fn sys_verw;
uop_fn sys_arpl;

/* --- flagops.c --- */
uop_fn sys_pushf;
uop_fn sys_popf;
uop_fn sys_cli;
uop_fn sys_sti;
uop_fn sys_stac;
uop_fn sys_clac;

/* --- system.c: the rest --- */
uop_fn sys_hlt;
uop_fn sys_int; /* vector in imm */
uop_fn sys_into;
uop_fn sys_int1;
uop_fn sys_int3;
uop_fn sys_cpuid;
uop_fn sys_hypercall;
uop_fn sys_wbinvd;

#endif
