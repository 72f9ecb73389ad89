/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which page of the file an index gets. Pages that lie beside each other in the guest should lie
 * beside each other here, because they are read back together. A file with a slot for every index
 * gives each its own. In a smaller one a group of 64 indexes takes an empty cluster (64 slots, one
 * word of the bitmap) when its first page comes and keeps it while a page is there, each index at
 * its place; where no cluster is empty a page goes beside a neighbour, else anywhere.
 */
#include <string.h>
#include <sys/mman.h>

#include "mem/store/swap_private.h"

#define NEIGHBOURS 8

enum err swap_slots_init(struct swap_slots *s, uint64_t slots, uint64_t pages)
{
    bool own = slots >= pages;
    uint64_t words = (slots + 63) / 64, groups = (pages + 63) / 64;
    size_t bits = words * sizeof(uint64_t);

    memset(s, 0, sizeof(*s));
    s->area_bytes = 2 * bits + words * 65 * sizeof(uint32_t);
    if (!own)
        s->area_bytes += (pages + groups + words) * sizeof(uint32_t);
    s->area = mmap(NULL, s->area_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->area == MAP_FAILED) {
        s->area = NULL;
        return err_errno(ERR_NOMEM, "no memory for the table of %llu swap slots",
                         (unsigned long long)slots);
    }
    s->used = s->area;
    s->stale = s->used + words;
    s->touched = (uint32_t *)(s->stale + words);
    s->index_of = s->touched + words;
    if (!own) {
        s->slot_of = s->index_of + words * 64;
        s->cluster_of = s->slot_of + pages;
        s->group_of = s->cluster_of + groups;
    }
    s->slots = slots;
    s->pages = pages;
    s->words = words;
    swap_slots_give_all(s);
    return ERR_OK;
}

void swap_slots_fini(struct swap_slots *s)
{
    if (s->area)
        munmap(s->area, s->area_bytes);
    s->area = NULL;
}

/* Bits of the last word that are no slots count as used. */
static uint64_t beyond_end(const struct swap_slots *s, uint64_t word)
{
    return word == s->words - 1 && s->slots % 64 ? ~UINT64_C(0) << s->slots % 64 : 0;
}

void swap_slots_give_all(struct swap_slots *s)
{
    memset(s->used, 0, s->words * sizeof(uint64_t));
    s->used[s->words - 1] = beyond_end(s, s->words - 1);
    if (s->slot_of)
        memset(s->slot_of, 0, s->pages * sizeof(uint32_t));
    s->used_count = 0;
    s->cursor = 0;
    s->fresh_words = s->words - (s->used[s->words - 1] ? 1 : 0);
}

static bool is_free(const struct swap_slots *s, uint64_t slot)
{
    return slot < s->slots && !swap_bit(s->used, slot);
}

static uint32_t beside_neighbour(const struct swap_slots *s, uint64_t index)
{
    for (uint64_t k = 1; k <= NEIGHBOURS; k++) {
        if (index >= k && s->slot_of[index - k]) {
            uint64_t slot = s->slot_of[index - k] - 1 + k;
            if (is_free(s, slot))
                return (uint32_t)slot;
        }
        if (index + k < s->pages && s->slot_of[index + k]) {
            uint64_t after = s->slot_of[index + k] - UINT64_C(1);
            if (after >= k && is_free(s, after - k))
                return (uint32_t)(after - k);
        }
    }
    return SWAP_NO_SLOT;
}

/* The first word from the cursor on that has room: all of it (fresh), or any. */
static bool find_word(struct swap_slots *s, bool fresh)
{
    for (uint64_t n = 0; n < s->words; n++) {
        uint64_t word = s->cursor + n < s->words ? s->cursor + n : s->cursor + n - s->words;
        if (fresh ? s->used[word] == 0 : ~s->used[word] != 0) {
            s->cursor = word;
            return true;
        }
    }
    return false;
}

/* The place of this index in the cluster of its group, which takes an empty one if it has none. */
static uint32_t in_own_cluster(struct swap_slots *s, uint64_t index)
{
    uint64_t group = index / 64, cluster = s->cluster_of[group], slot;

    if (!s->used[cluster] || s->group_of[cluster] != group) {
        if (!s->fresh_words || !find_word(s, true))
            return SWAP_NO_SLOT;
        cluster = s->cursor;
        s->cluster_of[group] = (uint32_t)cluster;
        s->group_of[cluster] = (uint32_t)group;
    }
    slot = cluster * 64 + index % 64;
    return is_free(s, slot) ? (uint32_t)slot : SWAP_NO_SLOT;
}

static uint32_t choose(struct swap_slots *s, uint64_t index)
{
    uint32_t slot;

    if (s->used_count == s->slots)
        return SWAP_NO_SLOT;
    if (!s->slot_of) {
        if (is_free(s, index))
            return (uint32_t)index;
    } else {
        slot = in_own_cluster(s, index);
        if (slot == SWAP_NO_SLOT)
            slot = beside_neighbour(s, index);
        if (slot != SWAP_NO_SLOT)
            return slot;
    }
    if (!find_word(s, false))
        return SWAP_NO_SLOT;
    return (uint32_t)(s->cursor * 64 + (unsigned)__builtin_ctzll(~s->used[s->cursor]));
}

uint32_t swap_slots_take(struct swap_slots *s, uint64_t index)
{
    uint32_t slot = choose(s, index);

    if (slot == SWAP_NO_SLOT)
        return slot;
    if (!s->used[slot / 64])
        s->fresh_words--;
    swap_bit_set(s->used, slot);
    s->used_count++;
    s->index_of[slot] = (uint32_t)index;
    if (s->slot_of)
        s->slot_of[index] = slot + 1;
    return slot;
}

void swap_slots_give(struct swap_slots *s, uint32_t slot)
{
    swap_bit_clear(s->used, slot);
    s->used_count--;
    if (!s->used[slot / 64])
        s->fresh_words++;
    if (s->slot_of && s->slot_of[s->index_of[slot]] == slot + 1)
        s->slot_of[s->index_of[slot]] = 0;
}

bool swap_slots_check(const struct swap_slots *s)
{
    uint64_t used = 0, fresh = 0, known = 0;

    for (uint64_t word = 0; word < s->words; word++) {
        uint64_t bits = s->used[word] & ~beyond_end(s, word);
        used += (unsigned)__builtin_popcountll(bits);
        fresh += s->used[word] == 0;
        if ((s->used[word] & beyond_end(s, word)) != beyond_end(s, word)) {
            err_note(ERR_INTERNAL, "swap: slots past the end of the file are free");
            return false;
        }
    }
    if (used != s->used_count || fresh != s->fresh_words) {
        err_note(ERR_INTERNAL,
                 "swap: %llu slots are used and %llu clusters free, counted %llu %llu",
                 (unsigned long long)used, (unsigned long long)fresh,
                 (unsigned long long)s->used_count, (unsigned long long)s->fresh_words);
        return false;
    }
    for (uint64_t i = 0; s->slot_of && i < s->pages; i++) {
        uint32_t slot = s->slot_of[i];
        if (!slot)
            continue;
        known++;
        if (slot > s->slots || !swap_bit(s->used, slot - 1) || s->index_of[slot - 1] != i) {
            err_note(ERR_INTERNAL, "swap: index %llu is said to be at slot %u, which it is not",
                     (unsigned long long)i, slot - 1);
            return false;
        }
    }
    if (s->slot_of && known > used) {
        err_note(ERR_INTERNAL, "swap: more indexes have slots than slots are used");
        return false;
    }
    return true;
}
