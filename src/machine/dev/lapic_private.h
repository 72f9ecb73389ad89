/* SPDX-License-Identifier: Apache-2.0 */
/* Between lapic.c (interrupts), lapic_regs.c (registers and MSRs) and lapic_timer.c. */
#ifndef UMBRA_MACHINE_DEV_LAPIC_PRIVATE_H
#define UMBRA_MACHINE_DEV_LAPIC_PRIVATE_H

#include "machine/dev/lapic.h"

#define BASE_BSP    UINT64_C(0x100)
#define BASE_X2APIC UINT64_C(0x400)
#define BASE_ENABLE UINT64_C(0x800)

#define LVT_VECTOR        0x000ffu
#define LVT_DELIVERY(v)   ((v) >> 8 & 7)
#define LVT_LEVEL         0x08000u
#define LVT_MASKED        0x10000u
#define LVT_TIMER_MODE(v) ((v) >> 17 & 3)

enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

#define SVR_ENABLE 0x100u

#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER        0x80u

static inline bool lapic_is_on(const struct lapic *lapic)
{
    return lapic->base_msr & BASE_ENABLE;
}

static inline bool lapic_is_x2apic(const struct lapic *lapic)
{
    return (lapic->base_msr & (BASE_ENABLE | BASE_X2APIC)) == (BASE_ENABLE | BASE_X2APIC);
}

static inline bool lapic_is_software_enabled(const struct lapic *lapic)
{
    return lapic->svr & SVR_ENABLE;
}

/* lapic.c */
void lapic_changed(struct lapic *lapic);
void lapic_note_error(struct lapic *lapic, uint32_t error);
void lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt which);
void lapic_end_of_interrupt(struct lapic *lapic);
void lapic_clear_state(struct lapic *lapic);

/*
 * lapic_regs.c: the registers at their number (offset >> 4). False: no such register, or read-only.
 */
bool lapic_reg_read(struct lapic *lapic, unsigned reg, uint32_t *value);
bool lapic_reg_write(struct lapic *lapic, unsigned reg, uint32_t value);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *lapic);
void lapic_timer_stop(struct lapic *lapic);
uint32_t lapic_timer_current(const struct lapic *lapic);
void lapic_timer_set_initial(struct lapic *lapic, uint32_t value);
void lapic_timer_set_divide(struct lapic *lapic, uint32_t value);
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value);
uint64_t lapic_timer_deadline(const struct lapic *lapic);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t value);

#endif
