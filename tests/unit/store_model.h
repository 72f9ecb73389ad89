/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the stores share: numbers from a seed, pages with addressed contents, a
 * folder.
 */
#ifndef UMBRA_TESTS_STORE_MODEL_H
#define UMBRA_TESTS_STORE_MODEL_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"

static inline uint64_t model_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static inline uint64_t model_below(uint64_t *seed, uint64_t limit)
{
    return (model_next(seed) >> 11) % limit;
}

/* noise_bytes of the page are random, the rest repeats: from incompressible to nearly empty. */
static inline void model_fill(void *page, uint64_t seed, unsigned noise_bytes)
{
    uint64_t *words = page, x = seed * 2 + UINT64_C(0x9e3779b97f4a7c15);

    for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
        words[i] = i * 8 < noise_bytes ? model_next(&x) : seed;
}

static inline int model_is(const void *page, uint64_t seed, unsigned noise_bytes)
{
    uint64_t want[PAGE_SIZE / 8];

    model_fill(want, seed, noise_bytes);
    return !memcmp(page, want, PAGE_SIZE);
}

/* A new folder; model_folder_remove removes it with what is in it. */
static inline void model_folder(char *path, size_t bytes)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(path, bytes, "%s/umbra-store-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(path))
        abort();
}

static inline void model_folder_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;

    while (dir && (e = readdir(dir)))
        (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(path);
}

#endif
