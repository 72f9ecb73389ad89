/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interp engine as the rest of Umbra sees it, and its outer loop: poll the bus, take events,
 * run blocks.
 *
 * icount_stop is what blocks compare with. It is stop_at (when the bus wants to be polled), a
 * block's length earlier where stops must be exact, or 0 when another thread wants attention.
 */
#include "cpu/interp/interp.h"

#include <string.h>
#include <sys/mman.h>

#include "cpu/interp/block.h"
#include "cpu/interp/flags.h"
#include "cpu/interp/run.h"
#include "cpu/interp/tier.h"
#include "cpu/x86/cpuid.h"

#define HOT_RUNS 100

static struct interp *interp_of(struct vcpu *vcpu)
{
    return (struct interp *)vcpu;
}

_Noreturn void leave_host_error(struct interp *c, const struct uop *u)
{
    c->cur = u;
    _longjmp(c->on_exception, LEAVE_HOST_ERROR);
}

_Noreturn void leave_to_run_alone(struct interp *c, const struct uop *u)
{
    c->cur = u;
    _longjmp(c->on_exception, LEAVE_TO_RUN_ALONE);
}

uint64_t interp_rflags(const struct interp *c)
{
    return (c->s.rflags & ~(uint64_t)RFLAGS_ARITH) | RFLAGS_ONE | flags16_to_rflags(c->flags16);
}

void interp_set_rflags(struct interp *c, uint64_t value)
{
    c->flags16 = (uint16_t)flags16_from_rflags(value);
    c->s.rflags = (value & ~(uint64_t)RFLAGS_ARITH) | RFLAGS_ONE;
}

/* --- the outer loop --- */

static void run_uops(struct interp *c, const struct uop *u)
{
    while (u)
        u = u->fn(c, u);
}

void interp_set_stop(struct interp *c, uint64_t at)
{
    atomic_store(&c->icount_stop, at);
    /* Whoever raised a request before this store must not be overwritten by it. */
    if (atomic_load(&c->kicked) || atomic_load(&c->nmi_pending) ||
        (atomic_load(&c->irq_line) && (c->s.rflags & RFLAGS_IF)))
        atomic_store(&c->icount_stop, 0);
}

static void poll_bus(struct interp *c)
{
    uint64_t budget;

    phase_set(c, ENGINE_outside);
    budget = c->bus->poll(c->bus->poll_arg);
    phase_set(c, ENGINE_interpreter);
    c->stop_at = budget > UINT64_MAX - c->icount ? UINT64_MAX : c->icount + budget;
    if (c->stop_at == c->icount)
        c->stop_at++;
}

/* Delivers what is pending and can be taken now. Clears the halt. */
static void take_events(struct interp *c)
{
    if (atomic_load(&c->nmi_pending) && !c->s.nmi_blocked) {
        atomic_store(&c->nmi_pending, false);
        c->s.halted = false;
        c->s.nmi_blocked = true;
        c->stats.nmis++;
        exc_deliver(c, EVENT_NMI, VEC_NMI, false, 0, c->rip);
    }
    if (atomic_load(&c->irq_line) && (c->s.rflags & RFLAGS_IF) && !c->shutdown) {
        int vector = c->bus->irq_ack(c->bus->arg);

        if (vector >= 0) {
            c->s.halted = false;
            c->stats.interrupts++;
            exc_deliver(c, EVENT_EXTERNAL, (uint8_t)vector, false, 0, c->rip);
        }
    }
}

static void run_one(struct interp *c)
{
    atomic_store(&c->icount_stop, 0);
    run_uops(c, block_decode_step(c));
    c->alone = false;
}

