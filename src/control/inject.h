/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures of the host made up for tests, as `umbra run --inject` takes them:
 *
 *     swap-write=ENOSPC@100-200,swap-read=EIO@5,disk-write=EIO@7-
 *
 * The numbers count requests of that kind to that file from 1 (base/aio.h).
 */
#ifndef UMBRA_CONTROL_INJECT_H
#define UMBRA_CONTROL_INJECT_H

#include <stddef.h>

#include "base/aio.h"
#include "base/err.h"

#define INJECT_MAX 16

struct inject_list {
    struct aio_fault fault[INJECT_MAX];
    size_t count;
};

/* swap: of the swap file;  smart: of the smart-paging file;  disk: of all disk images together */
struct inject {
    struct inject_list swap, smart, disk;
};

/* Adds what `text` says. ERR_INVAL with one line. */
enum err inject_parse(const char *text, struct inject *inject) MUST_USE;

#endif
