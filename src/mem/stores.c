/* SPDX-License-Identifier: Apache-2.0 */
/* The places where pages go: opening them, and their figures. */
#include <string.h>

#include "mem/internal.h"

enum err mem_stores_open(struct guest_mem *mem, const struct mem_store_config *config)
{
    (void)mem;
    (void)config;
    return ERR_OK;
}

int mem_io_fd(const struct guest_mem *mem)
{
    (void)mem;
    return -1;
}

const struct mem_reclaim_stats *mem_reclaim_stats(const struct guest_mem *mem)
{
    return &mem->stats;
}

void mem_store_info(const struct guest_mem *mem, struct mem_store_info *out)
{
    (void)mem;
    memset(out, 0, sizeof *out);
}

const uint64_t *mem_latency(const struct guest_mem *mem, enum mem_latency which)
{
    return mem->latency[which];
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
