/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the interp engine: the vCPU struct, the decoded instruction ("uop") and the rules that
 * every instruction handler obeys.
 *
 * Decode once, run many times: block.c decodes straight-line runs of guest code into arrays of
 * uops, keyed by guest-physical page, offset and code mode. A handler does its work and goes on
 * with NEXT (next uop of the block) or, at a block's end, with one of the branch helpers of run.h.
 *
 * Rules for handlers
 *   R1  Atomic on a fault: every check and every access that can fault comes before the first
 *       change of guest-visible state (registers, flags, memory). An exception leaves by longjmp
 *       and never returns.
 *   R2  Where the instruction is: insn_rip(c, u) and insn_next_rip(c, u); c->rip itself is only
 *       valid between blocks.
 *   R3  Guest memory only through mem.h (mem_ld*, mem_st*, mem_rmw_*, lin_*).
 *   R4  Flags only through flags.h.
 *   R5  An instruction that may change the mode, the mapping or interruptibility ends its block:
 *       its builder sets d->ends_block and its handler finishes with goto_next_insn(c, u) (run.h).
 *
 * Registers are addressed by their byte offset in c->gpr ("reg" below): rax 0, rcx 8, ... r15 120;
 * the byte registers ah, ch, dh, bh are 1, 9, 17, 25. GPR_ZERO reads as 0 and GPR_PAGE as the
 * linear address of the page that holds the running block, so that an effective address is always
 * base + index * scale + disp without a test.
 */
#ifndef UMBRA_CPU_INTERP_INTERP_H
#define UMBRA_CPU_INTERP_INTERP_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/invariant.h"
#include "base/log.h"
#include "cpu/engine.h"
#include "cpu/interp/tlb_frames.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "mmu/mmu.h"

struct interp;
struct uop;
struct code_page;
struct tier_ops;

/* Returns the uop to run next, NULL: back to the outer loop (c->rip is valid then). */
typedef const struct uop *uop_fn(struct interp *c, const struct uop *u);

/*
 * imm:    immediate, sign-extended; direct branches: target as offset from the block's page start
 * disp:   displacement of the memory operand (RIP-relative: from the page start, base GPR_PAGE)
 * dst, src, src2: registers as byte offsets in gpr, or xmm/mm/st numbers; meaning by handler
 * base, index: byte offsets in gpr; scale: shift 0..3; seg: enum x86_seg that counts
 * opsize, addrsize: 1, 2, 4, 8 bytes
 * off:    offset of the first byte in its page; len: bytes
 * n, m:   instructions of the block up to and including this one, and their memory operands
 */
struct uop {
    uop_fn *fn;
    int64_t imm;
    const struct uop *link; /* branches: target in the same page, NULL until known */
    void *extra;            /* family's own (static data only) */
    int64_t disp;
    uint8_t dst, src, src2;
    uint8_t base, index, scale, seg;
    uint8_t opsize, addrsize;
    uint8_t len;
    uint8_t prefix; /* UOP_* */
    uint8_t cond;   /* family's own small number */
    uint16_t off;
    uint8_t n, m;
};

#define UOP_LOCK  0x01
#define UOP_REP   0x02 /* F3 */
#define UOP_REPNE 0x04 /* F2 */

#define GPR_ZERO  (16 * 8)
#define GPR_PAGE  (17 * 8)
#define GPR_SLOTS 18

/* The kind of code running: bits of the decode key. */
enum code_mode { CODE_16, CODE_32, CODE_64, CODE_MODES };

/*
 * Software TLB entry for data: tag = linear page | view; equal means hit. An entry allows reads
 * when rtag matches and direct writes when wtag matches. host = lin + addend. note: guest physical
 * page; with TLB_NOTED and a matching rtag, writes are allowed to who tells mem of them. Aligned so
 * that an index is a shift.
 */
struct tlb_entry {
    uint64_t rtag;
    uint64_t wtag;
    uint64_t addend;
    uint64_t note;
} __attribute__((aligned(32)));

#define TLB_NOTED 1u

struct fetch_entry {
    uint64_t tag;
    struct code_page *page;
};

