/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the guest waits: a page that cannot be read back now, or no place left for pages that must
 * leave. Nothing is lost meanwhile; both are tried again.
 */
#include <stdarg.h>
#include <stdio.h>

#include "mem/internal.h"

#define RETRY_NS UINT64_C(100000000)

void stall_set(struct guest_mem *mem, enum stall_kind kind, uint64_t index, const char *fmt, ...)
{
    struct stall *stall = &mem->stall;
    va_list args;

    if (stall->kind == STALL_NONE)
        mem->stats.stalls++;
    stall->kind = kind;
    stall->index = index;
    stall->tried_ns = host_ns();
    va_start(args, fmt);
    (void)vsnprintf(stall->text, sizeof stall->text, fmt, args);
    va_end(args);
}

void stall_clear(struct guest_mem *mem, enum stall_kind kind)
{
    if (mem->stall.kind == kind)
        mem->stall.kind = STALL_NONE;
}

const char *mem_stall(const struct guest_mem *mem)
{
    return mem->stall.kind == STALL_NONE ? NULL : mem->stall.text;
}

void stall_retry(struct guest_mem *mem, uint64_t now_ns)
{
    const struct stall *stall = &mem->stall;

    if (stall->kind != STALL_READ || now_ns < stall->tried_ns + RETRY_NS)
        return;
    switch ((enum page_state)mem->state[stall->index]) {
    case PAGE_SWAPPED:
    case PAGE_SMART:
    case PAGE_IMAGE:
        if (!comein(mem, stall->index))
            return;
        break;
    default:
        break; /* nobody wants it from there any more */
    }
    stall_clear(mem, STALL_READ);
}
