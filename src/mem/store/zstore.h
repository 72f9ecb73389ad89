/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed pages in host memory (LZ4), in chunks of some size classes so that what is freed is
 * used again and whole free spans go back to the host. Knows no guest: pages are 4096 bytes.
 */
#ifndef UMBRA_MEM_STORE_ZSTORE_H
#define UMBRA_MEM_STORE_ZSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Never 0. */
typedef uint32_t zstore_id;

struct zstore;

/* limit_bytes: host memory that spans may take together. */
enum err zstore_create(struct zstore **out, uint64_t limit_bytes) MUST_USE;
void zstore_destroy(struct zstore *zs);
void zstore_set_limit(struct zstore *zs, uint64_t limit_bytes);

enum zstore_put {
    ZSTORE_OK,
    ZSTORE_POOR, /* would take more than three quarters of a page */
    ZSTORE_FULL, /* at the limit, or the host refuses memory */
};
/* owner: handed back when the page is moved. */
enum zstore_put zstore_put(struct zstore *zs, const void *page, uint32_t owner, zstore_id *out);

/* Expands; the stored page stays. */
void zstore_get(const struct zstore *zs, zstore_id id, void *page);
void zstore_free(struct zstore *zs, zstore_id id);
void zstore_free_all(struct zstore *zs);

/*
 * Moves pages together when many went from between them, until it has moved `most` or nothing is
 * to be gained; how many it moved. Each is told of at once: its old id is void.
 */
typedef void zstore_moved(void *arg, uint32_t owner, zstore_id id);
size_t zstore_compact(struct zstore *zs, size_t most, zstore_moved *moved, void *arg);

uint64_t zstore_bytes(const struct zstore *zs); /* host memory taken now */
uint64_t zstore_pages(const struct zstore *zs);
bool zstore_check(const struct zstore *zs); /* false and err_text() */

#endif
