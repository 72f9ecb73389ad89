/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shadow MMU costs by itself: processor time of one answer of each kind, on a guest made
 * of 4-level tables that map 4096 pages; and what it costs the interpreter's TLB, full of other
 * frames, when frames leave. Prints one line per kind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/interp/interp.h"
#include "mem/mem.h"
#include "mmu/mmu.h"

#define PAGES   4096u
#define FEW     32u
#define ROUNDS  100u
#define GVA     UINT64_C(0x400000)
#define DATA    UINT64_C(0x4000000)
#define TABLES  UINT64_C(0x10000)
#define PRESENT 7u /* present, writable, user */

struct bench {
    struct guest_mem *mem;
    struct mmu *mmu;
    struct mmu_context ctx;
};

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void put(struct bench *b, uint64_t gpa, uint64_t entry)
{
    if (!mem_write(b->mem, gpa_make(gpa), &entry, sizeof entry)) {
        fprintf(stderr, "shadow_cost: %s\n", err_text());
        exit(EXIT_FAILURE);
    }
}

/* One table each at levels 4, 3 and 2; eight at level 1. */
static void make_tables(struct bench *b)
{
    put(b, TABLES, (TABLES + 0x1000) | PRESENT);
    put(b, TABLES + 0x1000, (TABLES + 0x2000) | PRESENT);
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t gva = GVA + (i << 12), table = TABLES + 0x3000 + (i / 512 << 12);
        put(b, TABLES + 0x2000 + 8 * (gva >> 21 & 511), table | PRESENT);
        put(b, table + 8 * (gva >> 12 & 511), (DATA + (i << 12)) | PRESENT);
    }
    b->ctx = (struct mmu_context){.cr0 = 0x80010001, .cr3 = TABLES, .cr4 = 0x20, .efer = 0xd00};
}

static void touch(struct bench *b, uint64_t page, enum mmu_access_kind kind)
{
    const struct mmu_access access = {
        .gva = gva_make(GVA + (page << 12)), .kind = kind, .user = true};
    struct mmu_result result;

    mmu_translate(b->mmu, &access, false, &result);
}

static void report(const char *what, double since, double count)
{
    printf("%-52s %7.1f ns\n", what, (cpu_ns() - since) / count);
}

static void run(struct bench *b)
{
    double t = cpu_ns();
    for (unsigned i = 0; i < PAGES; i++)
        touch(b, i, MMU_READ);
    report("hidden fault: no entry, page absent", t, PAGES);

    t = cpu_ns();
    for (unsigned i = 0; i < PAGES; i++)
        touch(b, i, MMU_WRITE);
    report("hidden fault: first write, page becomes resident", t, PAGES);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned i = 0; i < PAGES; i++)
            touch(b, i, MMU_WRITE);
    report("answered by the shadow", t, (double)ROUNDS * PAGES);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned i = 0; i < PAGES; i++) {
            mmu_invlpg(b->mmu, gva_make(GVA + ((uint64_t)i << 12)));
            touch(b, i, MMU_WRITE);
        }
    report("INVLPG and hidden fault", t, (double)ROUNDS * PAGES);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS * 100; r++) {
        mmu_set_context(b->mmu, &b->ctx, MMU_SWITCH_FLUSH);
        for (unsigned i = 0; i < FEW; i++)
            touch(b, i, MMU_WRITE);
    }
    report("CR3 write and 32 unchanged pages, per page", t, (double)ROUNDS * 100 * FEW);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS * PAGES; r++)
        touch(b, PAGES, MMU_READ);
    report("true fault: not present", t, (double)ROUNDS * PAGES);
}

/* Frames that leave; none of them is in the TLB, as is usual for idle ones. */
static void run_tlb(struct interp *c)
{
    const struct mmu_tlb_ops *ops = &interp_tlb_ops;
    gfn_t gfns[64];

    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        c->tlb[i] = (struct tlb_entry){.rtag = 4, .wtag = 4, .note = (uint64_t)i << PAGE_SHIFT};
        tlb_frame_set(c, i, gfn_make(i));
    }
    for (unsigned i = 0; i < 64; i++)
        gfns[i] = gfn_make(0x100000 + i * 7);
    double t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS * 100; r++)
        ops->drop_frames(c, gfns, 1);
    report("a frame leaves that the TLB does not know", t, ROUNDS * 100);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS * 100; r++)
        ops->drop_frames(c, gfns, 64);
    report("64 frames leave together, per frame", t, ROUNDS * 100 * 64);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS * 100; r++)
        ops->write_protect_frame(c, gfns[0]);
    report("a frame begins to be tracked", t, ROUNDS * 100);

    t = cpu_ns();
    for (unsigned r = 0; r < ROUNDS * 100; r++)
        ops->flush_all(c);
    report("the TLB is emptied (frames grow older: once a second)", t, ROUNDS * 100);
}

int main(void)
{
    struct bench b;

    memset(&b, 0, sizeof b);
    if (mem_create(&b.mem, UINT64_C(256) << 20)) {
        fprintf(stderr, "shadow_cost: %s\n", err_text());
        return EXIT_FAILURE;
    }
    const struct mmu_config config = {.mem = b.mem, .maxphyaddr = 40};
    if (mmu_create(&b.mmu, &config)) {
        fprintf(stderr, "shadow_cost: %s\n", err_text());
        mem_destroy(b.mem);
        return EXIT_FAILURE;
    }
    make_tables(&b);
    mmu_set_context(b.mmu, &b.ctx, MMU_SWITCH_FLUSH_ALL);
    run(&b);
    struct interp *c = aligned_alloc(64, (sizeof *c + 63) & ~(size_t)63);
    if (c) {
        memset(c, 0, sizeof *c);
        run_tlb(c);
        free(c);
    }
    mmu_destroy(b.mmu);
    mem_destroy(b.mem);
    return EXIT_SUCCESS;
}
