/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pages of the memory owner hold. Content follows from a seed, the page's number and its
 * version, so that a page that comes back at another place, or older than it should be, is found.
 *
 *   z  zeros                      e  equal: one of 16 contents, whatever the page's number
 *   c  compresses at about 3:1    r  random: does not compress
 */
#ifndef UMBRA_WORKLOAD_PAGES_H
#define UMBRA_WORKLOAD_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE       4096u
#define PAGE_WORDS 512u

struct pages {
    uint64_t *base;
    uint64_t count;
    uint64_t seed;
    const char *kinds; /* letters as above; each version of a page takes one of them */
    uint64_t kind_count;
    uint32_t *version;
    uint32_t *touches; /* added to the first word; a new version sets it to 0 */
};

struct mismatch {
    unsigned word;
    uint64_t expected, found;
};

/* The letter that page `number` has now. */
char pages_kind(const struct pages *pages, uint64_t number);

/* A next version, written whole: with rep stos or rep movs, or by single words. */
void pages_write(struct pages *pages, uint64_t number);

/* One more touch: writes the first word only. */
void pages_touch(struct pages *pages, uint64_t number);

/*
 * What it should hold by its number, version and touches, against `page` (a copy, or the page
 * itself).
 */
bool pages_match(const struct pages *pages, uint64_t number, const uint64_t *page,
                 struct mismatch *out);

/* The same for one word only. */
bool pages_match_word(const struct pages *pages, uint64_t number, const uint64_t *page,
                      unsigned word, struct mismatch *out);

#endif
