/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shadow oracle: every answer of the MMU is compared with a plain walk of the guest's tables,
 * made by code of its own (plain.c) that shares nothing with the walker, the shadow or the flush
 * bookkeeping.
 *
 * An answer that a fresh walk gave must equal the plain walk exactly. One from the shadow may also
 * equal an answer that was right at some access since the last flush that covers the address: that
 * is what a TLB is allowed (SDM 3A 4.10.2). For this the oracle remembers right answers, by PCID
 * and page (large pages as a whole), with the time at which they were last right, and writes down
 * every flush with its time:
 *
 *   remembered answer may be used  <=>  it was right after the last of
 *       flush of everything | flush of its PCID (not for global ones) | INVLPG inside its page
 */
#include <inttypes.h>
#include <stdlib.h>

#include "mmu/internal.h"
#include "mmu/plain.h"

#define PAGE_SETS    (1u << 18)
#define MEMORIES     4u
#define ADDRESS_SETS (1u << 16)
#define PCID_GLOBAL  PCIDS

/* One right answer and when it was last seen right; time 0: unused. */
struct memory {
    struct plain plain;
    uint64_t time;
};

/*
 * The answers of one (PCID, page, size); forgotten: time of the newest one that had to make room.
 */
struct page_set {
    uint64_t key;
    uint64_t forgotten;
    struct memory memory[MEMORIES];
};

struct address_flush {
    uint64_t key;
    uint64_t time;
};

struct oracle {
    struct mmu *mmu;
    struct mmu_context ctx;
    unsigned pcid;
    uint64_t now;
    uint64_t flushed_all, flushed_non_global;
    uint64_t flushed_pcid[PCIDS];
    struct page_set *pages;
    struct address_flush *addresses;
    struct log_limit log;
};

enum err oracle_create(struct oracle **out, struct mmu *mmu)
{
    struct oracle *o = calloc(1, sizeof *o);

    *out = o;
    if (!o)
        return err_errno(ERR_NOMEM, "shadow oracle");
    o->mmu = mmu;
    o->pages = calloc(PAGE_SETS, sizeof *o->pages);
    o->addresses = calloc(ADDRESS_SETS, sizeof *o->addresses);
    if (!o->pages || !o->addresses)
        return err_errno(ERR_NOMEM, "shadow oracle");
    return ERR_OK;
}

void oracle_destroy(struct oracle *o)
{
    if (!o)
        return;
    free(o->pages);
    free(o->addresses);
    free(o);
}

static uint64_t mix(uint64_t key)
{
    return key * UINT64_C(0x9e3779b97f4a7c15);
}

/* --- flushes --- */

static uint64_t address_key(unsigned pcid, unsigned shift, uint64_t gva)
{
    return mix(gva >> shift) ^ mix((uint64_t)shift << 16 | pcid) >> 1;
}

static const unsigned shifts[] = {12, 21, 22, 30};
#define SHIFTS (sizeof shifts / sizeof *shifts)

static void note_address(struct oracle *o, unsigned pcid, gva_t gva)
{
    for (unsigned i = 0; i < SHIFTS; i++) {
        uint64_t key = address_key(pcid, shifts[i], gva.v);
        o->addresses[mix(key) >> 48] = (struct address_flush){.key = key, .time = o->now};
    }
}

static uint64_t address_flushed(const struct oracle *o, unsigned pcid, unsigned shift, uint64_t gva)
{
    uint64_t key = address_key(pcid, shift, gva);
    const struct address_flush *a = &o->addresses[mix(key) >> 48];

    return a->key == key ? a->time : 0;
}

void oracle_context(struct oracle *o, const struct mmu_context *ctx, enum mmu_switch how)
{
    bool pcide = (ctx->cr4 & CTX_CR4_PCIDE) && (ctx->cr0 & CTX_CR0_PG);

    o->ctx = *ctx;
    o->pcid = pcide ? (unsigned)ctx->cr3 & 0xfff : 0;
    o->now++;
    if (how == MMU_SWITCH_FLUSH_ALL)
        o->flushed_all = o->now;
    else if (how == MMU_SWITCH_FLUSH)
        o->flushed_pcid[o->pcid] = o->now;
}

