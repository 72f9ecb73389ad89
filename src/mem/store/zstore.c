/* SPDX-License-Identifier: Apache-2.0 */
/* Pages in and out of spans, and spans in and out of the host's memory. */
#include "mem/store/zstore_private.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/invariant.h"

/* Scattered: one in so many of the bytes taken lies free in spans that could be given back. */
#define SCATTER_PART 64u

/* ---- making and ending ---- */

static void clear_lists(struct zstore *zs)
{
    for (uint32_t class = 0; class < zs->classes; class ++) {
        for (unsigned f = 0; f < FULLNESSES; f++)
            zs->class[class].partial[f] = NO_SPAN;
        zs->class[class].free_objects = 0;
    }
    zs->empty = NO_SPAN;
}

/* From the largest to the smallest: steps of one object more while that is coarse, then of 1/12. */
static void make_classes(struct zstore *zs)
{
    uint32_t bytes = LARGEST_BLOCK + HEADER_BYTES;

    for (uint32_t n = FEWEST; n <= SPAN_OBJECTS; n += n / 12 > 1 ? n / 12 : 1) {
        invariant(zs->classes < MAX_CLASSES);
        zs->class[zs->classes++] =
            (struct class){.bytes = SPAN_BYTES / n / GRAIN * GRAIN, .objects = n};
    }
    clear_lists(zs);
    invariant(zs->class[0].bytes >= bytes);
    for (uint32_t grains = 0; grains <= (bytes + GRAIN - 1) / GRAIN; grains++) {
        uint32_t class = zs->classes - 1;
        while (zs->class[class].bytes < grains * GRAIN)
            class --;
        zs->class_of[grains] = (uint8_t) class;
    }
}

enum err zstore_create(struct zstore **out, uint64_t limit_bytes)
{
    struct zstore *zs = calloc(1, sizeof(*zs));

    *out = NULL;
    if (zs)
        zs->stream = LZ4_createStream();
    if (!zs || !zs->stream) {
        free(zs);
        return err_new(ERR_NOMEM, "no memory for the compressed store");
    }
    zs->limit_bytes = limit_bytes;
    make_classes(zs);
    *out = zs;
    return ERR_OK;
}

static void free_regions(struct zstore *zs)
{
    for (uint32_t i = 0; i < zs->regions; i++) {
        munmap(zs->region[i]->memory, (size_t)REGION_SPANS * SPAN_BYTES);
        free(zs->region[i]);
    }
    free(zs->region);
    zs->region = NULL;
    zs->regions = 0;
}

void zstore_destroy(struct zstore *zs)
{
    if (!zs)
        return;
    free_regions(zs);
    LZ4_freeStream(zs->stream);
    free(zs);
}

void zstore_free_all(struct zstore *zs)
{
    free_regions(zs);
    clear_lists(zs);
    zs->taken_spans = zs->pages = 0;
}

void zstore_set_limit(struct zstore *zs, uint64_t limit_bytes)
{
    zs->limit_bytes = limit_bytes;
}

/* ---- spans ---- */

static void list_put(struct zstore *zs, uint32_t *head, uint32_t n)
{
    struct span *span = span_at(zs, n);

    span->next = *head;
    span->prev = NO_SPAN;
    if (*head != NO_SPAN)
        span_at(zs, *head)->prev = n;
    *head = n;
}

static void list_remove(struct zstore *zs, uint32_t *head, uint32_t n)
{
    struct span *span = span_at(zs, n);

    if (span->prev == NO_SPAN)
        *head = span->next;
    else
        span_at(zs, span->prev)->next = span->next;
    if (span->next != NO_SPAN)
        span_at(zs, span->next)->prev = span->prev;
}

static bool region_append(struct zstore *zs)
{
    size_t bytes = (size_t)REGION_SPANS * SPAN_BYTES;
    struct region **more, *region;
    void *memory;

    if (zs->regions == MAX_REGIONS)
        return false;
    more = realloc(zs->region, (zs->regions + 1) * sizeof(struct region *));
    if (!more)
        return false;
    zs->region = more;
    region = calloc(1, sizeof(*region));
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (!region || memory == MAP_FAILED) {
        if (memory != MAP_FAILED)
            munmap(memory, bytes);
        free(region);
        return false;
    }
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE); /* a span is less than a huge page */
    region->memory = memory;
    zs->region[zs->regions++] = region;
    for (uint32_t i = REGION_SPANS; i-- > 0;)
        list_put(zs, &zs->empty, (zs->regions - 1) * REGION_SPANS + i);
    return true;
}

