/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A span is 32 KiB of host memory cut into objects of one size; the sizes are such that n objects
 * fill a span with nothing left over but rounding. Spans lie in regions of address space; a span
 * whose last object goes is given back to the host and then serves any size.
 *
 *     object: | u16 length | LZ4 block | unused |          id = region, span, object; + 1
 *
 *   Z1  span->used_count is the number of bits in span->used; 0 exactly for spans on the empty list
 *   Z2  a span is on its class's list exactly while it has both used and free objects
 *   Z3  taken_spans counts the spans with used objects
 */
#include "mem/store/zstore.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "base/invariant.h"

#define SPAN_BYTES    32768u
#define SPAN_OBJECTS  512u /* of the smallest size */
#define REGION_SPANS  2048u
#define MAX_REGIONS   (UINT32_MAX / SPAN_OBJECTS / REGION_SPANS) /* 4095: nearly 256 GiB */
#define LARGEST_BLOCK 3072u /* three quarters of a page: larger ones are not worth it */
#define HEADER_BYTES  2u
#define FEWEST        10u /* objects of the largest size in a span */
#define GRAIN         8u
#define MAX_CLASSES   96u
#define NO_SPAN       UINT32_MAX

struct span {
    uint64_t used[SPAN_OBJECTS / 64];
    uint16_t used_count;
    uint8_t class;
    uint32_t next, prev; /* of its class's list, or of the empty ones */
};

struct region {
    uint8_t *memory;
    struct span span[REGION_SPANS];
};

struct class
{
    uint32_t bytes;
    uint32_t objects;
    uint32_t partial; /* list of spans with room */
};

struct zstore {
    uint64_t limit_bytes;
    struct region **region;
    uint32_t regions;
    uint32_t empty; /* list of spans without memory */
    uint64_t taken_spans, pages;
    struct class class[MAX_CLASSES];
    uint32_t classes;
    uint8_t class_of[(LARGEST_BLOCK + HEADER_BYTES) / GRAIN + 2]; /* by bytes / GRAIN, rounded up */
    char block[LARGEST_BLOCK];
};

static struct span *span_at(const struct zstore *zs, uint32_t n)
{
    return &zs->region[n / REGION_SPANS]->span[n % REGION_SPANS];
}

static uint8_t *span_memory(const struct zstore *zs, uint32_t n)
{
    return zs->region[n / REGION_SPANS]->memory + (uint64_t)(n % REGION_SPANS) * SPAN_BYTES;
}

/* ---- making and ending ---- */

/* From the largest to the smallest: steps of one object more while that is coarse, then of 1/12. */
static void make_classes(struct zstore *zs)
{
    uint32_t bytes = LARGEST_BLOCK + HEADER_BYTES;

    for (uint32_t n = FEWEST; n <= SPAN_OBJECTS; n += n / 12 > 1 ? n / 12 : 1) {
        invariant(zs->classes < MAX_CLASSES);
        zs->class[zs->classes++] = (struct class){
            .bytes = SPAN_BYTES / n / GRAIN * GRAIN, .objects = n, .partial = NO_SPAN};
    }
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
    if (!zs)
        return err_new(ERR_NOMEM, "no memory for the compressed store");
    zs->limit_bytes = limit_bytes;
    zs->empty = NO_SPAN;
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
    free(zs);
}

