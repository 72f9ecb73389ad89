/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine. Every exception, trap and interrupt leads to a small kernel that tells it by a port,
 * where this file logs the state and decides how to go on: at the same place or another, with other
 * registers, with code or tables written under the guest, in another address space.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/err.h"
#include "block_world.h"
#include "mem/reclaim.h"
#include "no_devices.h"

/* --- what happened --- */

static uint64_t memory_sum(struct world *w)
{
    static uint8_t buf[(CODE_PAGES + DATA_POOL) * 4096];

    if (!mem_read(w->mem, gpa_make(CODE_GPA), buf, CODE_BYTES) ||
        !mem_read(w->mem, gpa_make(DATA_GPA), buf + CODE_BYTES, DATA_POOL * 4096))
        return 0;
    return XXH3_64bits(buf, sizeof buf) + w->device_sum;
}

int world_fetch(void *world, uint64_t va)
{
    struct world *w = world;
    uint64_t entry;
    uint8_t b;

    if (va - DATA_VA >= (TABLE_VA + 4096 - DATA_VA) && va - CODE_VA >= CODE_BYTES &&
        va - ALIAS_VA >= CODE_BYTES && va - KERNEL_VA >= KERNEL_END)
        return -1;
    if (!mem_read(w->mem, gpa_make(entry_of(w, w->space, va)), &entry, 8) || !(entry & 1) ||
        !mem_read(w->mem, gpa_make((entry & UINT64_C(0xfffff000)) | (va & 4095)), &b, 1))
        return -1;
    return b;
}

static void end_run(struct world *w)
{
    w->over = true;
    w->ops->kick(w->vcpu);
}

/* Into the log, or compared with the one that is followed. */
static void note(struct world *w, const struct record *r)
{
    const struct log *l = w->config.follow;
    uint64_t flags = UINT64_MAX;

    if (!l) {
        if (w->log.count == w->log.room) {
            w->log.room = w->log.room * 2 + 64;
            w->log.r = realloc(w->log.r, w->log.room * sizeof *w->log.r);
            if (!w->log.r)
                abort();
        }
        w->log.r[w->log.count++] = *r;
    } else if (w->at >= l->count) {
        end_run(w);
    } else {
        if (r->rflags != l->r[w->at].rflags && r->rip == l->r[w->at].rip)
            flags &= ~(uint64_t)dead_flags(r->rip, is_narrow(r->cs), world_fetch, w);
        if (records_differ(&l->r[w->at], r, flags)) {
            if (w->config.loud)
                tell_difference(w, &l->r[w->at], r);
            w->failed = true;
            end_run(w);
        }
    }
    if (w->at++ == w->config.stop_at_record)
        end_run(w);
    if (l && w->at == w->config.stop_at_record)
        w->ops->kick(w->vcpu); /* to be asked for each instruction from here on */
}

static void event(struct world *w)
{
    struct x86_state s;
    struct frame f;
    struct record r = {.kind = REC_EVENT, .icount = now(w)};
    uint64_t at;
    bool again;

    w->ops->get_state(w->vcpu, &s);
    at = s.gpr[RSP] - KERNEL_VA;
    if (w->over || !mem_read(w->mem, gpa_make(at), &f, sizeof f))
        return;
    for (unsigned i = 0; i < 16; i++)
        r.gpr[i] = i < RSP ? f.gpr[i] : i == RSP ? f.rsp : f.gpr[i - 1];
    r.rip = f.rip, r.rflags = f.rflags, r.cs = f.cs, r.error = f.error, r.cr2 = s.cr2;
    r.vector = (unsigned)f.vector;
    r.sum = memory_sum(w);
    memcpy(r.fx, s.fpu, sizeof r.fx);
    note(w, &r);
    if (++w->events >= w->config.events || r.icount >= w->config.instructions)
        end_run(w);
    again = f.vector == VECTOR_IRQ || f.vector == VEC_NMI ? dice_percent(&w->dice, 75)
            : f.vector == VEC_DB                          ? dice_percent(&w->dice, 90)
            : f.vector == VEC_PF || f.vector == VEC_BP    ? dice_percent(&w->dice, 15)
                                                          : dice_percent(&w->dice, 3);
    if (f.vector == VEC_DB && dice_percent(&w->dice, 10))
        f.rflags &= ~(uint64_t)RFLAGS_TF;
    /* The code may soon be another, that reads them. */
    f.rflags &= ~(uint64_t)dead_flags(f.rip, is_narrow(f.cs), world_fetch, w);
    if (dice_percent(&w->dice, 30))
        change_memory(w);
    if (f.vector == VEC_PF && again && dice_percent(&w->dice, 80) && s.cr2 - DATA_VA < 8 * 4096) {
        (void)poke64(w, entry_of(w, w->space, s.cr2), data_frame(w->space, 7) | 7);
        w->page = s.cr2;
    }
    if (dice_percent(&w->dice, 5))
        w->service = true;
    if (!again)
        enter_anew(w, &f);
    if (!poke(w, at, &f, sizeof f))
        end_run(w);
}

