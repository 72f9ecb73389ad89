/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames equal a block of a disk image ([Amit14]'s Swap Mapper): frame -> block as an array,
 * block -> frames as a hash table whose chains run through the frames.
 *
 *   key[frame] = disk, block      head[hash(key)] -> frame -> frame -> ...
 *
 * Invariants
 *   I1  a frame is in the chain of its key, once, and in no other
 *   I2  a frame with a key is resident, pinned, compressed or PAGE_IMAGE; a PAGE_IMAGE frame has a
 *       key; those that are compressed are counted
 *   I3  a frame with a key, or with a write under way (ticket.c), has MEM_TRACK_IMAGE
 *   I4  no chain grows beyond IMAGE_CHAIN_MAX: a guest that reads one block into all its memory, or
 *       that finds blocks of one hash, gets no more than that many associations
 */
#include <sys/mman.h>

#include "mem/internal.h"

#define BLOCK_BITS 56

uint64_t image_key(unsigned disk, uint64_t block)
{
    return (uint64_t)(disk + 1) << BLOCK_BITS | block;
}

static uint32_t *bucket(const struct image_map *map, uint64_t key)
{
    return &map->head[(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (map->buckets - 1)];
}

enum err image_init(struct guest_mem *mem)
{
    struct image_map *map = &mem->image;

    map->buckets = 256;
    while (map->buckets < mem->total_pages / 2)
        map->buckets *= 2;
    map->key = mem_reserve(mem->total_pages * sizeof *map->key, PROT_READ | PROT_WRITE);
    map->next = mem_reserve(mem->total_pages * sizeof *map->next, PROT_READ | PROT_WRITE);
    map->head = mem_reserve(map->buckets * sizeof *map->head, PROT_READ | PROT_WRITE);
    if (!map->key || !map->next || !map->head)
        return err_errno(ERR_NOMEM, "the host refuses the table of frames that equal disk blocks");
    return ERR_OK;
}

void image_fini(struct guest_mem *mem)
{
    struct image_map *map = &mem->image;

    if (map->key)
        munmap(map->key, mem->total_pages * sizeof *map->key);
    if (map->next)
        munmap(map->next, mem->total_pages * sizeof *map->next);
    if (map->head)
        munmap(map->head, map->buckets * sizeof *map->head);
}

void image_reset(struct guest_mem *mem)
{
    ticket_cancel_blocks(mem, 0, UINT64_MAX);
    mem->image.left = mem->image.back = 0;
    for (uint64_t i = 0; i < mem->total_pages && mem->image.frames; i++)
        image_unlink(mem, i);
}

void mem_set_image_source(struct guest_mem *mem, const struct mem_image_source *source)
{
    mem->image.source = source ? *source : (struct mem_image_source){0};
}

void image_where(const struct guest_mem *mem, uint64_t index, unsigned *disk, uint64_t *block)
{
    uint64_t key = mem->image.key[index];

    *disk = (unsigned)(key >> BLOCK_BITS) - 1;
    *block = key & ((UINT64_C(1) << BLOCK_BITS) - 1);
}

void image_link(struct guest_mem *mem, uint64_t index, uint64_t key)
{
    struct image_map *map = &mem->image;
    uint32_t *head = bucket(map, key);
    unsigned length = 0;

    image_unlink(mem, index);
    for (uint32_t at = *head; at; at = map->next[at - 1])
        length++;
    if (length >= IMAGE_CHAIN_MAX)
        return;
    map->key[index] = key;
    map->next[index] = *head;
    *head = (uint32_t)(index + 1);
    map->frames++;
    mem_track_set(mem, mem_index_gfn(mem, index), MEM_TRACK_IMAGE);
}

void image_unlink(struct guest_mem *mem, uint64_t index)
{
    struct image_map *map = &mem->image;

    if (!image_has(mem, index))
        return;
    uint32_t *link = bucket(map, map->key[index]);
    while (*link != index + 1)
        link = &map->next[*link - 1];
    *link = map->next[index];
    map->next[index] = 0;
    map->key[index] = 0;
    map->frames--;
    map->compressed -= mem->state[index] == PAGE_COMPRESSED;
    if (!ticket_has_frame(mem, index))
        mem_track_clear(mem, mem_index_gfn(mem, index), MEM_TRACK_IMAGE);
}

void image_forget(struct guest_mem *mem, uint64_t index)
{
    if (!(mem->track[index] & MEM_TRACK_IMAGE))
        return;
    ticket_cancel_frame(mem, index);
    image_unlink(mem, index);
    mem_track_clear(mem, mem_index_gfn(mem, index), MEM_TRACK_IMAGE);
}

#define RETURNS_COUNTED 4096
#define RETURNS_LEAST   64

void image_note_left(struct guest_mem *mem)
{
    struct image_map *map = &mem->image;

    if (++map->left < RETURNS_COUNTED)
        return;
    map->left /= 2;
    map->back /= 2;
}

void image_note_back(struct guest_mem *mem)
{
    mem->image.back += mem->image.back < RETURNS_COUNTED;
}

bool image_come_back(const struct guest_mem *mem)
{
    return mem->image.back >= RETURNS_LEAST && mem->image.back >= mem->image.left / 4;
}

uint64_t image_find_dropped(const struct guest_mem *mem, unsigned disk, uint64_t block)
{
    const struct image_map *map = &mem->image;
    uint64_t key = image_key(disk, block);

    for (uint32_t at = *bucket(map, key); at; at = map->next[at - 1]) {
        if (map->key[at - 1] == key && mem->state[at - 1] == PAGE_IMAGE)
            return at - 1;
    }
    return MEM_NO_INDEX;
}

static bool is_usable(unsigned disk, uint64_t block)
{
    return disk < MEM_DISKS_MAX && block < UINT64_C(1) << BLOCK_BITS;
}

void mem_image_is_equal(struct guest_mem *mem, gfn_t gfn, unsigned disk, uint64_t block)
{
    const struct mem_slot *slot;
    uint64_t index = mem_index(mem, gfn, &slot);

    if (index == MEM_NO_INDEX || !is_usable(disk, block) || mem->state[index] != PAGE_RESIDENT ||
        mem->orders.without_cures)
        return;
    image_link(mem, index, image_key(disk, block));
}

/* The frame will equal the block no more: what it holds must be in host memory by then. */
static bool part(struct guest_mem *mem, uint64_t index)
{
    hva_t hva;
    bool writable;

    if (mem->state[index] == PAGE_IMAGE && mem_take(mem, mem_index_gfn(mem, index), MEM_FOR_WRITE,
                                                    MEM_USER_DEVICE, &hva, &writable) != MEM_OK)
        return false;
    image_unlink(mem, index);
    return true;
}

/* The chain changes under the loop, so it begins again after each frame that parts. */
static bool part_block(struct guest_mem *mem, uint64_t key)
{
    const struct image_map *map = &mem->image;
    uint32_t at = *bucket(map, key);

    while (at) {
        uint64_t index = at - 1;
        if (map->key[index] != key) {
            at = map->next[index];
            continue;
        }
        if (!part(mem, index))
            return false;
        at = *bucket(map, key);
    }
    return true;
}

bool mem_image_overwritten(struct guest_mem *mem, unsigned disk, uint64_t first_block,
                           uint64_t blocks)
{
    const struct image_map *map = &mem->image;
    uint64_t limit = UINT64_C(1) << BLOCK_BITS;

    if (!blocks || !is_usable(disk, first_block))
        return true;
    if (blocks > limit - first_block)
        blocks = limit - first_block;
    uint64_t first = image_key(disk, first_block), last = first + blocks - 1;
    ticket_cancel_blocks(mem, first, last);
    if (blocks <= mem->total_pages) {
        for (uint64_t key = first; key <= last && map->frames; key++) {
            if (!part_block(mem, key))
                return false;
        }
        return true;
    }
    for (uint64_t i = 0; i < mem->total_pages && map->frames; i++) {
        if (map->key[i] >= first && map->key[i] <= last && !part(mem, i))
            return false;
    }
    return true;
}

/* Every frame's chain holds it (I1), so a count that agrees means that nothing else is there. */
bool image_check(const struct guest_mem *mem)
{
    const struct image_map *map = &mem->image;
    uint64_t keys = 0, chained = 0, compressed = 0;

    for (uint64_t i = 0; i < mem->total_pages; i++) {
        bool here = mem->state[i] >= PAGE_RESIDENT || mem->state[i] == PAGE_COMPRESSED;
        if (mem->state[i] == PAGE_IMAGE ? !image_has(mem, i) : image_has(mem, i) && !here)
            goto wrong;
        if (!image_has(mem, i))
            continue;
        keys++;
        compressed += mem->state[i] == PAGE_COMPRESSED;
        if (!(mem->track[i] & MEM_TRACK_IMAGE))
            goto wrong;
    }
    for (uint64_t b = 0; b < map->buckets; b++) {
        for (uint32_t at = map->head[b]; at && chained <= keys; at = map->next[at - 1]) {
            if (at > mem->total_pages || bucket(map, map->key[at - 1]) != &map->head[b])
                goto wrong;
            chained++;
        }
    }
    if (keys == map->frames && chained == keys && compressed == map->compressed)
        return true;
wrong:
    err_note(ERR_INTERNAL, "the table of frames that equal disk blocks does not fit the frames");
    return false;
}