#define TLB_ENTRIES   16384 /* 64 MiB of pages */
#define FETCH_HALF    4096  /* of each half of the address space */
#define FETCH_ENTRIES (2 * FETCH_HALF)
#define TLB_MIXES     8u
#define TLB_VIEWS     4u /* of an address space; a place of one is also a place of some mix */
#define TLB_NO_TAG    1  /* never a real tag: low 12 bits of those are at least 4 (asid >= 1) */

/*
 * view       = asid << 2 | AC << 1 | user   (data; AC only where SMAP is on)
 * fetch_view = asid << 2 | user | code mode in bits 57..59, which no canonical address has alone
 *
 * Both for each half of the address space (half_of), each with an asid of its own (tlb.c).
 *
 * VIEW_SLOW is never in a tag: every data access takes the slow path (alignment checks, data
 * breakpoints, the shadow oracle).
 */
#define VIEW_SLOW             3u
#define VIEW_AC               2u
#define VIEW_USER             1u
#define FETCH_VIEW_MODE_SHIFT 57
#define HALVES                2u

enum leave_why { LEAVE_NOT, LEAVE_RAISED, LEAVE_HOST_ERROR, LEAVE_TO_RUN_ALONE };

/* A pending exception, filled by exc_raise*. */
struct interp_exception {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t cr2;
};

/*
 * The upper half of the address space, where kernels live (tlb.c). Its entries have one tag for all
 * address spaces; those of translations that are not global are listed and go at each switch.
 *
 * shares:   it is so, and the tag is the MMU's for global translations; else that of the address
 *           space
 * asid:     the address space that the listed entries belong to
 * local, local_fetch: places in tlb and fetch; counts beyond LOCALS: everything of the half goes
 * switches, dropped:  what says whether sharing pays
 */
#define LOCALS 64u
struct upper_half {
    bool shares;
    uint32_t asid;
    unsigned local_count, local_fetch_count;
    uint16_t local[LOCALS], local_fetch[LOCALS];
    unsigned switches, dropped;
};

/* The second half of a task switch, in the new task (task.c). */
struct task_rest {
    bool waits; /* it has begun and not ended */
    bool in_event, has_error, is32, trap, ends_nmi;
    uint32_t error;
};

/* What a turn of the run loop takes away before its first instruction, should that not begin. */
struct turn {
    uint64_t icount;
    bool inhibit_irq, inhibit_debug, rf;
};

struct interp {
    struct vcpu base; /* first */

    /* --- hot --- */
    uint64_t gpr[GPR_SLOTS];
    uint16_t flags16; /* arithmetic flags: see flags.h */
    bool cs_limited;  /* CS ends below 4 GiB (not in 64-bit mode): checked before each block */
    /* low 12 bits of data TLB tags: asid and privilege, or VIEW_SLOW */
    uint32_t view[HALVES] __attribute__((aligned(8)));
    uint64_t fetch_view[HALVES]; /* XORed into fetch tags: asid, privilege and code mode */
    /* of the asid: address spaces that look alike do not share entries */
    uint32_t mix[HALVES];
    char *arena; /* block.c: uops of all blocks; slots hold offsets into it in units of 8 bytes */
    uint64_t icount;                  /* retired, all finished blocks */
    uint64_t mem_operands;            /* of the retired ones, for statistics */
    atomic_uint_fast64_t icount_stop; /* leave the block loop when icount reaches it; 0: at once */
    uint64_t rip;                     /* valid between blocks only (16/32-bit: EIP) */
    /*
     * The uop that raises an exception (set by exc_raise*), or that talks to the bus now (set and
     * cleared around bus calls, so that the count of instructions is exact for devices); NULL
     * otherwise.
     */
    const struct uop *cur;
    struct tlb_entry tlb[TLB_ENTRIES];
    struct tlb_link tlb_link[TLB_ENTRIES];
    uint16_t tlb_head[TLB_HEADS];
    struct fetch_entry fetch[FETCH_ENTRIES];
    /* of each entry of tlb, which copies a tier has (tier.h) */
    uint8_t tlb_copies[TLB_ENTRIES] __attribute__((aligned(8)));
    const struct tier_ops *tier;
    unsigned hot_runs; /* runs of a block before it is offered to the tier */
    bool tier_full;    /* it has no room left: drop everything */
    struct upper_half upper;

