/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When user code runs directly. A stretch costs two switches of processes and more, some ten
 * microseconds, so it must be long:
 *
 *   translator --LONG_RUN instructions without a turn of the outer loop--> this view is hot
 *   hot view   --each turn at level 3--> a stretch
 *   stretch    --kick (timer, request)--> events, and on
 *              --system call, fault--> the translator, LOOK_AFTER instructions or less, then again
 *   no credit  --> the translator for a while, each time longer
 */
#include "cpu/translate/direct.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/log.h"
#include "cpu/interp/code_cache.h"
#include "cpu/interp/fp.h"
#include "cpu/translate/space.h"
#include "cpu/translate/translate.h"

#define SPACES 4u

/* Instructions without a turn of the outer loop. */
#define LONG_RUN 1000000u

/* What ends a stretch costs so much: the next one's beginning, and the translator's part. */
#define SWITCH_NS       20000
#define STOP_NS         40000
#define MAP_NS          2000 /* a page */
#define LONG_NS         2000000
#define CREDIT_AGAIN_NS 5000000
#define CREDIT_MOST_NS  20000000
#define REST_NS         UINT64_C(10000000)
#define RESTS_MOST      8u

#define LOOK_AFTER         10000u
#define LOOK_AFTER_TRAP    100u
#define LOOK_AFTER_REFUSAL 5000u
#define LOOKS              64u

#define USER_CS 0x33u
#define USER_SS 0x2bu

#define BASES_UNKNOWN UINT64_MAX

/*
 * running: who is to be kicked; kickers: threads that look at it
 * hot: the view whose code ran long; turn_icount: when the last turn began, turn_ns: the last one
 * of the hot view; looks: how often it is still asked whether the kernel has come back to user
 * code; resume_at: the translator's until this count; wants: an address that it was to find out
 * about for the instruction at wants_rip; bases: CR4.FSGSBASE, as code was found good for; works:
 * stubs were tried; off: they do not work here, or do no more
 */
struct direct {
    struct space space[SPACES];
    _Atomic(struct stub *) running;
    atomic_uint kickers;
    uint32_t hot;
    uint64_t turn_ns, turn_icount, clock, wants, wants_rip, resume_at;
    unsigned looks;
    uint64_t bases;
    bool off, works;
};