void zstore_free_all(struct zstore *zs)
{
    free_regions(zs);
    for (uint32_t class = 0; class < zs->classes; class ++)
        zs->class[class].partial = NO_SPAN;
    zs->empty = NO_SPAN;
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

/* A span of this class with room; NO_SPAN: the limit, or the host refuses. */
static uint32_t span_with_room(struct zstore *zs, uint32_t class)
{
    uint32_t n = zs->class[class].partial;

    if (n != NO_SPAN)
        return n;
    if ((zs->taken_spans + 1) * SPAN_BYTES > zs->limit_bytes)
        return NO_SPAN;
    if (zs->empty == NO_SPAN && !region_append(zs))
        return NO_SPAN;
    n = zs->empty;
    list_remove(zs, &zs->empty, n);
    span_at(zs, n)->class = (uint8_t) class;
    list_put(zs, &zs->class[class].partial, n);
    zs->taken_spans++;
    return n;
}

static unsigned object_take(struct zstore *zs, uint32_t n)
{
    struct span *span = span_at(zs, n);
    struct class *class = &zs->class[span->class];
    unsigned word = 0, object;

    while (span->used[word] == UINT64_MAX)
        word++;
    object = word * 64 + (unsigned)__builtin_ctzll(~span->used[word]);
    invariant(object < class->objects);
    span->used[word] |= UINT64_C(1) << object % 64;
    if (++span->used_count == class->objects)
        list_remove(zs, &class->partial, n);
    return object;
}

static bool is_object(const struct zstore *zs, uint32_t n, unsigned object)
{
    return n < zs->regions * REGION_SPANS && span_at(zs, n)->used[object / 64] >> object % 64 & 1;
}

static uint8_t *object_at(const struct zstore *zs, zstore_id id)
{
    uint32_t n = (id - 1) / SPAN_OBJECTS;
    unsigned object = (id - 1) % SPAN_OBJECTS;

    invariant(id && is_object(zs, n, object));
    return span_memory(zs, n) + (size_t)object * zs->class[span_at(zs, n)->class].bytes;
}

/* ---- pages ---- */

enum zstore_put zstore_put(struct zstore *zs, const void *page, zstore_id *out)
{
    int got = LZ4_compress_default(page, zs->block, (int)PAGE_SIZE, (int)LARGEST_BLOCK);
    uint16_t length = (uint16_t)got;
    uint32_t grains, n;
    uint8_t *object;

    *out = 0;
    if (got <= 0)
        return ZSTORE_POOR;
    if (zs->taken_spans * SPAN_BYTES > zs->limit_bytes)
        return ZSTORE_FULL; /* the limit came down: nothing comes in, so that it empties */
    grains = (HEADER_BYTES + length + GRAIN - 1) / GRAIN;
    n = span_with_room(zs, zs->class_of[grains]);
    if (n == NO_SPAN)
        return ZSTORE_FULL;
    *out = n * SPAN_OBJECTS + object_take(zs, n) + 1;
    object = object_at(zs, *out);
    memcpy(object, &length, HEADER_BYTES);
    memcpy(object + HEADER_BYTES, zs->block, length);
    zs->pages++;
    return ZSTORE_OK;
}

static bool expand(const uint8_t *object, uint32_t object_bytes, void *page)
{
    uint16_t length;

    memcpy(&length, object, HEADER_BYTES);
    return length + HEADER_BYTES <= object_bytes &&
           LZ4_decompress_safe((const char *)object + HEADER_BYTES, page, length, (int)PAGE_SIZE) ==
               (int)PAGE_SIZE;
}

void zstore_get(const struct zstore *zs, zstore_id id, void *page)
{
    const uint8_t *object = object_at(zs, id);

    invariant(expand(object, LARGEST_BLOCK + HEADER_BYTES, page));
}

void zstore_free(struct zstore *zs, zstore_id id)
{
    uint32_t n = (id - 1) / SPAN_OBJECTS;
    unsigned object = (id - 1) % SPAN_OBJECTS;
    struct class *class;
    struct span *span;

    invariant(id && is_object(zs, n, object));
    span = span_at(zs, n);
    class = &zs->class[span->class];
    if (span->used_count == class->objects)
        list_put(zs, &class->partial, n);
    span->used[object / 64] &= ~(UINT64_C(1) << object % 64);
    zs->pages--;
    if (--span->used_count)
        return;
    list_remove(zs, &class->partial, n);
    (void)madvise(span_memory(zs, n), SPAN_BYTES, MADV_DONTNEED);
    list_put(zs, &zs->empty, n);
    zs->taken_spans--;
}

uint64_t zstore_bytes(const struct zstore *zs)
{
    return zs->taken_spans * SPAN_BYTES;
}

uint64_t zstore_pages(const struct zstore *zs)
{
    return zs->pages;
}

/* ---- looking ---- */

static bool span_check(const struct zstore *zs, uint32_t n, uint64_t *pages)
{
    const struct span *span = span_at(zs, n);
    const struct class *class = &zs->class[span->class];
    uint8_t page[PAGE_SIZE];
    uint32_t count = 0;

    for (unsigned object = 0; object < SPAN_OBJECTS; object++) {
        if (!is_object(zs, n, object))
            continue;
        count++;
        if (object >= class->objects ||
            !expand(span_memory(zs, n) + (size_t)object * class->bytes, class->bytes, page)) {
            err_note(ERR_INTERNAL, "zstore: object %u of span %u is damaged", object, n);
            return false;
        }
    }
    *pages += count;
    if (count != span->used_count) {
        err_note(ERR_INTERNAL, "zstore: span %u has %u objects, counted %u", n, count,
                 span->used_count);
        return false;
    }
    return true;
}

/* Z2: as many spans on the lists as belong there, and each of those on them does. */
static bool lists_check(const struct zstore *zs, uint64_t partial, uint64_t empty)
{
    for (uint32_t class = 0; class < zs->classes; class ++) {
        for (uint32_t n = zs->class[class].partial; n != NO_SPAN; n = span_at(zs, n)->next) {
            const struct span *span = span_at(zs, n);
            if (span->class != class || !span->used_count || !partial ||
                span->used_count == zs->class[class].objects) {
                err_note(ERR_INTERNAL, "zstore: span %u is on a list where it does not belong", n);
                return false;
            }
            partial--;
        }
    }
    for (uint32_t n = zs->empty; n != NO_SPAN && empty; n = span_at(zs, n)->next)
        empty -= span_at(zs, n)->used_count == 0;
    if (partial || empty) {
        err_note(ERR_INTERNAL, "zstore: spans are missing on their lists");
        return false;
    }
    return true;
}

bool zstore_check(const struct zstore *zs)
{
    uint64_t pages = 0, partial = 0, empty = 0, spans = (uint64_t)zs->regions * REGION_SPANS;

    for (uint32_t n = 0; n < spans; n++) {
        const struct span *span = span_at(zs, n);
        if (!span_check(zs, n, &pages))
            return false;
        empty += !span->used_count;
        partial += span->used_count && span->used_count < zs->class[span->class].objects;
    }
    if (pages != zs->pages || spans - empty != zs->taken_spans) {
        err_note(ERR_INTERNAL, "zstore: %llu pages in %llu spans, counted %llu in %llu",
                 (unsigned long long)pages, (unsigned long long)(spans - empty),
                 (unsigned long long)zs->pages, (unsigned long long)zs->taken_spans);
        return false;
    }
    return lists_check(zs, partial, empty);
}
