/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC of one CPU: xAPIC registers at APIC_BASE, x2APIC MSRs, timer with one-shot, periodic
 * and TSC-deadline modes (SDM 3A chapter 10). The timer's clock is LAPIC_TIMER_HZ before its
 * divider.
 *
 * One departure from the power-on state: LINT0 of the boot CPU starts as ExtINT, unmasked, as
 * firmware leaves it, so that a guest which never touches the APIC gets the PIC's interrupts.
 */
#ifndef UMBRA_MACHINE_DEV_LAPIC_H
#define UMBRA_MACHINE_DEV_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "machine/dev/apic_message.h"

#define LAPIC_DEFAULT_BASE UINT64_C(0xfee00000)
#define LAPIC_BYTES        0x1000
#define LAPIC_TIMER_HZ     UINT64_C(1000000000)

enum lapic_lvt {
    LAPIC_LVT_TIMER,
    LAPIC_LVT_THERMAL,
    LAPIC_LVT_PERF,
    LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR,
    LAPIC_LVTS
};

/* Who a message goes to, beside its destination field (ICR bits 19..18). */
enum lapic_shorthand { LAPIC_TO_DEST, LAPIC_TO_SELF, LAPIC_TO_ALL, LAPIC_TO_OTHERS };

/*
 * changed:  lapic_pending or lapic_takes_pic may answer differently now
 * eoi:      a level-triggered vector was ended
 * send:     an interprocessor interrupt leaves this APIC
 * nmi:      this CPU gets an NMI
 */
struct lapic_host {
    void *arg;
    void (*changed)(void *arg);
    void (*eoi)(void *arg, uint8_t vector);
    void (*send)(void *arg, const struct apic_message *message, enum lapic_shorthand to);
    void (*nmi)(void *arg);
};

struct lapic {
    struct lapic_host host;
    struct clock *clock;
    uint64_t tsc_khz;
    uint32_t id;
    bool is_boot_cpu;

    uint64_t base_msr;
    uint32_t tpr, ldr, dfr, svr, esr, errors;
    uint64_t icr;
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t lvt[LAPIC_LVTS];
    bool lint0_level;

    uint32_t divide, initial_count;
    uint64_t tsc_deadline;
    struct clock_timer timer;
};

void lapic_init(struct lapic *lapic, uint32_t id, bool is_boot_cpu, struct clock *clock,
                uint64_t tsc_khz, const struct lapic_host *host);
void lapic_reset(struct lapic *lapic);

/* Interrupts in. */
bool lapic_is_destination(const struct lapic *lapic, const struct apic_message *message);
void lapic_accept(struct lapic *lapic, const struct apic_message *message);
void lapic_set_lint0(struct lapic *lapic, bool level);

/*
 * Interrupts out: the vector that may interrupt now or -1; its acknowledgement; does the PIC get
 * through?
 */
int lapic_pending(const struct lapic *lapic);
int lapic_ack(struct lapic *lapic);
bool lapic_takes_pic(const struct lapic *lapic);

/* Smaller is more willing: for lowest-priority delivery. */
uint32_t lapic_processor_priority(const struct lapic *lapic);

bool lapic_has_address(const struct lapic *lapic, uint64_t gpa, unsigned bytes);
uint64_t lapic_mmio_read(struct lapic *lapic, uint64_t offset, unsigned bytes);
void lapic_mmio_write(struct lapic *lapic, uint64_t offset, unsigned bytes, uint64_t value);

/* APIC base, TSC deadline, x2APIC registers. False: #GP. */
bool lapic_owns_msr(uint32_t msr);
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value);

/* CR8: the task priority's upper half. */
uint64_t lapic_cr8_read(const struct lapic *lapic);
void lapic_cr8_write(struct lapic *lapic, uint64_t value);

#endif
