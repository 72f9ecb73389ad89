/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies live in chunks of 64 pages, found by their id (chunk * 64 + page + 1) and by a hash table
 * of ids with open addressing. The memory of a copy goes back to the host with its last user; the
 * addresses of a chunk stay, so that the process does not end up with a mapping for every gap.
 *
 *   H1  the table holds each id in use once, no more than three quarters of it is in use, and no
 *       empty place lies between an id and the place its hash says
 *   H2  a chunk is on the list of those with room exactly while a page of it is free
 *   H3  a copy that nobody writes to has the hash that it was added with
 */
#include "mem/store/share.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "base/invariant.h"

#define CHUNK_PAGES 64u
#define MAX_CHUNKS  (UINT32_MAX / CHUNK_PAGES - 1)
#define FIRST_TABLE 1024u
#define HINTS       65536u
#define NO_CHUNK    UINT32_MAX

struct chunk {
    uint8_t *memory;
    uint64_t used;       /* bit per page */
    uint32_t next, prev; /* of the list of those with room */
    uint32_t users[CHUNK_PAGES];
    uint64_t hash[CHUNK_PAGES];
};

struct hint {
    uint64_t hash;
    uint64_t who; /* + 1; 0: none */
};

struct share {
    struct chunk **chunk;
    uint32_t chunks, chunk_room;
    uint32_t with_room; /* list of chunks with a free page */
    share_id *table;
    uint64_t table_mask;
    uint64_t copies;
    struct hint *hints;
};

uint64_t share_hash(const void *page)
{
    return XXH3_64bits(page, PAGE_SIZE);
}

static struct chunk *chunk_of(const struct share *sh, share_id id)
{
    return sh->chunk[(id - 1) / CHUNK_PAGES];
}

static unsigned place_of(share_id id)
{
    return (id - 1) % CHUNK_PAGES;
}

static bool is_copy(const struct share *sh, share_id id)
{
    return id && (id - 1) / CHUNK_PAGES < sh->chunks && chunk_of(sh, id)->used >> place_of(id) & 1;
}

static uint8_t *page_of(const struct share *sh, share_id id)
{
    return chunk_of(sh, id)->memory + place_of(id) * PAGE_SIZE;
}

static uint64_t hash_of(const struct share *sh, share_id id)
{
    return chunk_of(sh, id)->hash[place_of(id)];
}

/* ---- making and ending ---- */

enum err share_create(struct share **out)
{
    struct share *sh = calloc(1, sizeof(*sh));

