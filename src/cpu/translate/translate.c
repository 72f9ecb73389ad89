/* SPDX-License-Identifier: Apache-2.0 */
/* The translate engine as the rest of Umbra sees it, and what the block cache tells it. */
#include "cpu/translate/translate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "cpu/interp/fp.h"
#include "cpu/interp/run.h"
#include "cpu/translate/space.h"

#define HWCAP2_FSGSBASE (1u << 1) /* asm/hwcap2.h of newer kernels */

static bool offer(struct interp *c, struct uop *head, struct tier_block *block)
{
    struct translate *t = translate_of(c);
    enum engine_phase before = phase_set(c, ENGINE_translator);
    struct native_block *b = code_is_flat(c) ? translate_block(t, block) : NULL;

    phase_set(c, before);
    if (!b)
        return false;
    head->extra = b;
    head->fn = op_native;
    return true;
}

static void drop_all(struct interp *c)
{
    windows_reset(&translate_of(c)->windows, c);
    pairs_empty(&translate_of(c)->pairs);
    code_memory_reset(&translate_of(c)->code);
    if (translate_of(c)->direct)
        direct_flushed(c, 0, true);
}

/* What the neighbours' views are made of. */
static struct near_key near_key(const struct interp *c)
{
    return (struct near_key){
        .view = {c->view[0] & ~(VIEW_AC | VIEW_USER), c->view[1] & ~(VIEW_AC | VIEW_USER)},
        .smap = c->s.cr4 & CR4_SMAP,
        .shares = c->upper.shares,
        .is_32 = c->mode == CODE_32};
}

/* The neighbour that the present view is; NEAR_VIEWS: none. */
static unsigned near_now(const struct interp *c)
{
    bool ac = (c->s.rflags & RFLAGS_AC) && (c->s.cr4 & CR4_SMAP);

    if (c->view[0] == VIEW_SLOW)
        return NEAR_VIEWS;
    if (c->cpl == 3)
        return ac ? NEAR_VIEWS : NEAR_USER;
    return ac ? NEAR_KERNEL_AC : NEAR_KERNEL;
}

static void find_near(struct translate *t)
{
    t->near_key = near_key(&t->c);
    for (unsigned n = 0; n < NEAR_VIEWS; n++) {
        const struct window_view v = windows_view(&t->c, n == NEAR_USER, n == NEAR_KERNEL_AC);
        int window = windows_find(&t->windows, &t->c, &v);

        t->near[n].is_known = window >= 0;
        if (!t->near[n].is_known)
            continue;
        t->near[n] = (struct near_view){.base = (uint64_t)(uintptr_t)&t->windows.window[window],
                                        .view = v.half[0] | (uint64_t)v.half[1] << 32,
                                        .window = (uint32_t)window,
                                        .is_known = true};
    }
}

static bool is_same_key(const struct near_key *a, const struct near_key *b)
{
    return a->view[0] == b->view[0] && a->view[1] == b->view[1] && a->smap == b->smap &&
           a->shares == b->shares && a->is_32 == b->is_32;
}

static void remember_near(struct translate *t)
{
    struct near_space *s = &t->near_space[t->next_near_space++ % NEAR_SPACES];

    s->key = t->near_key;
    s->given = t->windows.given;
    memcpy(s->near, t->near, sizeof s->near);
}

/* The views of this key as they were found when it was the present one, if they still are. */
static bool recall_near(struct translate *t, const struct near_key *key)
{
    for (unsigned i = 0; i < NEAR_SPACES; i++) {
        const struct near_space *s = &t->near_space[i];

        if (s->given != t->windows.given || !is_same_key(&s->key, key))
            continue;
        t->near_key = *key;
        memcpy(t->near, s->near, sizeof t->near);
        for (unsigned n = 0; n < NEAR_VIEWS; n++)
            if (t->near[n].is_known)
                windows_make_ready(&t->windows, &t->c, t->near[n].window,
                                   (uint32_t)t->near[n].view);
        return true;
    }
    return false;
}

/* Windows are only chosen here, so that a neighbour's stays its own until then. */
static void view(struct interp *c)
{
    struct translate *t = translate_of(c);
    const struct near_key key = near_key(c);
    unsigned now = near_now(c);

    pairs_view(&t->pairs, c->fetch_view);
    if (now < NEAR_VIEWS && (is_same_key(&t->near_key, &key) || recall_near(t, &key)) &&
        t->near[now].is_known) {
        t->window_base = t->near[now].base;
        windows_use(&t->windows, t->near[now].window);
        return;
    }
    t->window_base = windows_choose(&t->windows, c);
    find_near(t);
    remember_near(t);
}

static void forget(struct interp *c, unsigned i)
{
    windows_forget(&translate_of(c)->windows, c, i);
}

static void fetch(struct interp *c, unsigned i)
{
    windows_forget_fetch(&translate_of(c)->windows, i);
    pairs_empty(&translate_of(c)->pairs);
}

static const struct tier_ops translate_tier = {.offer = offer,
                                               .stale = native_stale,
                                               .revive = native_revive,
                                               .patch = native_patch,
                                               .drop_all = drop_all,
                                               .view = view,
                                               .forget = forget,
                                               .fetch = fetch};

