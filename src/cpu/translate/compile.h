/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one translation; shared by the files that write native code. */
#ifndef UMBRA_CPU_TRANSLATE_COMPILE_H
#define UMBRA_CPU_TRANSLATE_COMPILE_H

#include "cpu/translate/insn.h"
#include "cpu/translate/runs.h"
#include "cpu/translate/translate.h"

/*
 * A way to the handler: the check at `from` failed. Goes on at `resume`; NULL: leaves native code,
 * because the handler branches. looked_up: r10 and r11 are as put_lookup leaves them. access: the
 * instruction's own, behind the check, if it may lie across two pages; stored: bytes, 0: it reads.
 */
struct slow_way {
    uint8_t *from;
    const uint8_t *access;
    unsigned stored;
    bool looked_up;
    const uint8_t *resume;
    const struct uop *uop;
    enum flags_where flags;
};

/*
 * A branch taken: the jump at `from` (NULL: falls in) leads to the exit. exit NULL: its target is
 * in another page; u: the branch.
 */
struct taken_way {
    uint8_t *from;
    struct native_exit *exit;
    const struct uop *u;
    bool polls, flags_live, from_loop;
    enum flags_where flags;
};

/*
 * The question before a block's first vector instruction, uop, from `start` to `resume`; from NULL:
 * not asked yet.
 */
struct vector_gate {
    uint8_t *from;
    const uint8_t *start;
    uint8_t *resume;
    const struct uop *uop;
    bool by_rcx;
    enum flags_where flags;
};

struct compile {
    struct translate *t;
    struct emit e, other; /* is_cold: e is for what runs rarely, other for what runs often */
    bool is_cold;
    struct dec dec;
    const struct tier_block *b;
    struct tier_block across; /* across.c: the block as b, where its instruction goes on in the */
    unsigned across_bytes;    /* next page; its length, 0: it does not; and its bytes */
    uint8_t across_code[ZYDIS_MAX_INSTRUCTION_LENGTH];
    unsigned n;    /* instructions */
    uint64_t page; /* that the code is for, or ANY_PAGE */
    unsigned word; /* bytes of an address, a stack slot, a target: 8, in 32-bit code 4 */
    ZydisDecodedInstruction i[BLOCK_MAX_INSNS];
    ZydisDecodedOperand op[BLOCK_MAX_INSNS][ZYDIS_MAX_OPERAND_COUNT];
    uint32_t live[BLOCK_MAX_INSNS + 1]; /* flags that count before instruction n */
    uint8_t twin[BLOCK_MAX_INSNS][GUEST_REGISTERS];
    uint64_t looked_at; /* see struct tier_block */
    bool is_last;       /* the block ends with its last instruction */
    struct slow_way slow[8 * BLOCK_MAX_INSNS + 6];
    unsigned slow_count;
    struct taken_way taken[3 * BLOCK_MAX_INSNS + 1];
    unsigned taken_count;
    struct vector_gate gate;
    struct uop *stop[3 * BLOCK_MAX_INSNS];
    unsigned stop_count;
    struct native_immediate immediate[3 * BLOCK_MAX_INSNS];
    unsigned immediate_count;
    unsigned fallbacks;
    struct share share[SHARES];
    unsigned share_count;
    int8_t share_of[BLOCK_MAX_INSNS]; /* NO_SHARE, or whose it is, and its displacement */
    int64_t share_at[BLOCK_MAX_INSNS];
    bool is_move[BLOCK_MAX_INSNS]; /* the number that it adds is in displacements, steps */
    bool in_run, end_shares; /* end_shares: the end that is written belongs to a run's first copy */
    int r10_share;           /* r10 holds the host address of this share's lo */
    int32_t stack_moves;     /* of PUSHes and POPs of a run, which r9 does not know yet */
    int r11_share;           /* r11 as well, while instructions leave it alone */
    unsigned r11_guest;      /* r11 holds this guest register, if r11_at is where we are */
    const uint8_t *r11_at;
    struct run run[RUNS];
    unsigned run_count, looked_up_to;
    struct loop loop;
    bool in_loop;
    struct refusal refusal[2 * BLOCK_MAX_INSNS];
    unsigned refusal_count;
    uint8_t *careful[BLOCK_MAX_INSNS]; /* where the second copies are, and the flags there */
    enum flags_where careful_flags[BLOCK_MAX_INSNS];
    enum flags_where flags; /* at this place */
    bool failed;            /* no room */
};