void oracle_invlpg(struct oracle *o, gva_t gva)
{
    o->now++;
    note_address(o, o->pcid, gva);
    note_address(o, PCID_GLOBAL, gva);
}

void oracle_invpcid(struct oracle *o, unsigned type, unsigned pcid, gva_t gva)
{
    o->now++;
    if (type == 0)
        note_address(o, pcid, gva);
    else if (type == 1)
        o->flushed_pcid[pcid] = o->now;
    else if (type == 2)
        o->flushed_all = o->now;
    else
        o->flushed_non_global = o->now;
}

/* --- memory of right answers --- */

static struct page_set *set_of(struct oracle *o, unsigned pcid, unsigned shift, uint64_t gva,
                               uint64_t *key)
{
    /* Linear addresses have at most 57 bits: the sign bits make room for the PCID. */
    *key = (gva >> shift << shift) ^ (uint64_t)(pcid & 0x7f) << 57 ^ (pcid >> 7 << 6 | shift);
    return &o->pages[mix(*key ^ *key >> 32) >> 46];
}

static uint64_t forget_before(const struct oracle *o, unsigned pcid)
{
    uint64_t t = o->flushed_all;

    if (pcid != PCID_GLOBAL) {
        if (o->flushed_non_global > t)
            t = o->flushed_non_global;
        if (o->flushed_pcid[pcid] > t)
            t = o->flushed_pcid[pcid];
    }
    return t;
}

static void remember(struct oracle *o, unsigned pcid, uint64_t gva, const struct plain *answer)
{
    struct plain whole = *answer;
    const struct plain *plain = &whole;
    uint64_t key;

    whole.page = answer->page >> answer->shift << answer->shift;
    struct page_set *set = set_of(o, pcid, plain->shift, gva, &key);
    struct memory *oldest = &set->memory[0];

    if (set->key != key) {
        /* Another page had this place: from now on its unknown answers cannot be judged. */
        uint64_t forgotten = set->key ? o->now : 0;
        *set = (struct page_set){.key = key, .forgotten = forgotten};
    }
    for (unsigned i = 0; i < MEMORIES; i++) {
        struct memory *m = &set->memory[i];
        if (m->time && plain_equal(&m->plain, plain)) {
            m->time = o->now;
            return;
        }
        if (m->time < oldest->time)
            oldest = m;
    }
    if (oldest->time > set->forgotten)
        set->forgotten = oldest->time;
    *oldest = (struct memory){.plain = *plain, .time = o->now};
}

/* --- comparing --- */

struct question {
    const struct mmu_access *access;
    bool ac;
    const struct mmu_result *answer;
};

/* Would a CPU holding this translation give this answer? */
static bool fits(struct oracle *o, const struct question *q, const struct plain *plain)
{
    const struct mmu_result *a = q->answer;
    struct plain_allowed allowed = plain_allow(&o->ctx, plain, q->access, q->ac);
    hva_t hva;
    bool writable;

    if (a->page_gpa.v != plain->page || !allowed.this_access)
        return false;
    if (a->gpa.v != plain->page + (q->access->gva.v & (PAGE_SIZE - 1)))
        return false;
    bool ram = mem_find_slot(o->mmu->mem, gpa_gfn(a->page_gpa)) != NULL;
    if (!ram || a->kind == MMU_DEVICE)
        return !ram && a->kind == MMU_DEVICE;
    if (mem_peek(o->mmu->mem, gpa_gfn(a->page_gpa), MEM_FOR_READ, &hva, &writable) != MEM_OK)
        return false;
    bool quiet = writable && !mem_track(o->mmu->mem, gpa_gfn(a->page_gpa));
    if (a->hva.v != hva.v || a->may_read != allowed.read || a->may_exec != allowed.exec)
        return false;
    if (a->may_write && !(allowed.write && plain->dirty && quiet))
        return false;
    if (q->access->kind == MMU_WRITE && (!writable || a->may_write != quiet))
        return false;
    return a->tracked == mem_track(o->mmu->mem, gpa_gfn(a->page_gpa));
}

