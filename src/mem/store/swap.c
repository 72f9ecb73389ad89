/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, putting, freeing, looking. Invariants S1 to S4: swap_private.h. */
#include "mem/store/swap.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "base/invariant.h"
#include "mem/store/swap_private.h"

/* ---- opening ---- */

static void *map_anonymous(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static enum err allocate(struct swap *sw, uint64_t slots)
{
    sw->area_bytes = slots * (sizeof(*sw->sum) + sizeof(*sw->staged));
    sw->area = map_anonymous(sw->area_bytes);
    sw->memory_bytes =
        (SWAP_STAGING_PAGES + (size_t)SWAP_READ_OPS * SWAP_CLUSTER_PAGES) * PAGE_SIZE;
    sw->memory = map_anonymous(sw->memory_bytes);
    if (!sw->area || !sw->memory)
        return err_new(ERR_NOMEM, "no memory for swapping");
    sw->sum = sw->area;
    sw->staged = (uint16_t *)(sw->sum + slots);
    for (uint16_t entry = SWAP_STAGING_PAGES; entry >= 1; entry--) {
        sw->entry[entry].next = sw->free_entry;
        sw->free_entry = entry;
    }
    for (unsigned i = 0; i < SWAP_OPS; i++)
        sw->op[i].sw = sw;
    return ERR_OK;
}

enum err swap_open(struct swap **out, enum swap_use use, const char *path, uint64_t bytes,
                   uint64_t pages, const struct aio_faults *faults)
{
    uint64_t slots = bytes / PAGE_SIZE;
    struct swap *sw;
    enum err err;

    *out = NULL;
    if (!slots || slots >= SWAP_NO_SLOT || !pages || pages >= SWAP_NO_SLOT)
        return err_new(ERR_INVAL, "a swap file of %llu bytes for %llu pages cannot be had",
                       (unsigned long long)bytes, (unsigned long long)pages);
    sw = calloc(1, sizeof(*sw));
    if (!sw)
        return err_new(ERR_NOMEM, "no memory for swapping");
    err = allocate(sw, slots);
    err = err ? err : swap_slots_init(&sw->slots, slots, pages);
    err = err ? err : swap_crypt_create(&sw->crypt);
    err = err ? err : aio_create(&sw->aio, SWAP_OPS + SWAP_READ_OPS, faults);
    err = err ? err : aio_create_synchronous(&sw->aio_at_once, faults);
    err = err ? err : swap_file_create(&sw->file, use, path, slots * PAGE_SIZE);
    if (err) {
        swap_close(sw);
        return err;
    }
    sw->hole_cursor = slots;
    sw->tick = (uint32_t)(host_ns() >> SWAP_TICK_SHIFT);
    *out = sw;
    return ERR_OK;
}

void swap_close(struct swap *sw)
{
    if (!sw)
        return;
    aio_destroy(sw->aio); /* waits for writes in flight */
    aio_destroy(sw->aio_at_once);
    swap_file_remove(&sw->file);
    swap_crypt_destroy(sw->crypt);
    swap_slots_fini(&sw->slots);
    if (sw->memory)
        munmap(sw->memory, sw->memory_bytes);
    if (sw->area)
        munmap(sw->area, sw->area_bytes);
    free(sw);
}

int swap_fd(const struct swap *sw)
{
    return aio_fd(sw->aio);
}

/* ---- putting ---- */

enum swap_put swap_put(struct swap *sw, uint64_t index, const void *page, uint32_t *slot)
{
    uint16_t entry = sw->free_entry;

    invariant(index < sw->slots.pages);
    *slot = SWAP_NO_SLOT;
    if (sw->slots.used_count == sw->slots.slots)
        return SWAP_FULL;
    if (entry == SWAP_NO_ENTRY)
        return SWAP_BUSY;
    *slot = swap_slots_take(&sw->slots, index);
    invariant(*slot != SWAP_NO_SLOT);

    sw->slots.touched[*slot / 64] = sw->tick;
    sw->free_entry = sw->entry[entry].next;
    if (entry > sw->touched)
        sw->touched = entry;
    sw->entry[entry] = (struct swap_entry){.state = ENTRY_WAITING, .slot = *slot};
    sw->staged[*slot] = entry;
    sw->sum[*slot] = XXH3_64bits(page, PAGE_SIZE);
    swap_encrypt(sw->crypt, *slot, page, swap_entry_page(sw, entry));
    sw->staged_count++;
    if (!sw->waiting_count++)
        sw->oldest_ns = host_ns();
    return SWAP_OK;
}

bool swap_is_staged(const struct swap *sw, uint32_t slot)
{
    return sw->staged[slot] != SWAP_NO_ENTRY;
}

/* ---- freeing ---- */

void swap_free_entry(struct swap *sw, uint16_t entry)
{
    sw->entry[entry] = (struct swap_entry){.state = ENTRY_FREE, .next = sw->free_entry};
    sw->free_entry = entry;
}

void swap_note_stale(struct swap *sw, uint32_t slot)
{
    swap_bit_set(sw->slots.stale, slot);
    sw->freed_count++;
}

void swap_free(struct swap *sw, uint32_t slot)
{
    uint16_t entry;

    invariant(slot < sw->slots.slots && swap_bit(sw->slots.used, slot));
    entry = sw->staged[slot];
    if (entry == SWAP_NO_ENTRY) {
        swap_note_stale(sw, slot);
    } else {
        sw->staged[slot] = SWAP_NO_ENTRY;
        sw->staged_count--;
        if (sw->entry[entry].state == ENTRY_WRITING) {
            sw->entry[entry].state = ENTRY_ORPHAN; /* S3; the end of the write marks the slot */
        } else {
            sw->waiting_count--;
            swap_free_entry(sw, entry);
            if (swap_bit(sw->slots.stale, slot)) /* from an earlier life */
                swap_note_stale(sw, slot);
        }
    }
    sw->slots.touched[slot / 64] = sw->tick;
    swap_slots_give(&sw->slots, slot);
}

void swap_free_all(struct swap *sw)
{
    aio_drain(sw->aio); /* no orphans, and no write that lands after the file was cleared */
    for (uint16_t entry = 1; entry <= SWAP_STAGING_PAGES; entry++) {
        if (sw->entry[entry].state == ENTRY_FREE)
            continue;
        sw->staged[sw->entry[entry].slot] = SWAP_NO_ENTRY;
        swap_free_entry(sw, entry);
    }
    sw->staged_count = sw->waiting_count = 0;
    memset(sw->failed, 0, sizeof(sw->failed));
    sw->retry_ns = 0;
    sw->round_count = sw->round_next = 0;
    if (swap_file_clear(&sw->file)) {
        memset(sw->slots.stale, 0, sw->slots.words * sizeof(uint64_t));
        sw->freed_count = 0;
        sw->hole_cursor = sw->slots.slots;
    } else {
        for (uint64_t word = 0; word < sw->slots.words; word++)
            sw->slots.stale[word] |= sw->slots.used[word];
        sw->freed_count++;
    }
    swap_slots_give_all(&sw->slots);
}

/* ---- trouble ---- */

void swap_note_failure(struct swap *sw, enum swap_way way, int error)
{
    char buf[128];
    const char *words = strerror_r(error, buf, sizeof(buf));
    bool is_word = words[0] && words[1] >= 'a' && words[1] <= 'z'; /* not "RPC ..." */

    sw->errors++;
    sw->failed[way] = true;
    snprintf(sw->trouble[way], sizeof(sw->trouble[way]), "%c%s while %s %s",
             is_word ? tolower((unsigned char)words[0]) : words[0], words[0] ? words + 1 : "",
             way == SWAP_WRITING ? "writing" : "reading", sw->file.path);
}

const char *swap_trouble(const struct swap *sw)
{
    if (sw->failed[SWAP_WRITING] && sw->staged_count)
        return sw->trouble[SWAP_WRITING];
    return sw->failed[SWAP_READING] ? sw->trouble[SWAP_READING] : NULL;
}

/* ---- looking ---- */

void swap_get_info(const struct swap *sw, struct swap_info *out)
{
    *out = (struct swap_info){
        .slots = sw->slots.slots,
        .used = sw->slots.used_count,
        .staged = sw->staged_count,
        .read_bytes = sw->read_bytes,
        .write_bytes = sw->write_bytes,
        .errors = sw->errors,
        .checksum_errors = sw->checksum_errors,
        .sequential_reads = sw->sequential_reads,
        .in_flight = aio_in_flight(sw->aio),
    };
}

static bool entries_check(const struct swap *sw)
{
    uint64_t count[ENTRY_ORPHAN + 1] = {0}, free_count = 0;

    for (uint16_t entry = 1; entry <= SWAP_STAGING_PAGES; entry++) {
        const struct swap_entry *e = &sw->entry[entry];
        count[e->state]++;
        if (e->state != ENTRY_WAITING && e->state != ENTRY_WRITING)
            continue;
        if (sw->staged[e->slot] != entry || !swap_bit(sw->slots.used, e->slot)) {
            err_note(ERR_INTERNAL, "swap: staging entry %u is not that of slot %u", entry, e->slot);
            return false;
        }
    }
    for (uint16_t entry = sw->free_entry; entry && free_count <= SWAP_STAGING_PAGES;
         entry = sw->entry[entry].next)
        free_count++;
    if (free_count != count[ENTRY_FREE] || count[ENTRY_WAITING] != sw->waiting_count ||
        count[ENTRY_WAITING] + count[ENTRY_WRITING] != sw->staged_count) {
        err_note(ERR_INTERNAL, "swap: staging holds other pages than counted");
        return false;
    }
    return true;
}

static bool staged_check(const struct swap *sw)
{
    uint64_t staged = 0;

    for (uint64_t slot = 0; slot < sw->slots.slots; slot++) {
        bool used = swap_bit(sw->slots.used, slot);
        staged += sw->staged[slot] != SWAP_NO_ENTRY;
        if ((!used && sw->staged[slot]) ||
            (used && !sw->staged[slot] && swap_bit(sw->slots.stale, slot))) {
            err_note(ERR_INTERNAL, "swap: slot %llu is in two states", (unsigned long long)slot);
            return false;
        }
    }
    if (staged != sw->staged_count) {
        err_note(ERR_INTERNAL, "swap: %llu slots are staged, counted %llu",
                 (unsigned long long)staged, (unsigned long long)sw->staged_count);
        return false;
    }
    return true;
}

bool swap_check(const struct swap *sw)
{
    return swap_slots_check(&sw->slots) && entries_check(sw) && staged_check(sw) &&
           swap_ops_check(sw);
}