    /* --- architectural state; gpr, rip and arithmetic flags live above while running --- */
    struct x86_state s; /* s.rflags holds all but RFLAGS_ARITH */
    uint8_t cpl;
    enum code_mode mode;
    bool flat; /* CS, DS, ES, SS have base 0 and limit 4 GiB, or 64-bit mode: no checks */

    /* --- control --- */
    jmp_buf on_exception; /* _longjmp with LEAVE_RAISED after filling exc */
    struct interp_exception exc;
    bool delivering; /* an event is being delivered: a fault now is a nested one */
    uint8_t delivering_vector;
    uint8_t delivering_kind; /* enum event_kind */
    bool delivering_has_error;
    uint32_t delivering_error;
    uint64_t delivering_return_rip;
    /*
     * What the failing host interrupted: an event that is still to be delivered, a task switch
     * whose segments are still to be loaded
     */
    bool event_waits;
    struct task_rest task;
    struct turn turn;
    bool inhibit_debug; /* MOV SS just retired: debug traps wait one more (SDM 3A 6.8.3) */
    bool no_step_trap;  /* the instruction that just ran does not end in a single-step trap */
    atomic_bool irq_line;
    atomic_bool nmi_pending;
    atomic_bool kicked;
    bool inhibit_irq; /* one instruction after STI or MOV SS */
    bool shutdown;
    bool budgeted;
    bool alone;     /* the next instruction runs as a block of its own: leave_to_run_alone */
    bool slow_step; /* TF or a breakpoint in DR7: one instruction at a time, by interp_step */
    bool mmu_oracle;
    uint64_t dr6_pending; /* data breakpoints met by this instruction */

    struct guest_mem *mem;
    struct mmu *mmu;
    const struct cpu_bus *bus;
    struct code_cache *cache;
    struct cpu_identity identity;
    uint8_t canonical_shift; /* unused upper bits of an address: 16, with LA57 in use 7 */
    uint64_t rng;            /* state of RDRAND where runs must repeat themselves */
    struct cpu_stats stats;
    struct uop step[2]; /* the one instruction of block_decode_step, and its end */
    uint64_t stop_at; /* icount at which the bus wants to be polled; icount_stop is this or less */
    uint64_t look_at; /* the same for the tier, which wants a turn of the outer loop */
    uint32_t msr_logged[16]; /* unknown MSRs that were reported already */
    unsigned msr_logged_count;
    /* bounce for read-modify-write that the TLB does not answer, see mem.h; for CMPXCHG16B, too */
    uint8_t rmw_buf[64] __attribute__((aligned(16)));
    uint64_t rmw_lin;
    unsigned rmw_bytes;
    uint8_t page_buf[PAGE_SIZE]; /* a page on its way to one that is overwritten */
    /* a vector memory operand that is not used in place */
    uint8_t fp_buf[32] __attribute__((aligned(16)));
};

/*
 * How a handler goes on. Plain NEXT returns the next uop to the loop in interp.c: always right, a
 * few ns slower. A file of hot handlers defines INTERP_HOT before it includes this header; its NEXT
 * is then a sibling call, where the build makes those (UMBRA_TAILCALL). A handler of such a file
 * must not take the address of a local, or the call becomes a real one and the host's stack grows
 * with every instruction: use NEXT_LOOP in it.
 */
#if defined(UMBRA_TAILCALL) && defined(INTERP_HOT)
#define GO(u_) return (u_)->fn(c, (u_))
#else
#define GO(u_) return (u_)
#endif
#define NEXT      GO(u + 1)
#define NEXT_LOOP return u + 1

#define GPR8(off)  (*(uint8_t *)((char *)c->gpr + (off)))
#define GPR16(off) (*(uint16_t *)((char *)c->gpr + (off)))
#define GPR32(off) (*(uint32_t *)((char *)c->gpr + (off)))
#define GPR64(off) (*(uint64_t *)((char *)c->gpr + (off)))

/* A 32-bit register write clears the upper half; 8- and 16-bit writes keep the rest. */
#define SET_GPR32(off, v) (GPR64(off) = (uint32_t)(v))