/* --- the bus --- */

static uint32_t port_in(void *arg, uint16_t port, unsigned bytes)
{
    struct world *w = arg;
    uint64_t v = 0;

    (void)bytes;
    if (port == PORT_CR3)
        return (uint32_t)w->cr3;
    if (port == PORT_CR3 + 1) {
        v = w->cr3 >> 32;
        w->cr3 = 0;
    } else if (port == PORT_PAGE) {
        v = w->page;
        w->page = 0;
    }
    return (uint32_t)v;
}

static void port_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    (void)bytes, (void)value;
    if (port == PORT_EVENT)
        event(arg);
}

static uint64_t mmio_read(void *arg, gpa_t gpa, unsigned bytes)
{
    struct world *w = arg;

    return (gpa.v * UINT64_C(0x9e3779b97f4a7c15) + bytes) ^ w->device_sum;
}

static void mmio_write(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    struct world *w = arg;

    w->device_sum = w->device_sum * 31 + gpa.v + bytes + value;
}

static int irq_ack(void *arg)
{
    struct world *w = arg;

    if (!w->irq)
        return -1;
    w->irq = false;
    w->ops->set_irq(w->vcpu, false);
    return VECTOR_IRQ;
}

static uint64_t tsc(void *arg)
{
    return now(arg) * 3;
}

/* A stop in the program itself: the handlers' own are not the same on both sides. */
static void stop(struct world *w, uint64_t icount)
{
    struct record r = {.kind = REC_STOP, .icount = icount};
    struct x86_state s;

    w->ops->get_state(w->vcpu, &s);
    memcpy(r.gpr, s.gpr, sizeof r.gpr);
    memcpy(r.fx, s.fpu, sizeof r.fx);
    r.rip = s.rip, r.rflags = s.rflags, r.cs = s.seg[SEG_CS].selector;
    note(w, &r);
    if ((s.rflags & RFLAGS_IF) && !s.irq_shadow && dice_percent(&w->dice, 12)) {
        w->irq = true;
        w->ops->set_irq(w->vcpu, true);
    }
    if (!s.irq_shadow && dice_percent(&w->dice, 2))
        w->ops->raise_nmi(w->vcpu);
    if (icount >= w->config.instructions)
        end_run(w);
}

static bool is_in_kernel(struct world *w)
{
    struct x86_state s;

    w->ops->get_state(w->vcpu, &s);
    return s.rip - (KERNEL_VA + STUBS_GPA) < 0x2000;
}

static uint64_t poll(void *arg)
{
    struct world *w = arg;
    const struct log *l = w->config.follow;
    uint64_t icount = now(w);

    if (w->over)
        return 1;
    if (!l) {
        if (!is_in_kernel(w))
            stop(w, icount);
        return 1 + dice_below(&w->pace, dice_percent(&w->pace, 20) ? 400 : 60);
    }
    if (w->at < l->count && l->r[w->at].kind == REC_STOP && icount >= l->r[w->at].icount)
        stop(w, icount);
    if (w->at == w->config.stop_at_record && !w->over) {
        trace(w, icount);
        return 1;
    }
    for (unsigned n = w->at; n < l->count; n++)
        if (l->r[n].kind == REC_STOP)
            return l->r[n].icount > icount ? l->r[n].icount - icount : 1;
    return 1000;
}

