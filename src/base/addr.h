/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of the four spaces as types that do not mix.
 *
 *   gva_t  guest virtual (linear)      gpa_t  guest physical      gfn_t  guest frame number
 *   hva_t  host virtual
 *
 * They are made and unmade only by the functions of this file; everything else passes them on.
 */
#ifndef UMBRA_BASE_ADDR_H
#define UMBRA_BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  UINT64_C(4096)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

typedef struct {
    uint64_t v;
} gva_t;

typedef struct {
    uint64_t v;
} gpa_t;

typedef struct {
    uint64_t v;
} gfn_t;

typedef struct {
    uint64_t v;
} hva_t;

static inline gva_t gva_make(uint64_t v)
{
    return (gva_t){v};
}

static inline gpa_t gpa_make(uint64_t v)
{
    return (gpa_t){v};
}

static inline gfn_t gfn_make(uint64_t v)
{
    return (gfn_t){v};
}

static inline hva_t hva_make(uint64_t v)
{
    return (hva_t){v};
}

static inline hva_t hva_from_ptr(const void *p)
{
    return (hva_t){(uint64_t)(uintptr_t)p};
}

static inline void *hva_ptr(hva_t a)
{
    return (void *)(uintptr_t)a.v;
}

static inline gfn_t gpa_gfn(gpa_t a)
{
    return (gfn_t){a.v >> PAGE_SHIFT};
}

static inline gpa_t gfn_gpa(gfn_t f)
{
    return (gpa_t){f.v << PAGE_SHIFT};
}

static inline uint64_t gpa_offset(gpa_t a)
{
    return a.v & (PAGE_SIZE - 1);
}

static inline gpa_t gpa_add(gpa_t a, uint64_t n)
{
    return (gpa_t){a.v + n};
}

#endif
