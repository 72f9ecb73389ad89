/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed pages that have settled: idle for so long that hardly any of that age comes back. They
 * go on to the swap file, or their disk block, and their room is that of pages in use: what booted
 * the guest takes it for ever otherwise.
 *
 * Counted by their age in seconds are the pages that are compressed or went on from there (here),
 * and those that came back (back) while so many came in altogether (came). In that time a page of
 * the guest's own memory (own) was exchanged came / own times, and one of some age came back back /
 * here times. To go on gains a third of a page, and the way back takes `reads` times as long. So it
 * pays where
 *
 *   3 * reads * back / here < came / own
 *
 * Few come in: nothing is gained, nothing is done; nor do more pages go than a part of those that
 * come.
 */
#include <string.h>

#include "mem/internal.h"

#define KNOWN       1024
#define GROUP       64u /* pages of neighbouring ages that tell whether such come back */
#define GAIN        3u
#define EXPAND_NS   8000u /* to expand a page, and to compress it before */
#define LEAST       4u    /* seconds */
#define FORGOTTEN   16u   /* of what came back, one in so many each second */
#define PART        4     /* for so many that came, one goes */
#define BUDGET_MOST 256
#define SCAN        8192

void settled_note_back(struct guest_mem *mem, uint64_t index)
{
    /* What does not compress is in the file because of that. */
    if (!(mem->flag[index] & FLAG_POOR))
        mem->settled.back[age_seconds(mem->age[index])]++;
}

static bool hardly_comes_back(const struct guest_mem *mem, uint64_t here, uint64_t back)
{
    uint64_t reads = mem->swap_read_ns / EXPAND_NS + 1;

    return GAIN * reads * back < mem->settled.came * here / (mem_own_pages(mem) + 1);
}

/* From the oldest on, as long as they do not come back. */
static unsigned settled_seconds(const struct guest_mem *mem)
{
    const struct settled *s = &mem->settled;
    unsigned settled = AGE_SECONDS;
    uint64_t here = 0, back = 0;

    if (s->came < KNOWN)
        return AGE_SECONDS;
    for (unsigned t = AGE_SECONDS; t-- > LEAST;) {
        here += s->here[t];
        back += s->back[t];
        if (here < GROUP)
            continue;
        if (!hardly_comes_back(mem, here, back))
            break;
        settled = t;
        here = back = 0;
    }
    return settled;
}

/* All pages were looked at. */
static void decide(struct guest_mem *mem)
{
    struct settled *s = &mem->settled;

    s->seconds = settled_seconds(mem);
    memset(s->here, 0, sizeof s->here);
    for (unsigned t = 0; t < AGE_SECONDS; t++)
        s->back[t] -= (s->back[t] + FORGOTTEN - 1) / FORGOTTEN;
    s->came -= (s->came + FORGOTTEN - 1) / FORGOTTEN;
}

/* From the hand on, at most once around each second: what is not there yet comes with time. */
static size_t send_on(struct guest_mem *mem, size_t want)
{
    struct settled *s = &mem->settled;
    uint64_t end = s->hand + SCAN < mem->total_pages ? s->hand + SCAN : mem->total_pages;
    uint64_t index[EVICT_BATCH] = {0};
    size_t count = 0;

    for (; s->hand < end && count < want; s->hand++) {
        uint8_t state = mem->state[s->hand];
        unsigned age = age_seconds(mem->age[s->hand]);
        bool went_on = state == PAGE_SWAPPED && !(mem->flag[s->hand] & FLAG_POOR);

        s->here[age] += state == PAGE_COMPRESSED || went_on;
        if (state == PAGE_COMPRESSED && age >= s->seconds)
            index[count++] = s->hand;
    }
    size_t gone = evict_compressed(mem, index, count);
    if (gone < count)
        s->hand = index[gone];
    return gone;
}

void settled_work(struct guest_mem *mem)
{
    struct settled *s = &mem->settled;
    uint64_t all = mem_arrivals(mem), came = all - s->arrivals, budget = s->budget + came;

    s->arrivals = all;
    s->came += came;
    s->budget = budget < BUDGET_MOST * PART ? budget : BUDGET_MOST * PART;
    if (s->hand == mem->total_pages && s->second_ns != mem->ageing.second_ns) {
        decide(mem);
        s->hand = 0;
    }
    if (s->hand == 0)
        s->second_ns = mem->ageing.second_ns;
    if (s->hand == mem->total_pages || s->budget < EVICT_BATCH * PART)
        return;
    size_t gone = send_on(mem, EVICT_BATCH);
    mem->stats.compressed_settled += gone;
    s->budget -= gone * PART;
}
