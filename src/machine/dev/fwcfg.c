/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/fwcfg.h"

void fwcfg_init(struct fwcfg *f, uint64_t ram_bytes, unsigned cpus)
{
    *f = (struct fwcfg){.ram_bytes = ram_bytes, .cpus = (uint16_t)cpus};
}

void fwcfg_reset(struct fwcfg *f)
{
    f->item = 0;
    f->offset = 0;
}

/* The selected item as a little-endian number of at most 8 bytes. */
static uint64_t item_value(const struct fwcfg *f)
{
    switch (f->item) {
    case FWCFG_SIGNATURE:
        return 'Q' | 'E' << 8 | 'M' << 16 | 'U' << 24;
    case FWCFG_ID:
        return 1;
    case FWCFG_RAM_SIZE:
        return f->ram_bytes;
    case FWCFG_CPUS:
    case FWCFG_MAX_CPUS:
        return f->cpus;
    default:
        return 0;
    }
}

uint32_t fwcfg_in(void *arg, uint16_t port, unsigned bytes)
{
    struct fwcfg *f = arg;
    uint32_t byte;

    if (port == FWCFG_PORT || bytes != 1)
        return UINT32_MAX;
    byte = f->offset < 8 ? (uint32_t)(item_value(f) >> (8 * f->offset)) & 0xff : 0;
    if (f->offset < UINT32_MAX)
        f->offset++;
    return byte;
}

void fwcfg_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct fwcfg *f = arg;

    if (port != FWCFG_PORT || bytes != 2)
        return;
    f->item = (uint16_t)value;
    f->offset = 0;
}