/*
 * across.c: takes a block into k->b, which may be one instruction across two pages. Native code for
 * that one asks first whether the next page is there and has the same bytes as now.
 */
void across_take(struct compile *k, const struct tier_block *b);
void put_across_guard(struct compile *k);

/* liveness.c: decodes the block into k->i, k->op and works out k->live. False: not for us. */
bool compile_decode(struct compile *k);

/* Is instruction n the last one, which ends the block? A direct JMP or CALL? */
bool compile_leaves(const struct compile *k, unsigned n);
bool compile_goes_to(const struct compile *k, unsigned n);

/* Flags that count at an offset of the block's page. */
uint32_t compile_live_at(struct compile *k, int64_t off);

/*
 * twins.c: after compile_decode. The host register that has the value of a guest register which
 * lives in memory, before instruction n; X_NONE: none.
 */
void twins_find(struct compile *k);
unsigned twin_host(const struct compile *k, unsigned n, unsigned guest);

/*
 * fixed.c: is the code for one page? Then an address in it is a number. off: from the page's
 * beginning, `to` a register. put_page_out: before C may look at the page; put_page_in: at a far
 * entry, the offset in the page of the address in r10. None touches flags.
 */
void fixed_take(struct compile *k, bool moves);
void put_from_page(struct compile *k, unsigned to, int64_t off);
void put_page_out(struct compile *k);
void put_page_in(struct compile *k, unsigned off);

static inline bool is_fixed(const struct compile *k)
{
    return k->page != ANY_PAGE;
}

/* operand.c */

/*
 * The address of u's memory operand into r10, its host address for an access of `bytes` after the
 * check. pair: of the instruction, whose handler does what the check refuses.
 */
void put_address(struct compile *k, const struct uop *u);
/* The same without the segment's base, into a register. */
void put_effective(struct compile *k, const struct uop *u, unsigned to);
/* Can put_address write it? */
bool address_fits(const struct uop *u);
/* The visible operand of instruction n that is memory, NULL: none. */
const ZydisDecodedOperand *memory_operand(const struct compile *k, unsigned n);
/* A 64-bit instruction on what r10 points to. */
struct x_form at_t0(unsigned op, unsigned reg);
/* The same on a field of the present window, whose offset is r11's plus this one. */
struct x_form in_window(unsigned op, unsigned reg, size_t field);
void put_check(struct compile *k, unsigned n, unsigned bytes, bool write);
/* The address of u's operand, and the check of an access there. */
void put_place_check(struct compile *k, unsigned n, const struct uop *u, unsigned bytes, bool write,
                     bool aligned);
/*
 * The same for instruction n as f, whose base is r10 and which has no other use for r11: what the
 * two add up to is the host address, so that it need not be computed before.
 */
void put_check_for(struct compile *k, unsigned n, unsigned bytes, bool write, struct x_form *f);

/*
 * edge.c: the check of instruction n is written, which may have made slow way number `slow`; before
 * the handler: what native code does where the access lies across two pages.
 */
void edge_note(struct compile *k, unsigned n, unsigned slow);
void put_edge_way(struct compile *k, const struct slow_way *s);

/* integer.c: false: by the handler. */
bool put_integer(struct compile *k, unsigned n);
bool put_push_memory(struct compile *k, unsigned n);
/* One with a VEX prefix that surely has a native form. */
bool vex_is_possible(const struct compile *k, unsigned n);

/* bits.c, string.c: the same. BT and its kin with memory and a bit number in a register. */
bool put_bit_beyond(struct compile *k, unsigned n);
bool put_cmpxchg16b(struct compile *k, unsigned n);
bool put_string(struct compile *k, unsigned n);
bool string_is_native(const struct compile *k, unsigned n);
/* Tells native_fallback what its handler reads and writes. */
void string_note_addresses(struct uop *pair);

