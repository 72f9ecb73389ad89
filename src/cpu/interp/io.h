/* SPDX-License-Identifier: Apache-2.0 */
/* Port I/O: the permission check that IN, OUT, INS and OUTS share. */
#ifndef UMBRA_CPU_INTERP_IO_H
#define UMBRA_CPU_INTERP_IO_H

#include "cpu/interp/interp.h"

/*
 * #GP(0) unless CPL <= IOPL or the TSS' I/O permission bitmap allows every byte of the access (SDM
 * 1 19.5.2).
 */
void io_check(struct interp *c, const struct uop *u, uint16_t port, unsigned bytes);

#endif