#define CANONICAL_SHIFT_48 16
#define CANONICAL_SHIFT_57 7

/* 1: an address with its sign bit set; in 32-bit modes there is none. */
static inline unsigned half_of(uint64_t lin)
{
    return (unsigned)(lin >> 63);
}

/* Places of a linear address in tlb and fetch, in the address space of this mix. */
static inline unsigned tlb_index(uint64_t lin, unsigned mix)
{
    return (unsigned)((lin >> PAGE_SHIFT ^ mix * (TLB_ENTRIES / TLB_MIXES)) % TLB_ENTRIES);
}

/*
 * Kernels and programs begin at round addresses, so that their pages would meet however spaces are
 * mixed: they have places of their own.
 */
static inline unsigned fetch_index(uint64_t lin, unsigned mix)
{
    return half_of(lin) * FETCH_HALF +
           (unsigned)((lin >> PAGE_SHIFT ^ mix * (FETCH_HALF / TLB_MIXES)) % FETCH_HALF);
}

static inline bool is_sign_extended(uint64_t lin, unsigned shift)
{
    return (uint64_t)((int64_t)(lin << shift) >> shift) == lin;
}

/* An address to use now: 48 bits with four levels, 57 with five (SDM 1 3.3.7.1). */
static inline bool is_canonical(const struct interp *c, uint64_t lin)
{
    return is_sign_extended(lin, c->canonical_shift);
}

/*
 * An address to keep: bases of segments and descriptor tables, MSRs, invalidations. CPUs hold these
 * against the widest address they know, whatever CR4.LA57 says.
 */
static inline bool is_canonical_base(const struct interp *c, uint64_t lin)
{
    return is_sign_extended(lin, c->identity.features & CPU_FEATURE_LA57 ? CANONICAL_SHIFT_57
                                                                         : CANONICAL_SHIFT_48);
}

/*
 * The instruction's own address and that of the next one, as the guest sees them (RIP or EIP or
 * IP).
 */
uint64_t insn_rip(const struct interp *c, const struct uop *u);
uint64_t insn_next_rip(const struct interp *c, const struct uop *u);

/*
 * --- exception.c: raise; never returns. ---
 * u: the faulting instruction (RIP is pushed as its own address). NULL: between instructions,
 * c->rip and c->icount are valid already (a fetch fault).
 */
_Noreturn void exc_raise(struct interp *c, const struct uop *u, enum x86_vector vector);
_Noreturn void exc_raise_code(struct interp *c, const struct uop *u, enum x86_vector vector,
                              uint32_t error);
_Noreturn void exc_raise_pf(struct interp *c, const struct uop *u, uint64_t cr2, uint32_t error);

/*
 * exception.c: the event kinds that deliver takes (SDM 3A 6). Called between blocks with c->rip
 * valid; all the faults of delivery itself (double fault, triple fault) are resolved inside. After
 * it c->rip is the handler's.
 */
enum event_kind { EVENT_FAULT, EVENT_TRAP, EVENT_SOFT_INT, EVENT_INT1, EVENT_EXTERNAL, EVENT_NMI };
void exc_deliver(struct interp *c, enum event_kind kind, uint8_t vector, bool has_error,
                 uint32_t error, uint64_t return_rip);

/*
 * exception.c: called by the outer loop after a raise (longjmp): brings c->rip and c->icount to the
 * faulting instruction c->cur (icount += n - 1; nothing when NULL), delivers c->exc, clears c->cur.
 * Double and triple faults are resolved inside (c->shutdown).
 */
void exc_handle_raised(struct interp *c);

/*
 * exception.c: hooks around one instruction while c->slow_step. before: instruction breakpoints at
 * c->rip; true when an event was delivered instead of running the instruction. after: single step
 * (tf: RFLAGS.TF before the instruction) and data breakpoints (c->dr6_pending), as traps.
 */
bool debug_before_insn(struct interp *c);
void debug_after_insn(struct interp *c, bool tf);

/* exception.c: one instruction with RFLAGS.TF was executed by other means than the engine's. */
void debug_after_step_elsewhere(struct interp *c);

/*
 * Leaves the engine with ENGINE_EXIT_HOST_ERROR (err_text() is set). Like a raise, with the same u
 * and by the same rule R1: the instruction or the event begins anew when the engine runs again.
 */