/* sensitive.c, system.c: false: by the handler. */
bool put_sensitive(struct compile *k, unsigned n);
bool put_system(struct compile *k, unsigned n);
/* 32 bits: an operation on what lies at an address; reg: a register, or the opcode's extension. */
void put_abs(struct compile *k, unsigned op, unsigned reg, uint32_t address);
/* To the handler at other levels than 0; answers the pair, for further reasons. */
const struct uop *put_kernel_only(struct compile *k, unsigned n);
/* By the handler, if the byte at an address is 0, or is not. */
enum guard { GUARD_ZERO, GUARD_NOT_ZERO };
void put_guard(struct compile *k, const struct uop *pair, uint32_t address, enum guard refused);
/* It becomes the present one; r10 is lost. */
void put_near_view(struct compile *k, const struct near_view *v);
/* By the handler, where a condition holds. */
void put_slow_if(struct compile *k, unsigned condition, const struct uop *pair);

void put_window_check(struct compile *k, unsigned n, unsigned bytes, bool write, bool aligned);

/*
 * Its parts. r10, an address, becomes the offset in its page, and r11 the entry's in the window;
 * answers the place of the jump that is taken when the window does not answer for so many bytes.
 * Then the host address of the page is added.
 */
uint8_t *put_lookup(struct compile *k, unsigned bytes, bool write);
void put_host(struct compile *k);
/* The place of the jump that is taken when r10 is not on a multiple of 16. */
uint8_t *put_alignment(struct compile *k);

/*
 * Instruction n has its immediate, if any, at `place` in native code, which may follow when the
 * guest changes it; NULL: it is its handler's.
 */
void note_immediate(struct compile *k, unsigned n, uint8_t *place);
/* At the end: in the order of the instructions, for native_patch. */
void immediates_sort(struct compile *k);

/* A whole plain instruction; false: it cannot be written. */
bool put_plain(struct compile *k, unsigned n);
bool put_lea(struct compile *k, unsigned n);
bool plain_is_possible(struct compile *k, unsigned n);
bool lea_is_possible(const struct compile *k, unsigned n);

/* code32.c: false: a block that native code cannot have; an instruction that its handler does. */
bool code32_takes(const struct compile *k);
bool code32_refuses(const struct compile *k, unsigned n);
/* Its operand is in a segment with a base: by the handler, if that is not as it was here. */
bool code32_is_based(const struct compile *k, unsigned n);
void put_base_guard(struct compile *k, unsigned n);
/* The opcode of 64-bit code for one that means something else there. */
void code32_form(const ZydisDecodedInstruction *i, struct x_form *f);
/* to = from + disp, and a move, as wide as a word; an access of one by r10. */
void put_word_lea(struct compile *k, unsigned to, unsigned from, int32_t disp);
void put_word_move(struct compile *k, unsigned to, unsigned from);
struct x_form word_at_t0(const struct compile *k, unsigned op, unsigned reg);

/* compile.c: with --profile, counts in memory: no flags, no register that the guest or we have. */
void put_profile(struct compile *k, const uint64_t *counter);

/* compile.c; put_end answers true when instruction n has ended the block. */
void put_instruction(struct compile *k, unsigned n);
bool put_end(struct compile *k, unsigned n);

/* share.c: around each instruction; the second copies, and the ways to them. */
void shares_before(struct compile *k, unsigned n);
void shares_after(struct compile *k, unsigned n);
void put_careful_copies(struct compile *k);
void put_refusals(struct compile *k);

static inline bool has_share(const struct compile *k, unsigned n)
{
    return k->in_run && k->share_of[n] != NO_SHARE;
}

/* Makes r10 a pointer for the access of instruction n; answers the displacement from it. */
int32_t put_shared(struct compile *k, unsigned n);
/* The same for an instruction that leaves r11 alone: answers in *pointer which of them it is. */
int32_t put_shared_in_either(struct compile *k, unsigned n, uint8_t *pointer);
bool leaves_r11_alone(const struct compile *k, unsigned n);

/* The same for the stack access of PUSH, POP, CALL and RET, shared or not. */
int32_t put_stack_access(struct compile *k, unsigned n, bool push);

/*
 * PUSHes and POPs of a run that follow each other move r9 once, before what may look at it: all
 * but their own accesses.
 */
void move_stack(struct compile *k, int32_t by);
void put_stack_moved(struct compile *k);

