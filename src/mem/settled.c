/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed pages that have settled: idle for so much longer than those that come back were, that
 * hardly any of them ever will. They go on to the swap file, or their disk block, and their room is
 * that of pages in use: what booted the guest takes it for ever otherwise.
 *
 * How long those that come back were idle is counted by seconds. One in SELDOM of them was idle for
 * longer than q; what is idle for half as long again has settled. Few come back: nothing is gained,
 * nothing is done; nor do more pages go than a part of those that come.
 */
#include "mem/internal.h"

#define SELDOM      128 /* one in so many */
#define KNOWN       1024
#define HALVED_AT   65536
#define LEAST       4 /* seconds */
#define PART        4 /* for so many that came, one goes */
#define BUDGET_MOST 256
#define SCAN        8192

void settled_note_back(struct guest_mem *mem, uint8_t age)
{
    struct settled *s = &mem->settled;

    s->back[age_seconds(age)]++;
    if (++s->total < HALVED_AT)
        return;
    s->total = 0;
    for (unsigned t = 0; t < AGE_SECONDS; t++)
        s->total += s->back[t] /= 2;
}

unsigned settled_seconds(const struct guest_mem *mem)
{
    const struct settled *s = &mem->settled;
    unsigned t = AGE_SECONDS;
    uint64_t sum = 0;

    if (s->total < KNOWN)
        return AGE_SECONDS;
    while (t > 0 && sum + s->back[t - 1] <= s->total / SELDOM)
        sum += s->back[--t];
    t += t / 2;
    return t < LEAST ? LEAST : t < AGE_SECONDS ? t : AGE_SECONDS;
}

/* From the hand on, at most once around each second: what is not there yet comes with time. */
static size_t send_on(struct guest_mem *mem, unsigned seconds, size_t want)
{
    struct settled *s = &mem->settled;
    uint64_t end = s->hand + SCAN < mem->total_pages ? s->hand + SCAN : mem->total_pages;
    uint64_t index[EVICT_BATCH] = {0};
    size_t count = 0;

    for (; s->hand < end && count < want; s->hand++) {
        if (mem->state[s->hand] == PAGE_COMPRESSED && age_seconds(mem->age[s->hand]) >= seconds)
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
    uint64_t came = mem_arrivals(mem), budget = s->budget + (came - s->arrivals);
    unsigned seconds = settled_seconds(mem);

    s->arrivals = came;
    s->budget = budget < BUDGET_MOST * PART ? budget : BUDGET_MOST * PART;
    if (s->hand == mem->total_pages && s->second_ns != mem->ageing.second_ns)
        s->hand = 0;
    if (s->hand == 0)
        s->second_ns = mem->ageing.second_ns;
    if (seconds == AGE_SECONDS || s->hand == mem->total_pages || s->budget < EVICT_BATCH * PART)
        return;
    size_t gone = send_on(mem, seconds, EVICT_BATCH);
    mem->stats.compressed_settled += gone;
    s->budget -= gone * PART;
}