_Noreturn void leave_host_error(struct interp *c, const struct uop *u);

/* Likewise, but the instruction runs at once, as a block of its own. Not within an event. */
_Noreturn void leave_to_run_alone(struct interp *c, const struct uop *u);

/* exception.c: called after it, and when the engine runs again. */
void exc_begin_anew(struct interp *c);
void exc_resume(struct interp *c);

/* --- sysreg.c / seg.c: state changes that have consequences for mode, views and MMU --- */

/*
 * Recomputes cpl, mode, flat, cs_limited, slow_step from c->s and calls tlb_update_views. After
 * every change of CS, SS, DS, ES, CR0, CR4, EFER, DR7, TF or AC.
 */
void interp_update_mode(struct interp *c);

/* Hands c->s.cr0/cr3/cr4/efer to the MMU and takes the new asid into the views. */
void interp_update_mmu(struct interp *c, enum mmu_switch how);

/* pkru.c: the rights of the keys; all that follows for the views. */
void pkru_set(struct interp *c, uint32_t value);

/* --- tlb.c --- */
extern const struct mmu_tlb_ops interp_tlb_ops;
void tlb_flush_all(struct interp *c);
/*
 * Recomputes view and fetch_view from cpl, mode, cs_limited, RFLAGS.AC, CR0, CR4, DR7 and the
 * MMU's asids; in another address space than before, the upper half's local entries go.
 */
void tlb_update_views(struct interp *c);

/* c->tlb[i] or c->fetch[i], of the upper half, has been filled with what is not global. */
void tlb_note_local(struct interp *c, unsigned i);
void fetch_note_local(struct interp *c, unsigned i);

/* Answers what the thread did before. A raise ends in ENGINE_interpreter. */
static inline enum engine_phase phase_set(struct interp *c, enum engine_phase phase)
{
    uint8_t before = atomic_load_explicit(&c->base.phase, memory_order_relaxed);

    atomic_store_explicit(&c->base.phase, (uint8_t)phase, memory_order_relaxed);
    return (enum engine_phase)before;
}

/* Around calls of the bus by instruction u: counts of instructions are exact for devices. */
static inline enum engine_phase bus_begin(struct interp *c, const struct uop *u)
{
    c->cur = u;
    return phase_set(c, ENGINE_outside);
}

static inline void bus_end(struct interp *c, enum engine_phase before)
{
    c->cur = NULL;
    phase_set(c, before);
}

/* mmu_translate in a phase of its own. */
static inline void interp_translate(struct interp *c, const struct mmu_access *a, bool ac,
                                    struct mmu_result *r)
{
    enum engine_phase before = phase_set(c, ENGINE_mmu);

    mmu_translate(c->mmu, a, ac, r);
    phase_set(c, before);
}

/* Whole RFLAGS: arithmetic part from flags16, the rest from s.rflags; set splits again. */
uint64_t interp_rflags(const struct interp *c);
void interp_set_rflags(struct interp *c, uint64_t value);

/* interp.c: operations of any engine whose struct begins with struct interp. */
enum err interp_init(struct interp *c, const struct vcpu_config *config) MUST_USE;
void interp_fini(struct interp *c);
enum engine_exit interp_vcpu_run(struct vcpu *vcpu);
/* Blocks leave at that count, or at once if somebody wants attention. */
void interp_set_stop(struct interp *c, uint64_t at);
void interp_vcpu_kick(struct vcpu *vcpu);
void interp_vcpu_set_irq(struct vcpu *vcpu, bool level);
void interp_vcpu_raise_nmi(struct vcpu *vcpu);
void interp_vcpu_get_state(struct vcpu *vcpu, struct x86_state *out);
void interp_vcpu_set_state(struct vcpu *vcpu, const struct x86_state *in);
uint64_t interp_vcpu_instructions(const struct vcpu *vcpu);
const struct cpu_stats *interp_vcpu_stats(const struct vcpu *vcpu);
struct mmu *interp_vcpu_mmu(struct vcpu *vcpu);
void interp_vcpu_trim(struct vcpu *vcpu);

extern const struct engine_ops engine_interp;

#endif
