/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg: the port through which small guests made for QEMU ask how many CPUs and how much memory
 * there are. Only the traditional interface and these items; every other item reads as zeros.
 *
 *   write 2 bytes to FWCFG_PORT: select an item, at its first byte; read bytes from FWCFG_PORT + 1
 *
 * Source: QEMU, docs/specs/fw_cfg.
 */
#ifndef UMBRA_MACHINE_DEV_FWCFG_H
#define UMBRA_MACHINE_DEV_FWCFG_H

#include <stdint.h>

#define FWCFG_PORT      0x510
#define FWCFG_LAST_PORT 0x511

#define FWCFG_SIGNATURE 0x00 /* "QEMU" */
#define FWCFG_ID        0x01 /* bit 0: traditional interface, no DMA */
#define FWCFG_RAM_SIZE  0x03 /* bytes, 64 bits */
#define FWCFG_CPUS      0x05 /* 16 bits */
#define FWCFG_MAX_CPUS  0x0f /* 16 bits */

struct fwcfg {
    uint64_t ram_bytes;
    uint16_t cpus;
    uint16_t item;
    uint32_t offset;
};

void fwcfg_init(struct fwcfg *f, uint64_t ram_bytes, unsigned cpus);
void fwcfg_reset(struct fwcfg *f);

uint32_t fwcfg_in(void *arg, uint16_t port, unsigned bytes);
void fwcfg_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

#endif
