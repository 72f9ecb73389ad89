/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the translate engine: the interp engine plus native code for hot blocks of 64-bit code
 * and of flat 32-bit code (docs/translator.md). Everything that native code does not do is done by
 * the handler of the same uop, so that there is one implementation of what is rare or odd.
 *
 *   guest register   rax rcx rdx rbx rbp rsi rdi r8 r12..r15   rsp   r9 r10 r11
 *   while native     the same                                  r9    in c.gpr
 *
 * r10 and r11 are scratch, rsp is the stack of pairs (pairs.h), arithmetic flags are in RFLAGS,
 * MM0 counts retired instructions. struct translate lies below 2 GiB so that native code addresses
 * it by 32-bit displacements.
 *
 * Invariants
 *   T1  guest code and state meet only in the fields of struct translate and through windows: a
 *       native access that its window does not answer is done by the handler
 *   T2  native code of a block whose code was written is never entered again, and does not go on
 *       past the store that wrote it
 *   T3  at an exit all guest state is in struct interp; in C the host's MXCSR is its default
 */
#ifndef UMBRA_CPU_TRANSLATE_TRANSLATE_H
#define UMBRA_CPU_TRANSLATE_TRANSLATE_H

#include "cpu/interp/block.h"
#include "cpu/interp/interp.h"
#include "cpu/interp/tier.h"
#include "cpu/translate/code.h"
#include "cpu/translate/direct.h"
#include "cpu/translate/emit.h"
#include "cpu/translate/pairs.h"
#include "cpu/translate/perf_map.h"
#include "cpu/translate/window.h"

#define HOST_T0 X_R10
#define HOST_T1 X_R11
#define HOST_SP X_R9

/* Host register of a guest register, X_NONE: it is in c.gpr. */
static inline unsigned host_reg(unsigned guest)
{
    if (guest == RSP)
        return HOST_SP;
    return guest >= R9 && guest <= R11 ? X_NONE : guest;
}

/* Arithmetic flags: in RFLAGS, in c.flags16, or the same in both. */
enum flags_where { FLAGS_IN_PLACE, FLAGS_AWAY, FLAGS_BOTH };

/* Native code for any address of its page (fixed.c). */
#define ANY_PAGE UINT64_C(1)

/*
 * A way out of native code by a direct branch: u is the branch (retired when the exit is taken);
 * place: the distance of its jump, which goes to the exit itself or to another block's entry;
 * flags: where they are there; loaded: the vectors are in the host's registers there; page: that
 * the code is for.
 */
struct native_exit {
    struct uop u;
    uint64_t page;
    enum flags_where flags;
    bool loaded;
    uint8_t *place;
    const uint8_t *self; /* where place goes when not linked; writable mapping */
    const struct native_block *to;
    struct native_exit *next; /* of those that go to the same block */
};

/* A jump fits in. */
#define FAR_ENTRY_BYTES 5u

/*
 * An immediate in native code that is the guest instruction's at offset off of the page; place
 * NULL: the instruction is its handler's. size: bytes.
 */
struct native_immediate {
    uint8_t *place;
    uint16_t off;
    uint8_t size;
};

/*
 * Native code of one block. entry[FLAGS_IN_PLACE], ...: where the flags are, if they count.
 * far_entry: for jumps from other pages, with the linear address in r10 and the flags in c.flags16;
 * far_bytes: its first, while a stale block has a jump there. in: exits that go to an entry. stops:
 * what runs after each fallback. page: that it is for.
 */
struct native_block {
    uint64_t page;
    uint8_t *entry[FLAGS_BOTH + 1];  /* writable mapping */
    uint8_t *loaded[FLAGS_BOTH + 1]; /* the same, past the question whether vectors are loaded */
    uint8_t *far_entry;
    uint8_t far_bytes[FAR_ENTRY_BYTES];
    struct native_immediate *immediate;
    unsigned immediate_count;
    struct native_exit *in;
    struct uop **stops;
    unsigned stop_count;
};

/*
 * Where the guest's XMM registers and MXCSR are while native code runs. In C they are always in
 * c.s.fpu; VECTORS_IN_HOST means there that they are loaded again when native code goes on.
 */
enum vectors_where { VECTORS_IN_HOST, VECTORS_IN_IMAGE };

#define SHARES 16u

/* An access across two pages: see edge.c. at: offset in the first; page: their host addresses. */
#define EDGE_BYTES 16u
struct edge {
    uint8_t bytes[2 * EDGE_BYTES];
    uint64_t at, page[2];
};

typedef const struct uop *native_enter_fn(const void *entry);

/*
 * Another view of the present address space, for STAC, CLAC, SYSCALL and SYSRET. view: as c->view
 * has it; is_known: it has a window.
 */
struct near_view {
    uint64_t base, view;
    uint32_t window;
    bool is_known;
};

/* Privilege and AC left out; slow views: what is not one of an address space. */
struct near_key {
    uint32_t view[HALVES];
    bool smap, shares, is_32;
};

enum { NEAR_KERNEL, NEAR_KERNEL_AC, NEAR_USER, NEAR_VIEWS };

/* The views of an address space that was present; they are right while `given` is the windows'. */
struct near_space {
    struct near_key key;
    uint64_t given;
    struct near_view near[NEAR_VIEWS];
};

#define NEAR_SPACES 4u

