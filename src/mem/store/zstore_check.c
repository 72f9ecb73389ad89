/* SPDX-License-Identifier: Apache-2.0 */
/* Whether Z1 to Z3 hold (zstore_private.h), and every page is what was put. */
#include "mem/store/zstore_private.h"

static bool span_check(const struct zstore *zs, uint32_t n, uint64_t *pages, uint64_t *free_objects)
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
            !zstore_expand(span_memory(zs, n) + (size_t)object * class->bytes, class->bytes,
                           page)) {
            err_note(ERR_INTERNAL, "zstore: object %u of span %u is damaged", object, n);
            return false;
        }
    }
    *pages += count;
    if (count)
        *free_objects += class->objects - count;
    if (count != span->used_count) {
        err_note(ERR_INTERNAL, "zstore: span %u has %u objects, counted %u", n, count,
                 span->used_count);
        return false;
    }
    return true;
}

/* Z2 for one list; those that belong there are counted off. */
static bool list_check(const struct zstore *zs, uint32_t class, unsigned fullness,
                       uint64_t *partial)
{
    const struct class *c = &zs->class[class];

    for (uint32_t n = c->partial[fullness]; n != NO_SPAN; n = span_at(zs, n)->next) {
        const struct span *span = span_at(zs, n);
        if (span->class != class || !span->used_count || !*partial ||
            span->used_count == c->objects || fullness_of(c, span->used_count) != fullness) {
            err_note(ERR_INTERNAL, "zstore: span %u is on a list where it does not belong", n);
            return false;
        }
        --*partial;
    }
    return true;
}

/* Z2: as many spans on the lists as belong there, and each of those on them does. */
static bool lists_check(const struct zstore *zs, uint64_t partial, uint64_t empty)
{
    for (uint32_t class = 0; class < zs->classes; class ++) {
        for (unsigned f = 0; f < FULLNESSES; f++) {
            if (!list_check(zs, class, f, &partial))
                return false;
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
    uint64_t free_objects[MAX_CLASSES] = {0};

    for (uint32_t n = 0; n < spans; n++) {
        const struct span *span = span_at(zs, n);
        if (!span_check(zs, n, &pages, &free_objects[span->class]))
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
    for (uint32_t class = 0; class < zs->classes; class ++) {
        if (free_objects[class] != zs->class[class].free_objects) {
            err_note(ERR_INTERNAL, "zstore: class %u has other free objects than counted", class);
            return false;
        }
    }
    return lists_check(zs, partial, empty);
}
