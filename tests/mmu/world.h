/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of memory and an MMU only, for one MAXPHYADDR; and random numbers that come again. */
#ifndef UMBRA_TESTS_MMU_WORLD_H
#define UMBRA_TESTS_MMU_WORLD_H

#include "mem/mem.h"
#include "mmu/mmu.h"

#define WORLD_BYTES (UINT64_C(16) << 20)

struct world {
    struct guest_mem *mem;
    struct mmu *mmu;
    uint8_t *ram; /* GPA 0 .. WORLD_BYTES */
    unsigned maxphyaddr;
};

/* Ends the program with a message when the host fails: a test has nothing better to do. */
void world_open(struct world *w, unsigned maxphyaddr, enum mmu_strategy strategy,
                const struct mmu_tlb_ops *tlb);

/* By its name; ends the program when there is no such strategy. */
enum mmu_strategy world_strategy(const char *name);
/* Adaptive: tables change their state after so few calm flushes, and writes without a use. */
void world_hurry(struct world *w, unsigned calm_min, unsigned flood_max);

void world_close(struct world *w);

/* As the CPU reads tables: what is not RAM is all ones. arg: the world (a model_load). */
uint64_t world_load(void *arg, uint64_t gpa, unsigned bytes);

/* The guest stores; trackers hear of it. Outside of RAM nothing happens. */
void world_store(struct world *w, uint64_t gpa, uint64_t value, unsigned bytes);

/* One of a sequence: the n-th random number of a seed. */
static inline uint64_t random_at(uint64_t seed, uint64_t n)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

struct dice {
    uint64_t seed, n;
};

static inline uint64_t dice_bits(struct dice *d)
{
    return random_at(d->seed, d->n++);
}

/* 0 .. below - 1 */
static inline unsigned dice_roll(struct dice *d, unsigned below)
{
    return (unsigned)((dice_bits(d) >> 32) * below >> 32);
}

#endif