/* Its number of used objects changes: is it on another list now? (Z2; of empty ones: the caller) */
static void span_resize(struct zstore *zs, uint32_t n, unsigned used)
{
    struct span *span = span_at(zs, n);
    struct class *class = &zs->class[span->class];
    unsigned before = span->used_count, fullness = fullness_of(class, used);
    bool was_listed = before && before < class->objects;
    bool is_listed = used && used < class->objects;

    class->free_objects += (uint64_t)before - used;
    span->used_count = (uint16_t)used;
    if (was_listed && is_listed && fullness == span->fullness)
        return;
    if (was_listed)
        list_remove(zs, &class->partial[span->fullness], n);
    span->fullness = (uint8_t)fullness;
    if (is_listed)
        list_put(zs, &class->partial[fullness], n);
}

/* The fullest span of this class with room. */
static uint32_t span_fullest(const struct zstore *zs, uint32_t class)
{
    for (unsigned f = FULLNESSES; f-- > 0;) {
        if (zs->class[class].partial[f] != NO_SPAN)
            return zs->class[class].partial[f];
    }
    return NO_SPAN;
}

/* A span of this class with room; NO_SPAN: the limit, or the host refuses. */
static uint32_t span_with_room(struct zstore *zs, uint32_t class)
{
    uint32_t n = span_fullest(zs, class);

    if (n != NO_SPAN)
        return n;
    if ((zs->taken_spans + 1) * SPAN_BYTES > zs->limit_bytes)
        return NO_SPAN;
    if (zs->empty == NO_SPAN && !region_append(zs))
        return NO_SPAN;
    n = zs->empty;
    list_remove(zs, &zs->empty, n);
    span_at(zs, n)->class = (uint8_t) class;
    zs->class[class].free_objects += zs->class[class].objects;
    zs->taken_spans++;
    return n;
}

static zstore_id object_take(struct zstore *zs, uint32_t n)
{
    struct span *span = span_at(zs, n);
    unsigned word = 0, object;

    while (span->used[word] == UINT64_MAX)
        word++;
    object = word * 64 + (unsigned)__builtin_ctzll(~span->used[word]);
    invariant(object < zs->class[span->class].objects);
    span->used[word] |= UINT64_C(1) << object % 64;
    span_resize(zs, n, span->used_count + 1u);
    return n * SPAN_OBJECTS + object + 1;
}

static uint8_t *object_at(const struct zstore *zs, zstore_id id)
{
    uint32_t n = (id - 1) / SPAN_OBJECTS;
    unsigned object = (id - 1) % SPAN_OBJECTS;

    invariant(id && is_object(zs, n, object));
    return span_memory(zs, n) + (size_t)object * zs->class[span_at(zs, n)->class].bytes;
}

/* ---- pages ---- */

enum zstore_put zstore_put(struct zstore *zs, const void *page, uint32_t owner, zstore_id *out)
{
    uint16_t length;
    uint32_t grains, n;
    uint8_t *object;
    int got;

    *out = 0;
    LZ4_resetStream_fast(zs->stream);
    got = LZ4_compress_fast_continue(zs->stream, page, zs->block, (int)PAGE_SIZE,
                                     (int)LARGEST_BLOCK, 1);
    length = (uint16_t)got;
    if (got <= 0)
        return ZSTORE_POOR;
    if (zs->taken_spans * SPAN_BYTES > zs->limit_bytes)
        return ZSTORE_FULL; /* the limit came down: nothing comes in, so that it empties */
    grains = (HEADER_BYTES + length + GRAIN - 1) / GRAIN;
    n = span_with_room(zs, zs->class_of[grains]);
    if (n == NO_SPAN)
        return ZSTORE_FULL;
    *out = object_take(zs, n);
    object = object_at(zs, *out);
    memcpy(object, &length, sizeof(length));
    memcpy(object + OWNER_AT, &owner, sizeof(owner));
    memcpy(object + HEADER_BYTES, zs->block, length);
    zs->pages++;
    return ZSTORE_OK;
}

