/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for machine code, mapped twice: once writable, once executable, never both at once through
 * one mapping. Beside it lies memory for what belongs to the code (exits, uops of fallbacks). Both
 * are handed out upwards and given back all at once.
 */
#ifndef UMBRA_CPU_TRANSLATE_CODE_H
#define UMBRA_CPU_TRANSLATE_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * keep: bytes at the beginning that a reset leaves (the thunks). What runs rarely lies in the upper
 * half, beginning at size / 2, so that what runs often is close together.
 */
struct code_memory {
    uint8_t *rw;
    const uint8_t *rx;
    size_t size, used, keep, cold_used;
    uint8_t *data;
    size_t data_size, data_used;
};

enum err code_memory_create(struct code_memory *m, size_t bytes) MUST_USE;
void code_memory_destroy(struct code_memory *m);
void code_memory_reset(struct code_memory *m);

/* Zeroed memory below 2 GiB that lives until the next reset; NULL: none left. */
void *code_memory_data(struct code_memory *m, size_t bytes);

/* Host memory that it takes, as the host counts it: code for each of its mappings. */
static inline uint64_t code_memory_held(const struct code_memory *m)
{
    return 2 * (m->used + m->cold_used - m->size / 2) + m->data_used;
}

/* Where code written at p runs, and back. */
static inline const uint8_t *code_rx(const struct code_memory *m, const uint8_t *p)
{
    return m->rx + (p - m->rw);
}

static inline uint8_t *code_rw(const struct code_memory *m, const uint8_t *p)
{
    return m->rw + (p - m->rx);
}

#endif
