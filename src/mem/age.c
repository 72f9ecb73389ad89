/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long frames have been idle: one byte each, 0 at every use.
 *
 *   0 .. 15     sixteenths of a second (of MEM_AGE_PERIOD_NS)
 *   16 .. 127   1, 2, 3, ... seconds
 *
 * All grow older once a second; under pressure already when a quarter of what is there has come in,
 * up to sixteen times a second, so that what is used all the time is told from what was used once
 * before it leaves again. Whoever caches translations forgets then that it told of a use (`age` of
 * the observers).
 */
#include <string.h>

#include "mem/internal.h"

#define TURNOVER_PART 4

static void grow_older(struct guest_mem *mem, unsigned sixteenths, unsigned seconds)
{
    uint8_t *age = mem->age;

    for (size_t o = 0; o < mem->observer_count; o++) {
        if (mem->observers[o].age)
            mem->observers[o].age(mem->observers[o].arg);
    }
    for (uint64_t i = 0; i < mem->total_pages; i++) {
        unsigned mark = age[i] & AGE_AHEAD, a = age[i] & AGE_MAX;
        if (a >= AGE_SECOND)
            a = a + seconds < AGE_MAX ? a + seconds : AGE_MAX;
        else
            a = a + sixteenths < AGE_SECOND ? a + sixteenths : AGE_SECOND;
        age[i] = (uint8_t)(mark | a);
    }
    mem->stats.age_scans++;
}

uint64_t mem_arrivals(const struct guest_mem *mem)
{
    const struct mem_reclaim_stats *s = &mem->stats;

    return s->came_from_compressed + s->came_from_swap + s->came_from_image + s->readahead;
}

uint64_t age_work(struct guest_mem *mem, uint64_t now_ns)
{
    struct ageing *ageing = &mem->ageing;
    uint64_t part_ns = MEM_AGE_PERIOD_NS / AGE_SECOND, came = mem_arrivals(mem);

    if (!ageing->last_ns)
        ageing->last_ns = ageing->second_ns = now_ns;
    uint64_t passed = now_ns - ageing->last_ns;
    bool is_pressed = came - ageing->arrivals > mem_own_pages(mem) / TURNOVER_PART;
    if (passed >= MEM_AGE_PERIOD_NS || (passed >= part_ns && is_pressed)) {
        uint64_t parts = passed / part_ns;
        bool is_second = now_ns - ageing->second_ns >= MEM_AGE_PERIOD_NS;

        /* However long nobody looked, the guest may not have run meanwhile. */
        grow_older(mem, parts < AGE_SECOND ? (unsigned)parts : AGE_SECOND, is_second);
        ageing->last_ns = now_ns;
        if (is_second)
            ageing->second_ns = now_ns;
        ageing->arrivals = came;
    }
    return ageing->last_ns + MEM_AGE_PERIOD_NS;
}

void mem_age_histogram(const struct guest_mem *mem, uint64_t pages[MEM_AGES])
{
    memset(pages, 0, MEM_AGES * sizeof *pages);
    for (uint64_t i = 0; i < mem->total_pages; i++) {
        unsigned age = age_seconds(mem->age[i]);
        if (mem->state[i] >= PAGE_RESIDENT)
            pages[age < MEM_AGES ? age : MEM_AGES - 1]++;
    }
}
