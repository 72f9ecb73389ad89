/* SPDX-License-Identifier: Apache-2.0 */
/* The bus of a vCPU without a machine: nothing answers, nothing interrupts, time stands still. */
#ifndef UMBRA_TESTS_NO_DEVICES_H
#define UMBRA_TESTS_NO_DEVICES_H

#include "cpu/engine.h"

static inline uint32_t no_port_in(void *arg, uint16_t port, unsigned bytes)
{
    (void)arg, (void)port, (void)bytes;
    return ~0u;
}

static inline void no_port_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    (void)arg, (void)port, (void)bytes, (void)value;
}

static inline uint64_t no_mmio_read(void *arg, gpa_t gpa, unsigned bytes)
{
    (void)arg, (void)gpa, (void)bytes;
    return ~UINT64_C(0);
}

static inline void no_mmio_write(void *arg, gpa_t gpa, unsigned bytes, uint64_t value)
{
    (void)arg, (void)gpa, (void)bytes, (void)value;
}

static inline int no_irq_ack(void *arg)
{
    (void)arg;
    return -1;
}

static inline bool no_msr_read(void *arg, uint32_t msr, uint64_t *value)
{
    (void)arg, (void)msr, (void)value;
    return false;
}

static inline bool no_msr_write(void *arg, uint32_t msr, uint64_t value)
{
    (void)arg, (void)msr, (void)value;
    return false;
}

static inline uint64_t no_cr8_read(void *arg)
{
    (void)arg;
    return 0;
}

static inline void no_cr8_write(void *arg, uint64_t value)
{
    (void)arg, (void)value;
}

static inline uint64_t no_tsc(void *arg)
{
    (void)arg;
    return 0;
}

/* All of a struct cpu_bus but poll and the arguments. */
#define NO_DEVICES                                                                                 \
    .port_in = no_port_in, .port_out = no_port_out, .mmio_read = no_mmio_read,                     \
    .mmio_write = no_mmio_write, .irq_ack = no_irq_ack, .msr_read = no_msr_read,                   \
    .msr_write = no_msr_write, .cr8_read = no_cr8_read, .cr8_write = no_cr8_write, .tsc = no_tsc

#endif
