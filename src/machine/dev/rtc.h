/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818 real-time clock with 128 bytes of CMOS RAM, index port 0x70, data port 0x71, IRQ 8. The
 * time is UTC: wall time at power-on plus guest time plus what the guest changed by setting the
 * clock. Update and periodic flags are worked out when register C is read; timers run only for
 * enabled interrupts.
 */
#ifndef UMBRA_MACHINE_DEV_RTC_H
#define UMBRA_MACHINE_DEV_RTC_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"
#include "machine/irq.h"

#define RTC_CMOS_BYTES 128

struct rtc {
    struct clock *clock;
    struct irq_line irq;
    int64_t power_on_wall_ns; /* UNIX time at guest time 0 */
    int64_t set_by_guest_ns;  /* added since by the guest */
    uint8_t index;
    uint8_t ram[RTC_CMOS_BYTES];
    struct tm held;       /* the time while register B's SET bit is on */
    uint64_t seen_second; /* guest's second and periodic tick at the last look at register C */
    uint64_t seen_tick;
    struct clock_timer second_timer, periodic_timer;
};

/* memory_bytes: told in the CMOS bytes where a BIOS would leave it. */
void rtc_init(struct rtc *rtc, struct clock *clock, struct irq_line irq, int64_t power_on_wall_ns,
              uint64_t memory_bytes);
void rtc_reset(struct rtc *rtc);

uint32_t rtc_in(void *arg, uint16_t port, unsigned bytes);
void rtc_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

#endif
