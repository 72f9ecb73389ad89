/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that the ledger, the frames and the places where pages lie agree. */
#include <inttypes.h>

#include "mem/internal.h"

bool mem_check(const struct guest_mem *mem)
{
    struct mem_ledger seen = {0};
    uint64_t sum = 0;

    for (uint64_t i = 0; i < mem->total_pages; i++) {
        if (mem->state[i] >= PAGE_STATES) {
            err_note(ERR_INTERNAL, "page index %" PRIu64 " has no state: %u", i, mem->state[i]);
            return false;
        }
        seen.pages[mem->state[i]]++;
    }
    for (unsigned s = 0; s < PAGE_STATES; s++) {
        sum += mem->ledger.pages[s];
        if (seen.pages[s] != mem->ledger.pages[s]) {
            err_note(ERR_INTERNAL,
                     "ledger says %" PRIu64 " pages in state %u, counted are %" PRIu64,
                     mem->ledger.pages[s], s, seen.pages[s]);
            return false;
        }
    }
    if (sum != mem->total_pages) {
        err_note(ERR_INTERNAL, "ledger sums to %" PRIu64 " pages of %" PRIu64, sum,
                 mem->total_pages);
        return false;
    }
    for (size_t s = 1; s < mem->slot_count; s++) {
        if (mem->slots[s].base_gfn.v < mem->slots[s - 1].base_gfn.v + mem->slots[s - 1].pages) {
            err_note(ERR_INTERNAL, "slots %zu and %zu overlap", s - 1, s);
            return false;
        }
    }
    return true;
}
