/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware (ACPI 6.4 chapter 4.8): PM1a event and control blocks, the PM timer
 * of 3.579545 MHz and 24 bits, one GPE block with nothing behind it. SLP_TYP 5 with SLP_EN is
 * power-off. SCI is IRQ 9.
 */
#ifndef UMBRA_MACHINE_DEV_PM_H
#define UMBRA_MACHINE_DEV_PM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "machine/irq.h"

#define PM_BASE       0x600
#define PM_EVENT_PORT PM_BASE         /* status, enable: 2 bytes each */
#define PM_CNT_PORT   (PM_BASE + 4)   /* 2 bytes */
#define PM_TIMER_PORT (PM_BASE + 8)   /* 4 bytes */
#define PM_GPE_PORT   (PM_BASE + 0xc) /* status, enable: 2 bytes each */
#define PM_LAST_PORT  (PM_BASE + 0xf)
#define PM_TIMER_HZ   3579545
#define PM_SCI_IRQ    9
#define PM_SLP_TYP_S5 5

struct pm {
    struct clock *clock;
    struct irq_line sci;
    void *arg;
    void (*power_off)(void *arg);

    uint16_t status, enable, control;
    uint16_t gpe_status, gpe_enable;
    uint64_t seen_half; /* half periods of the timer (its bit 23 toggles) already told in status */
    struct clock_timer timer;
};

void pm_init(struct pm *pm, struct clock *clock, struct irq_line sci, void *arg,
             void (*power_off)(void *arg));
void pm_reset(struct pm *pm);

uint32_t pm_in(void *arg, uint16_t port, unsigned bytes);
void pm_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

#endif
