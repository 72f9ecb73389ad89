/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages held once for several frames: copies with a count of users, found by the hash of what they
 * hold (xxHash, then compared byte by byte: a collision never shares). What was seen once is only
 * remembered as a hint: hash -> the frame that held it, which may be wrong by now ([Waldspurger02
 * 4.1]).
 */
#ifndef UMBRA_MEM_STORE_SHARE_H
#define UMBRA_MEM_STORE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

typedef uint32_t share_id; /* never 0 */

struct share;

enum err share_create(struct share **out) MUST_USE;
void share_destroy(struct share *sh);

uint64_t share_hash(const void *page);

/* A copy that equals the page: its id with one user more; 0: none. */
share_id share_find(struct share *sh, uint64_t hash, const void *page);

/* A new copy with one user; 0: the host refuses memory. */
share_id share_add(struct share *sh, uint64_t hash, const void *page);
void share_drop(struct share *sh, share_id id); /* one user less; the last frees it */
void share_drop_all(struct share *sh);

hva_t share_hva(const struct share *sh, share_id id); /* never to be written */
uint32_t share_users(const struct share *sh, share_id id);

/* Remembers who held this; answers who was remembered before, UINT64_MAX: nobody. Bounded. */
uint64_t share_hint(struct share *sh, uint64_t hash, uint64_t who);

uint64_t share_copies(const struct share *sh);
bool share_check(const struct share *sh, uint64_t users); /* users: sum over all copies */

#endif
