/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long frames have been idle: one byte each, 0 at every use, one more each period. Whoever
 * caches translations forgets, once a period, that it told of a use (`age` of the observers).
 */
#include <string.h>

#include "mem/internal.h"

void age_tick(struct guest_mem *mem)
{
    uint8_t *age = mem->age;

    for (size_t o = 0; o < mem->observer_count; o++) {
        if (mem->observers[o].age)
            mem->observers[o].age(mem->observers[o].arg);
    }
    for (uint64_t i = 0; i < mem->total_pages; i++)
        age[i] = (uint8_t)(age[i] + ((age[i] & AGE_MAX) != AGE_MAX));
    mem->stats.age_scans++;
}

void mem_age_histogram(const struct guest_mem *mem, uint64_t pages[MEM_AGES])
{
    memset(pages, 0, MEM_AGES * sizeof *pages);
    for (uint64_t i = 0; i < mem->total_pages; i++) {
        unsigned age = mem->age[i] & AGE_MAX;
        if (mem->state[i] >= PAGE_RESIDENT)
            pages[age < MEM_AGES ? age : MEM_AGES - 1]++;
    }
}