/* With direct execution. */
static struct tier_ops with_direct(struct tier_ops ops)
{
    ops.written = direct_written;
    ops.flushed = direct_flushed;
    ops.frames = direct_frames;
    ops.filled = direct_filled;
    ops.age = direct_age;
    ops.turn = direct_turn;
    ops.user = direct_user;
    return ops;
}

/* --- life --- */

static size_t struct_bytes(void)
{
    return (sizeof(struct translate) + PAGE_SIZE - 1) & PAGE_MASK;
}

static void translate_destroy(struct vcpu *vcpu)
{
    struct translate *t = (struct translate *)vcpu;

    interp_fini(&t->c);
    compile_destroy(t);
    perf_map_close(t->perf_map);
    free(t->callouts);
    direct_destroy(t->direct);
    windows_destroy(&t->windows);
    code_memory_destroy(&t->code);
    munmap(t, struct_bytes());
}

static bool direct_is_wanted(const struct vcpu_config *config)
{
    return config->direct && !config->budgeted && !config->mmu_oracle && !config->audit_exits &&
           space_file(config->mem) >= 0;
}

static enum err create_parts(struct translate *t, const struct vcpu_config *config)
{
    uint64_t bytes = config->code_bytes && config->code_bytes < CODE_CACHE_MOST ? config->code_bytes
                                                                                : CODE_CACHE_MOST;
    enum err err;

    err = code_memory_create(&t->code, bytes > CODE_CACHE_LEAST ? bytes : CODE_CACHE_LEAST);
    if (!err)
        err = windows_create(&t->windows);
    if (!err)
        err = compile_create(t);
    if (!err)
        err = callouts_create(&t->callouts);
    if (!err && config->perf_map)
        err = perf_map_open(&t->perf_map);
    if (err)
        return err;
    for (unsigned n = 0; n <= BLOCK_MAX_INSNS; n++)
        t->counts[n] = n;
    t->vectors = VECTORS_IN_IMAGE;
    t->profile = config->profile;
    t->host_mxcsr = FP_MXCSR_INIT;
    if (config->bus->tsc_scale && !config->bus->tsc_scale(config->bus->arg, &t->tsc))
        t->tsc = (struct clock_tsc_scale){0};
    iret_ways_forget(t);
    thunks_write(t);
    t->tier = translate_tier;
    if (direct_is_wanted(config)) {
        err = direct_create(&t->direct);
        if (err)
            return err;
        t->tier = with_direct(t->tier);
    }
    /* Where stops must be exact, all is interpreted. */
    if (!config->budgeted)
        t->c.tier = &t->tier;
    return interp_init(&t->c, config);
}

static enum err translate_create(struct vcpu **out, const struct vcpu_config *config)
{
    struct translate *t = mmap(NULL, struct_bytes(), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    enum err err;

    if (t == MAP_FAILED)
        return err_errno(ERR_NOMEM, "no memory below 2 GiB for a vCPU");
    t->c.base.ops = &engine_translate;
    err = create_parts(t, config);
    if (err) {
        translate_destroy(&t->c.base);
        return err;
    }
    *out = &t->c.base;
    return ERR_OK;
}

/* --- requests from any thread --- */

static void translate_kick(struct vcpu *vcpu)
{
    interp_vcpu_kick(vcpu);
    direct_kick(((struct translate *)vcpu)->direct);
}

static void translate_set_irq(struct vcpu *vcpu, bool level)
{
    interp_vcpu_set_irq(vcpu, level);
    if (level)
        direct_kick(((struct translate *)vcpu)->direct);
}

static void translate_raise_nmi(struct vcpu *vcpu)
{
    interp_vcpu_raise_nmi(vcpu);
    direct_kick(((struct translate *)vcpu)->direct);
}

static unsigned translate_callouts(const struct vcpu *vcpu, struct engine_callout *out,
                                   unsigned room)
{
    return callouts_top(((const struct translate *)vcpu)->callouts, out, room);
}

static const struct cpu_stats *translate_stats(const struct vcpu *vcpu)
{
    struct translate *t = (struct translate *)(uintptr_t)vcpu;

    t->c.stats.native_held = code_memory_held(&t->code);
    return interp_vcpu_stats(vcpu);
}

static bool translate_is_available(const char **why)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("bmi2")) {
        *why = "its CPU has no BMI2";
        return false;
    }
    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) {
        *why = "its CPU or kernel has no FSGSBASE";
        return false;
    }
    return true;
}

const struct engine_ops engine_translate = {
    .name = "translate",
    .summary = "native code for hot 64-bit and 32-bit code, the interpreter for all else",
    .is_available = translate_is_available,
    .create = translate_create,
    .destroy = translate_destroy,
    .run = interp_vcpu_run,
    .kick = translate_kick,
    .set_irq = translate_set_irq,
    .raise_nmi = translate_raise_nmi,
    .get_state = interp_vcpu_get_state,
    .set_state = interp_vcpu_set_state,
    .instructions = interp_vcpu_instructions,
    .stats = translate_stats,
    .mmu = interp_vcpu_mmu,
    .callouts = translate_callouts,
    .trim = interp_vcpu_trim,
};