/* An access as instruction n has it; false: it has none, or one that cannot share. */
bool find_access(const struct compile *k, unsigned n, const struct moves *m, struct access *a);
/* What shares a check with an access, to begin with; adds one: false: it is too far away. */
void share_begin(struct share *s, const struct compile *k, unsigned n, const struct access *a);
bool share_join(struct share *s, const struct compile *k, unsigned n, const struct access *a);
/* Which register instruction n moves by a number, and by how much. */
unsigned moved_register(const struct compile *k, unsigned n, int64_t *by);
/*
 * Of instructions first to end - 1: which move a register of these shares' addresses, so that their
 * numbers are in displacements and steps.
 */
void note_moves(struct compile *k, unsigned first, unsigned end, const struct share *s,
                unsigned count);
/* Is a register of an address one of these (bit n: guest register n)? */
static inline bool is_among(unsigned registers, uint8_t at)
{
    return at < GPR_ZERO && (registers >> at / 8 & 1);
}
bool is_push_or_pop(const struct compile *k, unsigned n);
/* Is it one that only computes? */
bool belongs_to_runs(struct compile *k, unsigned n);

/* loop.c: finds the block's loop, if it has one. */
void loop_find(struct compile *k);
/*
 * Where it is known how many iterations are left, the loop lies at the block's beginning, and what
 * it does not take is for the first copy, which follows.
 */
void put_loop_before(struct compile *k);
/*
 * Else it lies where its first copy jumps back, retired. Then, for what it leaves to that copy, the
 * jump to the block's entry: answers its place.
 */
uint8_t *put_loop_behind(struct compile *k);
/* The way from its end to what follows the first copy. */
void put_loop_ended(struct compile *k);
/* At a way out of the loop: guest state to where other code has it. Flags stay. */
void put_loop_left(struct compile *k);
/* The memory operand of instruction n in the loop. */
void put_loop_operand(const struct compile *k, unsigned n, struct x_form *f);

static inline bool is_loop_end(const struct compile *k, const struct uop *u)
{
    return k->loop.end != NO_LOOP && u == &k->b->uops[k->loop.end];
}

/* Host register of a guest register here, X_NONE: it is in memory. */
static inline unsigned guest_host(const struct compile *k, unsigned guest)
{
    return k->in_loop ? k->loop.host[guest] : host_reg(guest);
}

/* vector.c: a vector instruction; false: by the handler, or none. The way behind the gate. */
bool put_vector(struct compile *k, unsigned n);
void put_gate(struct compile *k, unsigned n);
/* Asks before instruction first, if one from there to end - 1 is a vector instruction. */
void put_gate_before(struct compile *k, unsigned first, unsigned end);
void put_gate_way(struct compile *k);

/* Does instruction n fault when its memory operand is not on a multiple of 16? */
bool vector_is_aligned(const struct compile *k, unsigned n);

/* far.c: near branches whose target may be anywhere. False: by the handler. */
void put_near_call(struct compile *k, unsigned n);
bool put_far_end(struct compile *k, unsigned n);
bool far_end_is_possible(const struct compile *k, unsigned n);
/* r11: a window's address, at [base], and the offset in its jumps of the entry for r10. */
#define JUMP_OFFSET(field_)                                                                        \
    (uint32_t)(offsetof(struct window, jump) + offsetof(struct jump_entry, field_))
void put_jump_entry(struct compile *k, uint32_t base);

/* syscall.c: SYSCALL and SYSRET. False: by the handler. */
bool put_fast_system_call(struct compile *k, unsigned n);
/* RFLAGS, and the arithmetic ones in flags16, become r11; r10 is lost. */
void put_set_flags(struct compile *k);
/* Level and view become those of the neighbour for level 0 or 3; r10 is lost. */
void put_enter_level(struct compile *k, unsigned cpl);
/* Goes on at r10, whose native code is in t->target; u ends here. */
void put_go_to_target(struct compile *k, const struct uop *u);

/* iret.c: IRET. False: by the handler. */
bool put_iret(struct compile *k, unsigned n);

/* Goes to u->imm from the present page, which is in another page; flags are live. */
void put_far_direct(struct compile *k, const struct uop *u);

/* The address of the stack's top, or of what is pushed, checked. */
void put_stack_address(struct compile *k, unsigned n, bool push);

/* The uop of instruction n and its stop; NULL (and failed) when there is no room. */
const struct uop *fallback_pair(struct compile *k, unsigned n, enum callout_why why);