enum err direct_create(struct direct **out)
{
    /* Of its tables only what is used takes memory. */
    void *at = mmap(NULL, sizeof **out, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory for direct execution");
    *out = at;
    (*out)->bases = BASES_UNKNOWN;
    return ERR_OK;
}

void direct_destroy(struct direct *d)
{
    if (!d)
        return;
    for (unsigned i = 0; i < SPACES; i++)
        stub_destroy(d->space[i].stub);
    munmap(d, sizeof *d);
}

void direct_kick(struct direct *d)
{
    struct stub *s;

    if (!d)
        return;
    atomic_fetch_add(&d->kickers, 1);
    s = atomic_load(&d->running);
    if (s)
        stub_kick(s);
    atomic_fetch_sub(&d->kickers, 1);
}

/* Not running: whoever looks from now on finds none, who has found it is waited for. */
static void drop_stub(struct direct *d, struct space *s)
{
    while (atomic_load(&d->kickers))
        sched_yield();
    stub_destroy(s->stub);
    s->stub = NULL;
}

void direct_written(struct interp *c, struct code_page *p)
{
    struct direct *d = translate_of(c)->direct;

    p->direct.is_mapped = false;
    if (p->direct.writes < UINT8_MAX)
        p->direct.writes++;
    for (unsigned n = 0; n < SPACES; n++)
        if (d->space[n].in_use)
            space_forget_code(&d->space[n], p);
}

void direct_flushed(struct interp *c, uint64_t page, bool all)
{
    struct direct *d = translate_of(c)->direct;

    for (unsigned n = 0; n < SPACES; n++) {
        if (!d->space[n].in_use)
            continue;
        if (all)
            space_empty(&d->space[n]);
        else
            space_forget_page(&d->space[n], page);
    }
}

void direct_frames(struct interp *c, const gfn_t *gfns, size_t count, bool only_writes)
{
    struct direct *d = translate_of(c)->direct;

    for (unsigned n = 0; n < SPACES; n++)
        for (size_t i = 0; d->space[n].in_use && i < count; i++)
            space_forget_frame(&d->space[n], gfns[i], only_writes);
}

void direct_filled(struct interp *c, const struct tlb_entry *e, uint64_t page, uint32_t view)
{
    struct direct *d = translate_of(c)->direct;

    for (unsigned n = 0; n < SPACES; n++)
        if (d->space[n].in_use && d->space[n].view == view && !half_of(page))
            space_filled(&d->space[n], e, page);
}

bool direct_age(struct interp *c)
{
    struct direct *d = translate_of(c)->direct;
    bool nothing_stays = true;

    for (unsigned n = 0; n < SPACES; n++)
        if (d->space[n].in_use && !space_grow_older(&d->space[n], c->mem))
            nothing_stays = false;
    return nothing_stays;
}

static void stop_for_good(struct direct *d, const char *why)
{
    if (!d->off)
        log_msg(LOG_WARN, "direct", "all programs run by translation from here on: %s", why);
    d->off = true;
}

/* --- when --- */

/* The view's code has not been worth it lately. */
static bool rests(const struct translate *t)
{
    const struct windows *w = &t->windows;
    const struct space *s = w->current < WINDOWS ? w->space[w->current] : NULL;

    return s && (s->failed || t->direct->turn_ns < s->not_before_ns);
}

/*
 * An interrupt that is taken now goes to the kernel, whose way back to user code makes no turn: so
 * it is looked for.
 */
void direct_turn(struct interp *c)
{
    struct direct *d = translate_of(c)->direct;

    if (c->cpl == 3 && c->icount - d->turn_icount >= LONG_RUN)
        d->hot = c->view[0];
    d->turn_icount = c->icount;
    if (c->cpl == 3 && c->view[0] == d->hot) {
        d->turn_ns = host_ns();
        d->looks = rests(translate_of(c)) ? 0 : LOOKS;
    } else if (c->cpl == 3) {
        d->looks = 0;
    }
    c->look_at = UINT64_MAX;
    if (c->icount < d->resume_at) {
        c->look_at = d->resume_at;
    } else if (d->looks) {
        d->looks--;
        c->look_at = c->icount + LOOK_AFTER;
    }
}

/* The translator goes on; so many instructions later it is asked again. */
static void wait(struct interp *c, struct direct *d, unsigned instructions)
{
    d->resume_at = c->icount + instructions;
    c->look_at = d->resume_at;
}

void direct_mapping_changed(struct interp *c)
{
    struct direct *d = translate_of(c)->direct;

    if (d)
        d->turn_icount = c->icount;
}

static bool selectors_are_usual(const struct x86_state *s)
{
    return s->seg[SEG_CS].selector == USER_CS && s->seg[SEG_SS].selector == USER_SS &&
           !s->seg[SEG_DS].selector && !s->seg[SEG_ES].selector && !s->seg[SEG_FS].selector &&
           !s->seg[SEG_GS].selector;
}

/* In a state that the host's CPU can be in, too. */
static bool is_possible(const struct interp *c)
{
    const uint64_t flags = RFLAGS_DF | RFLAGS_IF | RFLAGS_ID | RFLAGS_ONE | RFLAGS_ARITH;

    return c->mode == CODE_64 && !half_of(c->rip) && c->view[0] != VIEW_SLOW && !c->slow_step &&
           !c->inhibit_irq && !c->alone && (c->s.rflags & RFLAGS_IF) && !(c->s.rflags & ~flags) &&
           (c->s.cr0 & CR0_NE) && (c->s.efer & EFER_SCE) && !(c->s.cr4 & CR4_PKE) &&
           vectors_are_allowed(c) && selectors_are_usual(&c->s);
}

static struct space *find_space(struct translate *t)
{
    struct direct *d = t->direct;
    struct windows *w = &t->windows;
    struct space *oldest = &d->space[0];