/*
 * An IRET that C has done, so that native code may do the same (iret.c). key: both selectors, in
 * bits 0 and 16 on; page, entry: of the descriptors, and where windows have it; cs_at, ss_at: in
 * that page, where the bytes cs_raw and ss_raw made cs and ss of a descriptor.
 */
struct iret_way {
    uint64_t key, gdt_base, page, entry, cs_at, ss_at, cs_raw, ss_raw;
    uint32_t gdt_limit;
    struct x86_segment cs, ss;
};

enum { IRET_TO_USER, IRET_TO_KERNEL, IRET_TO_KERNEL_NULL, IRET_WAYS }; /* NULL: SS is */

struct translate {
    struct interp c; /* first */
    struct near_view near[NEAR_VIEWS];
    struct near_key near_key; /* that they were found by */
    struct near_space near_space[NEAR_SPACES];
    unsigned next_near_space;
    /* of a call whose stack is looked at: the address, its code, the stack's place */
    uint64_t target, stack_place;
    const uint8_t *target_code;
    struct iret_way iret[IRET_WAYS];
    uint64_t iret_rax; /* the guest's, while an IRET is looked at */
    uint64_t c_rsp, resume; /* rsp of C while native code runs; where a routine comes back to */
    struct pairs pairs;
    uint64_t window_base; /* of the present view; while native code runs also the base of GS */
    uint64_t counts[BLOCK_MAX_INSNS + 1];
    struct clock_tsc_scale tsc; /* mul 0: RDTSC is the handler's */
    uint8_t vectors;            /* enum vectors_where */
    uint32_t host_mxcsr, present_mxcsr;
    uint64_t shared[SHARES];                /* host addresses, within one run (share.c) */
    uint64_t loop_at, loop_left, loop_room; /* on the way into a loop (loop.c) */
    struct edge edge;
    struct code_memory code;
    struct windows windows;
    /* thunks (thunk.c); flags_away: they are in c.flags16 already */
    const uint8_t *to_fallback, *to_fallback_flags_away;
    const uint8_t *to_exit, *to_exit_flags_away;
    const uint8_t *to_arrival; /* leaves to the outer loop; r10: where */
    const uint8_t *vectors_out, *vectors_in, *vectors_gate, *vectors_gate_flags_away; /* vector.c */
    const uint8_t *edge_read, *edge_write, *edge_stored;                              /* edge.c */
    native_enter_fn *enter;
    struct compile *compile;
    struct perf_map *perf_map; /* NULL: not wanted */
    bool profile;              /* native code counts its runs */
    struct callout_counts *callouts;
    struct tier_ops tier;
    struct direct *direct; /* NULL: not wanted, or not possible */
};

#define ABS(field_) ((uint32_t)(uintptr_t) & (field_))

/*
 * 32-bit code is native while addresses need no look at its segments; code in the cache is the
 * same for all of them. Asked on each way from C to native code.
 */
static inline bool code_is_flat(const struct interp *c)
{
    return likely(c->mode == CODE_64) ||
           (c->mode == CODE_32 && c->flat && (c->s.seg[SEG_SS].attr & SEG_ATTR_DB));
}

static inline struct translate *translate_of(struct interp *c)
{
    return (struct translate *)c;
}

/* thunk.c: the window of that address is the present one for native code, the base of GS. */
void put_window(struct emit *e, unsigned reg);

/* The ways between C and native code, written into the code memory. */
void thunks_write(struct translate *t);

/* vector.c: may the guest's vectors be in the host's registers in this state? */
bool vectors_are_allowed(const struct interp *c);
/* Routines that the others use; those that blocks call, which use to_exit_flags_away. */
void vectors_write_routines(struct emit *e, struct translate *t);
void vectors_write_gates(struct emit *e, struct translate *t);
/* To the image and back, where they are the host's; eax and flags are lost. */
void put_vectors_out(struct emit *e, struct translate *t);
void put_vectors_in(struct emit *e, struct translate *t);
void put_vectors_are(struct emit *e, struct translate *t, enum vectors_where where);

/* edge.c: routines that blocks call. */
void edges_write_routines(struct emit *e, struct translate *t);

/* compile.c: native code of a block; NULL: it is not worth it, or there is no room. */
struct native_block *translate_block(struct translate *t, struct tier_block *b);
enum err compile_create(struct translate *t) MUST_USE;
void compile_destroy(struct translate *t);

/* callouts.c: why native code leaves instructions to their handlers. */
struct callout_counts;
enum callout_why { CALLOUT_NO_FORM, CALLOUT_WINDOW, CALLOUT_STATE, CALLOUT_REASONS };
enum err callouts_create(struct callout_counts **out) MUST_USE;
void callouts_count(struct callout_counts *counts, unsigned mnemonic, enum callout_why why);
unsigned callouts_top(const struct callout_counts *counts, struct engine_callout *out,
                      unsigned room);

/* rewrite.c: the blocks of code that is written. */
void native_stale(struct interp *c, struct uop *head);
void native_revive(struct interp *c, struct uop *head);
bool native_patch(struct interp *c, struct uop *head, const struct uop *u, const uint8_t *bytes,
                  unsigned size);

/* iret.c: nothing was done yet. */
void iret_ways_forget(struct translate *t);
uop_fn op_iret;

/* exit.c: called by native code. */
const struct uop *native_fallback(struct interp *c, const struct uop *u);
uop_fn op_native, op_learn_and_leave, op_resume, op_direct_exit, op_interpret;

extern const struct engine_ops engine_translate;

#endif