    *out = NULL;
    if (sh) {
        sh->with_room = NO_CHUNK;
        sh->table = calloc(FIRST_TABLE, sizeof(*sh->table));
        sh->table_mask = FIRST_TABLE - 1;
        sh->hints = mmap(NULL, HINTS * sizeof(*sh->hints), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (sh->hints == MAP_FAILED)
            sh->hints = NULL;
    }
    if (!sh || !sh->table || !sh->hints) {
        share_destroy(sh);
        return err_new(ERR_NOMEM, "no memory for shared pages");
    }
    *out = sh;
    return ERR_OK;
}

static void free_chunks(struct share *sh)
{
    for (uint32_t i = 0; i < sh->chunks; i++) {
        munmap(sh->chunk[i]->memory, CHUNK_PAGES * PAGE_SIZE);
        free(sh->chunk[i]);
    }
    sh->chunks = 0;
}

void share_destroy(struct share *sh)
{
    if (!sh)
        return;
    free_chunks(sh);
    free(sh->chunk);
    free(sh->table);
    if (sh->hints)
        munmap(sh->hints, HINTS * sizeof(*sh->hints));
    free(sh);
}

void share_drop_all(struct share *sh)
{
    free_chunks(sh);
    sh->with_room = NO_CHUNK;
    memset(sh->table, 0, (sh->table_mask + 1) * sizeof(*sh->table));
    sh->copies = 0;
    /* Back to the host as well; private anonymous memory reads as zeros after. */
    if (madvise(sh->hints, HINTS * sizeof(*sh->hints), MADV_DONTNEED))
        memset(sh->hints, 0, HINTS * sizeof(*sh->hints));
}

/* ---- chunks ---- */

static void list_put(struct share *sh, uint32_t n)
{
    sh->chunk[n]->next = sh->with_room;
    sh->chunk[n]->prev = NO_CHUNK;
    if (sh->with_room != NO_CHUNK)
        sh->chunk[sh->with_room]->prev = n;
    sh->with_room = n;
}

static void list_remove(struct share *sh, uint32_t n)
{
    struct chunk *c = sh->chunk[n];

    if (c->prev == NO_CHUNK)
        sh->with_room = c->next;
    else
        sh->chunk[c->prev]->next = c->next;
    if (c->next != NO_CHUNK)
        sh->chunk[c->next]->prev = c->prev;
}

static struct chunk *chunk_create(void)
{
    struct chunk *c = calloc(1, sizeof(*c));
    void *p = mmap(NULL, CHUNK_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (!c || p == MAP_FAILED) {
        if (p != MAP_FAILED)
            munmap(p, CHUNK_PAGES * PAGE_SIZE);
        free(c);
        return NULL;
    }
    (void)madvise(p, CHUNK_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE); /* given back page by page */
    c->memory = p;
    return c;
}

/* A chunk with a free page; NO_CHUNK: the host refuses. */
static uint32_t chunk_with_room(struct share *sh)
{
    if (sh->with_room != NO_CHUNK)
        return sh->with_room;
    if (sh->chunks == sh->chunk_room) {
        uint32_t room = sh->chunk_room ? sh->chunk_room * 2 : 64;
        struct chunk **more =
            room > MAX_CHUNKS ? NULL : realloc(sh->chunk, room * sizeof(struct chunk *));
        if (!more)
            return NO_CHUNK;
        sh->chunk = more;
        sh->chunk_room = room;
    }
    sh->chunk[sh->chunks] = chunk_create();
    if (!sh->chunk[sh->chunks])
        return NO_CHUNK;
    list_put(sh, sh->chunks);
    return sh->chunks++;
}

static void chunk_free_page(struct share *sh, share_id id)
{
    uint32_t n = (id - 1) / CHUNK_PAGES;
    struct chunk *c = sh->chunk[n];

    if (c->used == UINT64_MAX)
        list_put(sh, n);
    c->used &= ~(UINT64_C(1) << place_of(id));
    (void)madvise(page_of(sh, id), PAGE_SIZE, MADV_DONTNEED);
}

/* ---- the table ---- */

static void table_put(struct share *sh, share_id id)
{
    uint64_t at = hash_of(sh, id) & sh->table_mask;

    while (sh->table[at])
        at = (at + 1) & sh->table_mask;
    sh->table[at] = id;
}

static bool table_grow(struct share *sh)
{
    uint64_t size = sh->table_mask + 1;
    share_id *old = sh->table, *fresh;

    if (sh->copies + 1 <= size / 4 * 3)
        return true;
    fresh = calloc(size * 2, sizeof(*fresh));
    if (!fresh)
        return false;
    sh->table = fresh;
    sh->table_mask = size * 2 - 1;
    for (uint64_t i = 0; i < size; i++)
        if (old[i])
            table_put(sh, old[i]);
    free(old);
    return true;
}

/* Closes the gap: what was pushed past it moves back (H1). */
static void table_remove(struct share *sh, share_id id)
{
    uint64_t mask = sh->table_mask, at = hash_of(sh, id) & mask;

    while (sh->table[at] != id)
        at = (at + 1) & mask;
    for (uint64_t next = (at + 1) & mask; sh->table[next]; next = (next + 1) & mask) {
        uint64_t home = hash_of(sh, sh->table[next]) & mask;
        if (((next - home) & mask) < ((next - at) & mask))
            continue;
        sh->table[at] = sh->table[next];
        at = next;
    }
    sh->table[at] = 0;
}

/* ---- copies ---- */

share_id share_find(struct share *sh, uint64_t hash, const void *page)
{
    share_id id;

    for (uint64_t at = hash & sh->table_mask; (id = sh->table[at]);
         at = (at + 1) & sh->table_mask) {
        uint32_t *users = &chunk_of(sh, id)->users[place_of(id)];
        if (hash_of(sh, id) == hash && *users != UINT32_MAX &&
            !memcmp(page_of(sh, id), page, PAGE_SIZE)) {
            ++*users;
            return id;
        }
    }
    return 0;
}

share_id share_add(struct share *sh, uint64_t hash, const void *page)
{
    uint32_t n = table_grow(sh) ? chunk_with_room(sh) : NO_CHUNK;
    struct chunk *c;
    unsigned place;
    share_id id;

    if (n == NO_CHUNK)
        return 0;
    c = sh->chunk[n];
    place = (unsigned)__builtin_ctzll(~c->used);
    id = n * CHUNK_PAGES + place + 1;
    c->used |= UINT64_C(1) << place;
    if (c->used == UINT64_MAX)
        list_remove(sh, n);
    c->users[place] = 1;
    c->hash[place] = hash;
    memcpy(page_of(sh, id), page, PAGE_SIZE);
    table_put(sh, id);
    sh->copies++;
    return id;
}

void share_drop(struct share *sh, share_id id)
{
    invariant(is_copy(sh, id));
    if (--chunk_of(sh, id)->users[place_of(id)])
        return;
    table_remove(sh, id);
    chunk_free_page(sh, id);
    sh->copies--;
}

hva_t share_hva(const struct share *sh, share_id id)
{
    invariant(is_copy(sh, id));
    return hva_from_ptr(page_of(sh, id));
}

uint32_t share_users(const struct share *sh, share_id id)
{
    invariant(is_copy(sh, id));
    return chunk_of(sh, id)->users[place_of(id)];
}

uint64_t share_copies(const struct share *sh)
{
    return sh->copies;
}

uint64_t share_hint(struct share *sh, uint64_t hash, uint64_t who)
{
    struct hint *hint = &sh->hints[hash >> 32 & (HINTS - 1)];
    uint64_t before = hint->who && hint->hash == hash ? hint->who - 1 : UINT64_MAX;

    *hint = (struct hint){.hash = hash, .who = who + 1};
    return before;
}

/* ---- looking ---- */

static bool find_in_table(const struct share *sh, share_id id)
{
    for (uint64_t at = hash_of(sh, id) & sh->table_mask; sh->table[at];
         at = (at + 1) & sh->table_mask)
        if (sh->table[at] == id)
            return true;
    return false;
}

static bool chunk_check(const struct share *sh, uint32_t n, uint64_t *copies, uint64_t *users)
{
    const struct chunk *c = sh->chunk[n];

    for (unsigned place = 0; place < CHUNK_PAGES; place++) {
        share_id id = n * CHUNK_PAGES + place + 1;
        if (!(c->used >> place & 1))
            continue;
        ++*copies;
        *users += c->users[place];
        if (!c->users[place] || !find_in_table(sh, id)) {
            err_note(ERR_INTERNAL, "share: copy %u has no user or is not in the table", id);
            return false;
        }
        if (share_hash(page_of(sh, id)) != c->hash[place]) {
            err_note(ERR_INTERNAL, "share: copy %u was written to", id);
            return false;
        }
    }
    return true;
}

bool share_check(const struct share *sh, uint64_t users)
{
    uint64_t copies = 0, sum = 0, in_table = 0, with_room = 0;

    for (uint32_t n = 0; n < sh->chunks; n++)
        if (!chunk_check(sh, n, &copies, &sum))
            return false;
    for (uint32_t n = sh->with_room; n != NO_CHUNK; n = sh->chunk[n]->next)
        with_room++;
    for (uint32_t n = 0; n < sh->chunks; n++)
        with_room -= sh->chunk[n]->used != UINT64_MAX;
    if (with_room) {
        err_note(ERR_INTERNAL, "share: a chunk with room is not on its list, or a full one is");
        return false;
    }
    for (uint64_t i = 0; i <= sh->table_mask; i++)
        in_table += sh->table[i] != 0;
    if (copies != sh->copies || copies != in_table || sum != users) {
        err_note(ERR_INTERNAL,
                 "share: %llu copies (%llu counted, %llu in the table) with %llu users instead of "
                 "%llu",
                 (unsigned long long)copies, (unsigned long long)sh->copies,
                 (unsigned long long)in_table, (unsigned long long)sum, (unsigned long long)users);
        return false;
    }
    return true;
}
