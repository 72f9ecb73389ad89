/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A span is 32 KiB of host memory cut into objects of one size; the sizes are such that n objects
 * fill a span with nothing left over but rounding. Spans lie in regions of address space; a span
 * whose last object goes is given back to the host and then serves any size.
 *
 *     object: | u16 length | u32 owner | LZ4 block | unused |      id = region, span, object; + 1
 *
 * A class's spans that have room are listed by how full they are. What comes goes to the fullest,
 * so that the others empty; what still lies scattered after many pages went is moved together
 * (zstore_compact).
 *
 *   Z1  span->used_count is the number of bits in span->used; 0 exactly for spans on the empty list
 *   Z2  a span is on its class's list of its fullness exactly while it has both used and free
 *       objects
 *   Z3  taken_spans counts the spans with used objects, class->free_objects the free objects in
 *       those of the class
 */
#ifndef UMBRA_MEM_STORE_ZSTORE_PRIVATE_H
#define UMBRA_MEM_STORE_ZSTORE_PRIVATE_H

#include "base/addr.h"
#include "mem/store/zstore.h"

#define SPAN_BYTES    32768u
#define SPAN_OBJECTS  512u /* of the smallest size */
#define REGION_SPANS  2048u
#define MAX_REGIONS   (UINT32_MAX / SPAN_OBJECTS / REGION_SPANS) /* 4095: nearly 256 GiB */
#define LARGEST_BLOCK 3072u /* three quarters of a page: larger ones are not worth it */
#define HEADER_BYTES  6u
#define OWNER_AT      2u
#define FEWEST        10u /* objects of the largest size in a span */
#define GRAIN         8u
#define MAX_CLASSES   96u
#define FULLNESSES    4u
#define NO_SPAN       UINT32_MAX

struct span {
    uint64_t used[SPAN_OBJECTS / 64];
    uint16_t used_count;
    uint8_t class;
    uint8_t fullness;    /* which list */
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
    uint32_t partial[FULLNESSES]; /* lists of spans with room, the emptiest first */
    uint64_t free_objects;
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
    union LZ4_stream_u *stream; /* its tables need not be cleared for each page */
};

static inline struct span *span_at(const struct zstore *zs, uint32_t n)
{
    return &zs->region[n / REGION_SPANS]->span[n % REGION_SPANS];
}

static inline uint8_t *span_memory(const struct zstore *zs, uint32_t n)
{
    return zs->region[n / REGION_SPANS]->memory + (uint64_t)(n % REGION_SPANS) * SPAN_BYTES;
}

static inline unsigned fullness_of(const struct class *class, unsigned used)
{
    return used * FULLNESSES / class->objects;
}

static inline bool is_object(const struct zstore *zs, uint32_t n, unsigned object)
{
    return n < zs->regions * REGION_SPANS && span_at(zs, n)->used[object / 64] >> object % 64 & 1;
}

/* False: it is not what zstore_put made. */
bool zstore_expand(const uint8_t *object, uint32_t object_bytes, void *page);

#endif