static const struct cpu_bus bus = {.port_in = port_in,
                                   .port_out = port_out,
                                   .mmio_read = mmio_read,
                                   .mmio_write = mmio_write,
                                   .irq_ack = irq_ack,
                                   .msr_read = no_msr_read,
                                   .msr_write = no_msr_write,
                                   .cr8_read = no_cr8_read,
                                   .cr8_write = no_cr8_write,
                                   .tsc = tsc,
                                   .poll = poll};

/* --- life --- */

struct world *world_create(const struct world_config *config)
{
    struct world *w = calloc(1, sizeof *w);
    struct vcpu_config cpu = {.tsc_khz = 1000000, .features = CPU_FEATURES_DEFAULT};
    struct x86_state s;

    if (!w)
        return NULL;
    w->config = *config;
    w->dice.s = config->seed * 0x2545f4914f6cdd1d + 17;
    w->pace.s = config->seed + 1;
    w->bus = bus;
    w->bus.arg = w->bus.poll_arg = w;
    w->ops = engine_find(config->engine);
    if (!w->ops || mem_create(&w->mem, GUEST_BYTES))
        goto fail;
    cpu.mem = w->mem;
    cpu.bus = &w->bus;
    cpu.hot_runs = config->hot_runs;
    cpu.budgeted = config->follow != NULL;
    cpu.code_bytes = 1;
    cpu.mmu_strategy = (enum mmu_strategy)dice_below(&w->dice, 3);
    w->pcid = dice_percent(&w->dice, 50);
    w->tracked = dice_percent(&w->dice, 20);
    w->program.repeats = w->tracked;
    w->program.narrow = config->narrow;
    program_make(&w->program, &w->dice);
    if (w->ops->create(&w->vcpu, &cpu) || !kernel_make(w))
        goto fail;
    kernel_state(w, &s);
    w->ops->set_state(w->vcpu, &s);
    return w;
fail:
    fprintf(stderr, "block_fuzz: %s\n", err_text());
    world_destroy(w);
    return NULL;
}

void world_destroy(struct world *w)
{
    if (w->vcpu)
        w->ops->destroy(w->vcpu);
    if (w->mem)
        mem_destroy(w->mem);
    free(w->log.r);
    free(w);
}

/* Frames leave memory, which no guest may notice. */
static void serve(struct world *w)
{
    const struct mem_orders orders = {.limit_bytes = UINT64_MAX,
                                      .target_bytes = mem_host_bytes(w->mem) / 2,
                                      .means = MEM_MEANS_SHARE | MEM_MEANS_COMPRESS};

    w->service = false;
    mem_set_orders(w->mem, &orders);
    (void)mem_service(w->mem, now(w) * 1000, UINT64_C(1000000000));
}

bool world_run(struct world *w)
{
    struct record r = {.kind = REC_END};
    enum engine_exit why;

    while (!w->over) {
        why = w->ops->run(w->vcpu);
        if (w->service)
            serve(w);
        if (why == ENGINE_EXIT_KICKED || w->over)
            continue;
        if (why == ENGINE_EXIT_HOST_ERROR) {
            fprintf(stderr, "seed %llu: %s\n", (unsigned long long)w->config.seed, err_text());
            w->failed = true;
        }
        r.icount = now(w);
        r.end = (int)why;
        note(w, &r);
        break;
    }
    if (w->config.follow && !w->failed && w->at < w->config.follow->count &&
        w->config.stop_at_record == UINT64_MAX) {
        w->at++;
        if (w->config.loud)
            fprintf(stderr, "seed %llu: the interpreter ends after record %u of %u\n",
                    (unsigned long long)w->config.seed, w->at - 1, w->config.follow->count);
        w->failed = true;
    }
    if (!mem_check(w->mem) || !mmu_audit(w->ops->mmu(w->vcpu))) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)w->config.seed, err_text());
        w->failed = true;
    }
    return !w->failed;
}

const struct log *world_log(const struct world *w)
{
    return &w->log;
}

bool world_is_inconclusive(const struct world *w)
{
    return (w->saw_rep && !w->tracked) || w->saw_random || w->saw_flags_revived;
}

unsigned world_at(const struct world *w)
{
    return w->at ? w->at - 1 : 0;
}

const struct cpu_stats *world_stats(const struct world *w)
{
    return w->ops->stats(w->vcpu);
}
