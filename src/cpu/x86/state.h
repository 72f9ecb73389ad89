/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Architectural state of one x86-64 CPU, engine-neutral. Engines may keep parts elsewhere while
 * running and exchange this through engine get_state/set_state. Layout of fpu: FXSAVE64 image (SDM
 * 1 10.5.1).
 */
#ifndef UMBRA_CPU_X86_STATE_H
#define UMBRA_CPU_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum x86_gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum x86_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* Segment attributes: descriptor bits 40..55 packed as in VMX access rights (SDM 3C 24.4.1). */
#define SEG_ATTR_TYPE      0x000fu
#define SEG_ATTR_S         0x0010u
#define SEG_ATTR_DPL       0x0060u
#define SEG_ATTR_DPL_SHIFT 5
#define SEG_ATTR_P         0x0080u
#define SEG_ATTR_AVL       0x1000u
#define SEG_ATTR_L         0x2000u
#define SEG_ATTR_DB        0x4000u
#define SEG_ATTR_G         0x8000u
#define SEG_ATTR_UNUSABLE  0x10000u

/* limit is in bytes (granularity applied). */
struct x86_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t attr;
    uint16_t selector;
};

struct x86_table {
    uint64_t base;
    uint16_t limit;
};

#define RFLAGS_CF    0x00000001u
#define RFLAGS_ONE   0x00000002u
#define RFLAGS_PF    0x00000004u
#define RFLAGS_AF    0x00000010u
#define RFLAGS_ZF    0x00000040u
#define RFLAGS_SF    0x00000080u
#define RFLAGS_TF    0x00000100u
#define RFLAGS_IF    0x00000200u
#define RFLAGS_DF    0x00000400u
#define RFLAGS_OF    0x00000800u
#define RFLAGS_IOPL  0x00003000u
#define RFLAGS_NT    0x00004000u
#define RFLAGS_RF    0x00010000u
#define RFLAGS_VM    0x00020000u
#define RFLAGS_AC    0x00040000u
#define RFLAGS_VIF   0x00080000u
#define RFLAGS_VIP   0x00100000u
#define RFLAGS_ID    0x00200000u
#define RFLAGS_ARITH (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define CR0_PE 0x00000001u
#define CR0_MP 0x00000002u
#define CR0_EM 0x00000004u
#define CR0_TS 0x00000008u
#define CR0_ET 0x00000010u
#define CR0_NE 0x00000020u
#define CR0_WP 0x00010000u
#define CR0_AM 0x00040000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u

#define CR4_VME        0x00000001u
#define CR4_PVI        0x00000002u
#define CR4_TSD        0x00000004u
#define CR4_DE         0x00000008u
#define CR4_PSE        0x00000010u
#define CR4_PAE        0x00000020u
#define CR4_MCE        0x00000040u
#define CR4_PGE        0x00000080u
#define CR4_PCE        0x00000100u
#define CR4_OSFXSR     0x00000200u
#define CR4_OSXMMEXCPT 0x00000400u
#define CR4_UMIP       0x00000800u
#define CR4_LA57       0x00001000u
#define CR4_FSGSBASE   0x00010000u
#define CR4_PCIDE      0x00020000u
#define CR4_OSXSAVE    0x00040000u
#define CR4_SMEP       0x00100000u
#define CR4_SMAP       0x00200000u
#define CR4_PKE        0x00400000u

#define EFER_SCE 0x001u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

enum x86_vector {
    VEC_DE = 0,
    VEC_DB = 1,
    VEC_NMI = 2,
    VEC_BP = 3,
    VEC_OF = 4,
    VEC_BR = 5,
    VEC_UD = 6,
    VEC_NM = 7,
    VEC_DF = 8,
    VEC_TS = 10,
    VEC_NP = 11,
    VEC_SS = 12,
    VEC_GP = 13,
    VEC_PF = 14,
    VEC_MF = 16,
    VEC_AC = 17,
    VEC_MC = 18,
    VEC_XM = 19
};

struct x86_state {
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags;
    struct x86_segment seg[SEG_COUNT];
    struct x86_segment ldtr, tr;
    struct x86_table gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t pdpte[4];
    uint64_t dr[8];
    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_aux, tsc_adjust, misc_enable, spec_ctrl;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys_base[8], mtrr_phys_mask[8];
    uint64_t xcr0;
    uint32_t pkru;
    bool halted;
    bool nmi_blocked;
    bool irq_shadow; /* STI or MOV SS just retired */
    uint8_t fpu[512] __attribute__((aligned(64)));
};

/* State after power-on or INIT (SDM 3A table 10-1). */
void x86_state_reset(struct x86_state *s);

#endif