bool zstore_expand(const uint8_t *object, uint32_t object_bytes, void *page)
{
    uint16_t length;

    memcpy(&length, object, sizeof(length));
    return length + HEADER_BYTES <= object_bytes &&
           LZ4_decompress_safe((const char *)object + HEADER_BYTES, page, length, (int)PAGE_SIZE) ==
               (int)PAGE_SIZE;
}

void zstore_get(const struct zstore *zs, zstore_id id, void *page)
{
    const uint8_t *object = object_at(zs, id);

    invariant(zstore_expand(object, LARGEST_BLOCK + HEADER_BYTES, page));
}

void zstore_free(struct zstore *zs, zstore_id id)
{
    uint32_t n = (id - 1) / SPAN_OBJECTS;
    unsigned object = (id - 1) % SPAN_OBJECTS;
    struct span *span;

    invariant(id && is_object(zs, n, object));
    span = span_at(zs, n);
    span->used[object / 64] &= ~(UINT64_C(1) << object % 64);
    span_resize(zs, n, span->used_count - 1u);
    zs->pages--;
    if (span->used_count)
        return;
    zs->class[span->class].free_objects -= zs->class[span->class].objects;
    (void)madvise(span_memory(zs, n), SPAN_BYTES, MADV_DONTNEED);
    list_put(zs, &zs->empty, n);
    zs->taken_spans--;
}

/* ---- moving together ---- */

/* The emptiest span of the class, if the others have room for what is in it. */
static uint32_t span_to_empty(const struct class *class)
{
    for (unsigned f = 0; f < FULLNESSES; f++) {
        uint32_t n = class->partial[f];
        if (n == NO_SPAN)
            continue;
        return class->free_objects >= class->objects ? n : NO_SPAN;
    }
    return NO_SPAN;
}

/* Each page of the span goes to the fullest one; the span itself cannot be it while it is empty. */
static size_t span_empty(struct zstore *zs, uint32_t n, zstore_moved *moved, void *arg)
{
    struct span *span = span_at(zs, n);
    struct class *class = &zs->class[span->class];
    size_t count = 0;

    /* Off its list meanwhile: it must not be where its own pages go. */
    list_remove(zs, &class->partial[span->fullness], n);
    for (unsigned object = 0; object < class->objects; object++) {
        uint32_t owner;
        if (!is_object(zs, n, object))
            continue;
        const uint8_t *from = span_memory(zs, n) + (size_t)object * class->bytes;
        zstore_id to = object_take(zs, span_fullest(zs, span->class));
        memcpy(object_at(zs, to), from, class->bytes);
        memcpy(&owner, from + OWNER_AT, sizeof(owner));
        moved(arg, owner, to);
        span->used[object / 64] &= ~(UINT64_C(1) << object % 64);
        count++;
    }
    class->free_objects -= class->objects - span->used_count;
    span->used_count = 0;
    (void)madvise(span_memory(zs, n), SPAN_BYTES, MADV_DONTNEED);
    list_put(zs, &zs->empty, n);
    zs->taken_spans--;
    return count;
}

/* What could be given back if each class had but one span with room. */
static uint64_t scattered_bytes(const struct zstore *zs)
{
    uint64_t bytes = 0;

    for (uint32_t class = 0; class < zs->classes; class ++)
        bytes += zs->class[class].free_objects / zs->class[class].objects * SPAN_BYTES;
    return bytes;
}

size_t zstore_compact(struct zstore *zs, size_t most, zstore_moved *moved, void *arg)
{
    size_t count = 0;

    if (scattered_bytes(zs) < zs->taken_spans * SPAN_BYTES / SCATTER_PART)
        return 0;
    for (uint32_t class = 0; class < zs->classes && count < most;) {
        uint32_t n = span_to_empty(&zs->class[class]);
        if (n == NO_SPAN)
            class ++;
        else
            count += span_empty(zs, n, moved, arg);
    }
    return count;
}

uint64_t zstore_bytes(const struct zstore *zs)
{
    return zs->taken_spans * SPAN_BYTES;
}

uint64_t zstore_pages(const struct zstore *zs)
{
    return zs->pages;
}