    if (w->space[w->current])
        return w->space[w->current];
    for (unsigned i = 0; i < SPACES && oldest->in_use; i++)
        if (!d->space[i].in_use || d->space[i].used < oldest->used)
            oldest = &d->space[i];
    for (unsigned i = 0; i < WINDOWS; i++)
        if (w->space[i] == oldest)
            w->space[i] = NULL;
    if (oldest->in_use)
        space_leave(oldest);
    if (oldest->failed)
        drop_stub(d, oldest);
    d->works = d->works || stub_is_possible(NULL);
    if (!d->works || space_take(oldest, &t->c)) {
        stop_for_good(d, err_text());
        return NULL;
    }
    oldest->since_ns = d->turn_ns;
    w->space[w->current] = oldest;
    return oldest;
}

/* --- a stretch --- */

static void regs_out(const struct interp *c, struct stub_regs *r)
{
    memcpy(r->gpr, c->gpr, sizeof r->gpr);
    r->rip = c->rip;
    r->rflags = interp_rflags(c);
    r->fs_base = c->s.seg[SEG_FS].base;
    r->gs_base = c->s.seg[SEG_GS].base;
}

/* Level 3 changes no more of RFLAGS than this. */
static void regs_in(struct interp *c, const struct stub_regs *r)
{
    const uint64_t user = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID;
    uint64_t flags = (interp_rflags(c) & ~user) | (r->rflags & user);
    bool modes = (flags ^ c->s.rflags) & (RFLAGS_TF | RFLAGS_AC);

    memcpy(c->gpr, r->gpr, sizeof r->gpr);
    c->rip = r->rip;
    interp_set_rflags(c, flags);
    c->s.seg[SEG_FS].base = r->fs_base;
    c->s.seg[SEG_GS].base = r->gs_base;
    fp_set32(c, FPU_MXCSR, fp_get32(c, FPU_MXCSR) & FP_MXCSR_MASK); /* AMD's hosts have one more */
    fp_set32(c, FPU_MXCSR_MASK, FP_MXCSR_MASK);
    if (modes)
        interp_update_mode(c);
}

/* The translator goes on for so long; meanwhile the window changes as it likes. */
static void rest(struct space *s, uint64_t until_ns)
{
    s->not_before_ns = until_ns;
    s->is_filled = false;
}

/*
 * Is it worth it? A stretch saves about as much as its time, in which pages come and its end is
 * made, too, and costs the switches of processes, what stopped it if nobody kicked, and cost_ns for
 * what had to be mapped. Both times are processor time of the stub, which other programs of the
 * host do not change. That there is more than ever mapped now is work that is done. A view that has
 * used up its credit rests, each time longer.
 */
static void judge(struct space *s, enum stub_why why, uint64_t ran_ns, uint64_t cost_ns,
                  uint64_t now)
{
    s->credit_ns += (int64_t)ran_ns - (int64_t)cost_ns;
    s->credit_ns -= why != STUB_KICKED && s->pages.count <= s->most_mapped ? STOP_NS : SWITCH_NS;
    if (s->pages.count > s->most_mapped)
        s->most_mapped = s->pages.count;
    if (s->credit_ns > CREDIT_MOST_NS)
        s->credit_ns = CREDIT_MOST_NS;
    if (ran_ns >= LONG_NS && s->rests)
        s->rests--;
    if (s->credit_ns >= 0)
        return;
    rest(s, now + (REST_NS << s->rests));
    if (s->rests < RESTS_MOST)
        s->rests++;
    s->credit_ns = CREDIT_AGAIN_NS;
}

/* Does mapping all that the window knows cost little of the time that the view has run already? */
static bool can_fill(struct direct *d, struct space *s, const struct interp *c)
{
    uint64_t cost = (uint64_t)space_missing(s, c) * MAP_NS, age = d->turn_ns - s->since_ns;

    if (cost <= SPACE_CREDIT_NS / 8 || cost <= age / 8)
        return true;
    rest(s, d->turn_ns + cost);
    return false;
}

static void count(struct interp *c, const struct stub_exit *exit)
{
    c->stats.direct_runs += exit->has_begun;
    if (exit->why == STUB_SYSCALL)
        c->stats.direct_syscalls++;
    else if (exit->why != STUB_KICKED)
        c->stats.direct_faults++;
}

/*
 * Is it a page that the stub does not have, and has now? Else the translator does the instruction.
 */
static bool is_mended(struct interp *c, struct space *s, const struct stub_exit *exit)
{
    if (exit->signal != SIGSEGV || exit->code == SI_KERNEL)
        return false;
    if (((exit->address ^ c->rip) & PAGE_MASK) == 0 && !space_has_code(s, c->rip))
        return space_take_code(s, c, c->rip);
    return space_take_data(s, c, exit->address);
}

/* What stopped it is done by the translator, which looks here again soon. */
static void go_on(struct interp *c, struct direct *d, struct space *s, const struct stub_exit *exit)
{
    switch (exit->why) {
    case STUB_KICKED:
        return;
    case STUB_SYSCALL:
        wait(c, d, LOOK_AFTER);
        return;
    case STUB_FAULT:
        if (is_mended(c, s, exit))
            return;
        d->wants = exit->address;
        d->wants_rip = c->rip;
        wait(c, d, LOOK_AFTER_TRAP);
        return;
    case STUB_TRAP:
        space_meet_trap(s, c->rip);
        wait(c, d, LOOK_AFTER_TRAP);
        if (exit->code == TRAP_TRACE)
            debug_after_step_elsewhere(c);
        return;
    }
}

/*
 * False: nothing has run. The stub's end, by the host's OOM killer say, takes the registers of the
 * guest's program with it.
 */
static bool stretch(struct interp *c, struct direct *d, struct space *s)
{
    struct stub_exit exit = {0};
    struct stub_regs r;
    enum engine_phase before;
    uint64_t began, flushed;
    enum err err;

    atomic_store(&d->running, s->stub);
    interp_set_stop(c, c->stop_at);
    if (!atomic_load(&c->icount_stop)) {
        atomic_store(&d->running, NULL);
        return false;
    }
    regs_out(c, &r);
    d->looks = 0;
    before = phase_set(c, ENGINE_direct);
    began = stub_cpu_ns(s->stub);
    err = stub_flush(s->stub);
    flushed = stub_cpu_ns(s->stub);
    if (!err)
        err = stub_run(s->stub, &r, c->s.fpu, &exit);
    atomic_store(&d->running, NULL);
    phase_set(c, before);
    if (err) {
        if (exit.has_begun)
            leave_host_error(c, NULL);
        space_fails(s);
        return false;
    }
    regs_in(c, &r);
    if (exit.selectors_moved)
        stop_for_good(d, "one has loaded segment registers by code that was not seen");
    count(c, &exit);
    d->turn_ns = host_ns();
    judge(s, exit.why, stub_cpu_ns(s->stub) - flushed, flushed - began, d->turn_ns);
    go_on(c, d, s, &exit);
    return true;
}

/* What code may do depends on this; kernels choose once. */
static void follow_bases(struct interp *c, struct direct *d)
{
    uint64_t bases = c->s.cr4 & CR4_FSGSBASE;

    if (bases != d->bases && d->bases != BASES_UNKNOWN)
        code_drop_all(c);
    d->bases = bases;
}

bool direct_user(struct interp *c)
{
    struct translate *t = translate_of(c);
    struct direct *d = t->direct;
    struct space *s;

    if (c->icount < d->resume_at || c->view[0] != d->hot || d->off ||
        t->windows.current == WINDOWS || !is_possible(c))
        return false;
    s = find_space(t);
    if (!s || rests(t))
        return false;
    c->turn = (struct turn){.icount = c->icount};
    code_make_room(c);
    follow_bases(c, d);
    if (!s->is_filled) {
        if (!can_fill(d, s, c))
            return false;
        space_fill(s, c);
    }
    if (!space_take_code(s, c, c->rip)) {
        wait(c, d, LOOK_AFTER_REFUSAL);
        return false;
    }
    if (d->wants && d->wants_rip == c->rip)
        space_take_data(s, c, d->wants);
    else if (d->wants)
        space_learn(s, c, d->wants);
    d->wants = 0;
    s->used = ++d->clock;
    s->has_run = true;
    return stretch(c, d, s);
}