/* Calls its handler, and goes on; afterwards flags are in both places. */
void put_call_fallback(struct compile *k, const struct uop *pair, enum flags_where flags);

/* remap.c: MOV to CR3 and its kin, which end their block. False: the handler leaves. */
bool put_mapping(struct compile *k, unsigned n);

/* taken.c: a direct branch taken: u->imm is its target. from: the jump, NULL: falls in. */
void add_taken(struct compile *k, const struct uop *u, uint8_t *from);
/* Its way, at the block's end. */
void put_taken(struct compile *k, unsigned way);
/* A conditional jump. */
void put_branch(struct compile *k, const struct uop *u, unsigned condition);

/* ways.c */

/* From here on to where the code lies that runs rarely; answers if it went there already. */
bool go_cold(struct compile *k);
void go_back(struct compile *k, bool to_cold);

/* A way out by a direct branch to an offset of the page; NULL (and failed): no room. */
struct native_exit *new_exit(struct compile *k, const struct uop *u);
/* The jump (or call) at `place` leaves by x until that is linked. */
void put_exit_way(struct compile *k, struct native_exit *x, uint8_t *place);

void put_count(struct compile *k, unsigned instructions);
/* Has the outer loop something to do? Not, if the comparison says "below". */
void put_poll_compare(struct compile *k);
/* Answers the place of the jump that is taken when it has. */
uint8_t *put_poll(struct compile *k);

/* Leaves native code; C goes on with u. */
void put_leave(struct compile *k, const struct uop *u, enum flags_where flags);

/* A copy of a uop that branches; one whose window learns first. */
const struct uop *leaving_copy(struct compile *k, const struct uop *u);
const struct uop *learning_copy(struct compile *k, unsigned n);

static inline const struct uop *uop_of(const struct compile *k, unsigned n)
{
    return &k->b->uops[n];
}

/* The bytes of the guest's instruction at an offset of the page. */
static inline const uint8_t *code_bytes(const struct compile *k, unsigned off)
{
    return k->across_bytes && off == uop_of(k, 0)->off ? k->across_code : k->b->host + off;
}

static inline bool is_in_page(int64_t off)
{
    return off >= 0 && off < (int64_t)PAGE_SIZE;
}

/* r10, r11 or the guest register's own; loads it where it lives in memory. */
unsigned put_register_in(struct compile *k, unsigned guest, unsigned scratch);

static inline uint32_t guest_at(const struct compile *k, unsigned guest)
{
    return ABS(k->t->c.gpr[guest]);
}

/*
 * A guest register that lives in memory and was the last in r11 is still there for the next
 * instruction: it need not wait for the store of the one before. Code that was written since then
 * ends that, but for what is known to leave r11 alone, and so does a place where other code comes
 * in (r11_forget).
 */
static inline void r11_note(struct compile *k, unsigned guest)
{
    k->r11_guest = guest;
    k->r11_at = k->in_loop ? NULL : k->e.at;
}

static inline void r11_forget(struct compile *k)
{
    k->r11_at = NULL;
}

static inline bool r11_holds(const struct compile *k, unsigned guest)
{
    return k->r11_at == k->e.at && k->r11_guest == guest;
}

/* Code from `start` to here leaves r11 alone. */
static inline void r11_stays(struct compile *k, const uint8_t *start)
{
    if (k->r11_at == start)
        k->r11_at = k->e.at;
}

/* flags.c: flags to c.flags16 and back; r11 is lost. */
void put_flags_away(struct compile *k);
void put_flags_back(struct compile *k);

/* The same where they are not there yet. */
void flags_away(struct compile *k);
void flags_in_place(struct compile *k);

/* From where they are to where other code, which this goes on with, has them. */
void flags_join(struct compile *k, enum flags_where want);

/*
 * Before code that destroys RFLAGS, where those of the flags `live` count; before what instruction
 * n itself does.
 */
void flags_before(struct compile *k, uint32_t live);
void flags_for(struct compile *k, unsigned n);
/* Will flags that count at the block's beginning be put away before they are needed? */
bool flags_begin_away(const struct compile *k);
/* Will flags_for bring some back, by way of r11? */
bool flags_come_back(const struct compile *k, unsigned n);

#endif