static bool fits_size(struct oracle *o, const struct question *q, unsigned pcid, unsigned shift)
{
    uint64_t key, gva = q->access->gva.v;
    const struct page_set *set = set_of(o, pcid, shift, gva, &key);

    if (set->key != key)
        return set->key != 0 && shift == PAGE_SHIFT; /* forgotten: cannot be judged */
    uint64_t before = forget_before(o, pcid);
    uint64_t flushed = address_flushed(o, pcid, shift, gva);
    if (flushed > before)
        before = flushed;
    for (unsigned i = 0; i < MEMORIES; i++) {
        struct plain p = set->memory[i].plain;
        p.page += gva & ((UINT64_C(1) << shift) - 1) & PAGE_MASK;
        if (set->memory[i].time > before && fits(o, q, &p))
            return true;
    }
    return set->forgotten > before;
}

static bool fits_memory(struct oracle *o, const struct question *q)
{
    for (unsigned i = 0; i < SHIFTS; i++) {
        if (fits_size(o, q, o->pcid, shifts[i]) || fits_size(o, q, PCID_GLOBAL, shifts[i]))
            return true;
    }
    return false;
}

static void mismatch(struct oracle *o, const struct question *q, const struct plain *plain,
                     bool from_shadow)
{
    const struct mmu_result *a = q->answer;

    o->mmu->stats.oracle_mismatches++;
    log_limited(
        &o->log, LOG_ERROR, "oracle",
        "mismatch gva=0x%" PRIx64 " kind=%d user=%d implicit=%d ac=%d from_shadow=%d cr0=0x%" PRIx64
        " cr3=0x%" PRIx64 " cr4=0x%" PRIx64 " efer=0x%" PRIx64 " answer: kind=%d page=0x%" PRIx64
        " r=%d w=%d x=%d tracked=%u error=0x%x"
        " plain: fault=%d why=0x%x page=0x%" PRIx64 " user=%d write=%d nx=%d dirty=%d",
        q->access->gva.v, q->access->kind, q->access->user, q->access->implicit, q->ac, from_shadow,
        o->ctx.cr0, o->ctx.cr3, o->ctx.cr4, o->ctx.efer, a->kind, a->page_gpa.v, a->may_read,
        a->may_write, a->may_exec, a->tracked, a->error_code, plain->faults, plain->why,
        plain->page, plain->user, plain->write, plain->nx, plain->dirty);
}

static bool is_right(struct oracle *o, const struct question *q, const struct plain *plain)
{
    if (q->answer->kind == MMU_GUEST_FAULT) {
        uint32_t code;
        return plain_fault(&o->ctx, plain, q->access, q->ac, &code) &&
               code == q->answer->error_code;
    }
    return !plain->faults && fits(o, q, plain);
}

void oracle_check(struct oracle *o, const struct mmu_access *access, bool ac,
                  const struct mmu_result *answer, bool from_shadow)
{
    const struct question q = {.access = access, .ac = ac, .answer = answer};
    struct plain plain;

    if (answer->kind == MMU_HOST_ERROR)
        return;
    o->now++;
    o->mmu->stats.oracle_checks++;
    plain_walk(o->mmu->mem, &o->ctx, o->mmu->maxphyaddr, access->gva, &plain);
    if (plain.unknown)
        return;
    bool right = is_right(o, &q, &plain);
    /* A fresh walk that succeeded has left its marks in the guest's tables. */
    if (right && !from_shadow && answer->kind != MMU_GUEST_FAULT)
        right = plain.accessed && (access->kind != MMU_WRITE || plain.dirty);
    if (!right && from_shadow && fits_memory(o, &q))
        o->mmu->stats.oracle_stale_allowed++;
    else if (!right)
        mismatch(o, &q, &plain, from_shadow);
    if (!plain.faults) {
        remember(o, o->pcid, access->gva.v, &plain);
        if (plain.global)
            remember(o, PCID_GLOBAL, access->gva.v, &plain);
    }
}
