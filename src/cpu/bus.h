/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a CPU engine may ask of the machine, as a table handed in at creation. Engines are
 * tested with a table of their own. Called on the vCPU's thread; the machine takes its own lock
 * inside.
 */
#ifndef UMBRA_CPU_BUS_H
#define UMBRA_CPU_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

struct cpu_bus {
    void *arg;

    /* bytes: 1, 2 or 4. Ports nobody owns read as all ones. */
    uint32_t (*port_in)(void *arg, uint16_t port, unsigned bytes);
    void (*port_out)(void *arg, uint16_t port, unsigned bytes, uint32_t value);

    /* bytes: 1..8, never across a page. Addresses nobody owns read as all ones. */
    uint64_t (*mmio_read)(void *arg, gpa_t gpa, unsigned bytes);
    void (*mmio_write)(void *arg, gpa_t gpa, unsigned bytes, uint64_t value);

    /*
     * The interrupt controller's answer to INTA: the vector to deliver now (LAPIC first, else PIC),
     * or -1 when there is none at the present priority. Called only when the guest can take it.
     */
    int (*irq_ack)(void *arg);

    /*
     * MSRs that belong to the machine: APIC base, x2APIC, TSC deadline, kvmclock. False: not one
     * of these (#GP).
     */
    bool (*msr_read)(void *arg, uint32_t msr, uint64_t *value);
    bool (*msr_write)(void *arg, uint32_t msr, uint64_t value);

    /* CR8 is the APIC's task priority >> 4. */
    uint64_t (*cr8_read)(void *arg);
    void (*cr8_write)(void *arg, uint64_t value);

    /* Time stamp counter, before the guest's TSC_ADJUST. */
    uint64_t (*tsc)(void *arg);

    /* The same in terms of the host's TSC, for good; false: it has no such form. May be NULL. */
    bool (*tsc_scale)(void *arg, struct clock_tsc_scale *out);

    /*
     * Runs what is due (timers) and answers how many instructions may retire before the next call.
     * Called at every engine entry, after every kick and when the budget is used up.
     */
    uint64_t (*poll)(void *poll_arg);
    void *poll_arg; /* its own, so that the machine's owner can put itself before the machine */
};

#endif