void interp_step(struct interp *c)
{
    bool tf = c->s.rflags & RFLAGS_TF;

    c->turn.rf = c->s.rflags & RFLAGS_RF;
    c->turn.inhibit_debug = c->inhibit_debug;
    if (debug_before_insn(c))
        return;
    run_one(c);
    debug_after_insn(c, tf);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Has the tier let user code run by other means? */
static bool run_otherwise(struct interp *c)
{
    return c->cpl == 3 && c->tier && c->tier->user && c->tier->user(c);
}

/* Runs blocks until the outer loop has something to do. */
static void run_blocks(struct interp *c)
{
    const struct uop *u;

    c->turn = (struct turn){.icount = c->icount, .inhibit_irq = c->inhibit_irq};
    if (unlikely(c->slow_step)) {
        c->inhibit_irq = false;
        interp_step(c);
        return;
    }
    /* One instruction of the shadow of STI or MOV SS while something waits for its end. */
    if (unlikely(c->inhibit_irq && (atomic_load(&c->irq_line) || atomic_load(&c->nmi_pending)))) {
        c->inhibit_irq = false;
        run_one(c);
        return;
    }
    c->inhibit_irq = false;
    if (c->alone || (c->budgeted && c->stop_at - c->icount < BLOCK_MAX_INSNS)) {
        run_one(c);
        return;
    }
    interp_set_stop(c, c->budgeted ? c->stop_at - BLOCK_MAX_INSNS + 1
                                   : earlier(c->stop_at, c->look_at));
    u = block_find(c);
    run_uops(c, u);
}

static enum engine_exit run_loop(struct interp *c)
{
    for (;;) {
        if (c->shutdown)
            return ENGINE_EXIT_SHUTDOWN;
        if (atomic_exchange(&c->kicked, false)) {
            c->stats.exits_kick++;
            return ENGINE_EXIT_KICKED;
        }
        if (c->tier && c->tier->turn)
            c->tier->turn(c);
        if (c->icount >= c->stop_at)
            poll_bus(c);
        if (!c->inhibit_irq)
            take_events(c);
        if (c->s.halted) {
            c->stats.exits_halt++;
            return ENGINE_EXIT_HALTED;
        }
        if (!c->shutdown && !run_otherwise(c))
            run_blocks(c);
    }
}

enum engine_exit interp_vcpu_run(struct vcpu *vcpu)
{
    struct interp *c = interp_of(vcpu);
    enum engine_exit exit;
    int why;

    c->stop_at = 0;
    why = _setjmp(c->on_exception);
    phase_set(c, ENGINE_interpreter);
    c->alone = why == LEAVE_TO_RUN_ALONE;
    switch (why) {
    case LEAVE_NOT:
        exc_resume(c);
        break;
    case LEAVE_RAISED:
        exc_handle_raised(c);
        break;
    case LEAVE_TO_RUN_ALONE:
        exc_begin_anew(c);
        break;
    default:
        exc_begin_anew(c);
        phase_set(c, ENGINE_outside);
        return ENGINE_EXIT_HOST_ERROR;
    }
    exit = run_loop(c);
    phase_set(c, ENGINE_outside);
    return exit;
}

/* --- requests from any thread --- */

void interp_vcpu_kick(struct vcpu *vcpu)
{
    struct interp *c = interp_of(vcpu);

    atomic_store(&c->kicked, true);
    atomic_store(&c->icount_stop, 0);
}

void interp_vcpu_set_irq(struct vcpu *vcpu, bool level)
{
    struct interp *c = interp_of(vcpu);

    atomic_store(&c->irq_line, level);
    if (level)
        atomic_store(&c->icount_stop, 0);
}

void interp_vcpu_raise_nmi(struct vcpu *vcpu)
{
    struct interp *c = interp_of(vcpu);

    atomic_store(&c->nmi_pending, true);
    atomic_store(&c->icount_stop, 0);
}

/* --- state --- */

void interp_vcpu_get_state(struct vcpu *vcpu, struct x86_state *out)
{
    const struct interp *c = interp_of(vcpu);

    *out = c->s;
    memcpy(out->gpr, c->gpr, sizeof out->gpr);
    out->rip = c->rip;
    out->rflags = interp_rflags(c);
    out->irq_shadow = c->inhibit_irq;
}

void interp_vcpu_set_state(struct vcpu *vcpu, const struct x86_state *in)
{
    struct interp *c = interp_of(vcpu);

    c->s = *in;
    memcpy(c->gpr, in->gpr, sizeof in->gpr);
    c->gpr[GPR_ZERO / 8] = 0;
    c->rip = in->rip;
    c->inhibit_irq = in->irq_shadow;
    interp_set_rflags(c, in->rflags);
    c->shutdown = false;
    c->event_waits = false;
    c->task.waits = false;
    c->cur = NULL;
    interp_update_mode(c);
    interp_update_mmu(c, MMU_SWITCH_FLUSH_ALL);
    interp_update_mode(c);
}

/* --- life --- */

void interp_fini(struct interp *c)
{
    code_cache_destroy(c);
    if (c->mmu)
        mmu_destroy(c->mmu);
}

static void interp_destroy(struct vcpu *vcpu)
{
    interp_fini(interp_of(vcpu));
    munmap(vcpu, sizeof(struct interp));
}

static enum err create_parts(struct interp *c, const struct vcpu_config *config)
{
    struct mmu_config mmu = {
        .mem = config->mem,
        .maxphyaddr = CPUID_MAXPHYADDR,
        .strategy = config->mmu_strategy,
        .oracle = config->mmu_oracle,
        .audit_exits = config->audit_exits,
        .tlb = interp_tlb_ops,
    };
    struct x86_state reset;
    enum err err;

    mmu.tlb.arg = c;
    tlb_flush_all(c);
    err = mmu_create(&c->mmu, &mmu);
    if (err)
        return err;
    err = code_cache_create(c, config->code_bytes);
    if (err)
        return err;
    x86_state_reset(&reset);
    interp_vcpu_set_state(&c->base, &reset);
    return ERR_OK;
}

enum err interp_init(struct interp *c, const struct vcpu_config *config)
{
    c->mem = config->mem;
    c->bus = config->bus;
    c->identity = (struct cpu_identity){.tsc_khz = config->tsc_khz,
                                        .apic_id = config->apic_id,
                                        .features = config->features,
                                        .host = cpu_host_read()};
    c->mmu_oracle = config->mmu_oracle;
    c->budgeted = config->budgeted;
    c->hot_runs = config->hot_runs ? config->hot_runs : HOT_RUNS;
    c->upper.shares = true;
    c->look_at = UINT64_MAX;
    return create_parts(c, config);
}

static enum err interp_create(struct vcpu **out, const struct vcpu_config *config)
{
    /* Zeroes, of which only what is used takes memory. */
    struct interp *c =
        mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    enum err err;

    if (c == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory for a vCPU");
    c->base.ops = &engine_interp;
    err = interp_init(c, config);
    if (err) {
        interp_destroy(&c->base);
        return err;
    }
    *out = &c->base;
    return ERR_OK;
}

static bool interp_is_available(const char **why)
{
    (void)why;
    return true;
}

uint64_t interp_vcpu_instructions(const struct vcpu *vcpu)
{
    const struct interp *c = (const struct interp *)vcpu;

    return c->icount + (c->cur ? c->cur->n - 1u : 0);
}

const struct cpu_stats *interp_vcpu_stats(const struct vcpu *vcpu)
{
    struct interp *c = (struct interp *)(uintptr_t)vcpu;

    c->stats.instructions = c->icount;
    c->stats.decoded_held = code_cache_held(c);
    c->stats.tlb_hits_data =
        c->mem_operands > c->stats.tlb_misses_data ? c->mem_operands - c->stats.tlb_misses_data : 0;
    return &c->stats;
}

struct mmu *interp_vcpu_mmu(struct vcpu *vcpu)
{
    return interp_of(vcpu)->mmu;
}

void interp_vcpu_trim(struct vcpu *vcpu)
{
    code_trim(interp_of(vcpu));
}

const struct engine_ops engine_interp = {
    .name = "interp",
    .summary = "decoded-instruction interpreter; runs everything, everywhere",
    .is_available = interp_is_available,
    .create = interp_create,
    .destroy = interp_destroy,
    .run = interp_vcpu_run,
    .kick = interp_vcpu_kick,
    .set_irq = interp_vcpu_set_irq,
    .raise_nmi = interp_vcpu_raise_nmi,
    .get_state = interp_vcpu_get_state,
    .set_state = interp_vcpu_set_state,
    .instructions = interp_vcpu_instructions,
    .stats = interp_vcpu_stats,
    .mmu = interp_vcpu_mmu,
    .trim = interp_vcpu_trim,
};
