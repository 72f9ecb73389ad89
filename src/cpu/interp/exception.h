/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of exceptions and interrupts (SDM 3A 6). The entry points of the run loop are in
 * interp.h; here is what the system half shares.
 *
 *   handler --exc_raise--> longjmp --> outer loop --exc_handle_raised--> exc_deliver --> first
 * handler uop ^                                  |
 *                                          +---- a fault during delivery -----+   (c->delivering is
 * set)
 *
 * While c->delivering, c->rip is the address that a nested fault pushes: the faulting or
 * interrupted instruction; for INT n the INT itself.
 */
#ifndef UMBRA_CPU_INTERP_EXCEPTION_H
#define UMBRA_CPU_INTERP_EXCEPTION_H

#include "cpu/interp/interp.h"

/* Error code bits (SDM 3A 6.13). */
#define ERROR_EXT 1u
#define ERROR_IDT 2u

/* EXT of an error code made now: a fault in delivering anything but INT n, INT3, INTO. */
static inline uint32_t exc_ext(const struct interp *c)
{
    return c->delivering && c->delivering_kind != EVENT_SOFT_INT ? ERROR_EXT : 0;
}

/* What is delivered, as the gates of deliver.c see it. */
struct event {
    enum event_kind kind;
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t return_rip;
    uint64_t rflags; /* image to push */
};

/*
 * deliver.c: through the IVT or IDT, by mode. Sets c->rip, CS, SS, RSP, RFLAGS; raises nested
 * faults.
 */
void deliver_event(struct interp *c, const struct event *e);

#endif
