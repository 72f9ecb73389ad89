/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/lapic_private.h"

#include <string.h>

#define FIRST_LEGAL_VECTOR 16
#define LVT_RESET          LVT_MASKED
#define LINT0_RESET        (APIC_EXTINT << 8)
#define SVR_RESET          0xffu
#define DFR_FLAT           0xffffffffu

static bool get_bit(const uint32_t map[8], unsigned vector)
{
    return map[vector / 32] >> vector % 32 & 1;
}

static void set_bit(uint32_t map[8], unsigned vector, bool value)
{
    uint32_t bit = 1u << vector % 32;

    map[vector / 32] = value ? map[vector / 32] | bit : map[vector / 32] & ~bit;
}

static int highest_bit(const uint32_t map[8])
{
    for (int i = 7; i >= 0; i--)
        if (map[i])
            return i * 32 + 31 - __builtin_clz(map[i]);
    return -1;
}

void lapic_changed(struct lapic *lapic)
{
    lapic->host.changed(lapic->host.arg);
}

uint32_t lapic_processor_priority(const struct lapic *lapic)
{
    int serving = highest_bit(lapic->isr);
    uint32_t service_class = serving < 0 ? 0 : (uint32_t)serving & 0xf0;

    return (lapic->tpr & 0xf0) >= service_class ? lapic->tpr : service_class;
}

int lapic_pending(const struct lapic *lapic)
{
    int vector;

    if (!lapic_is_on(lapic))
        return -1;
    vector = highest_bit(lapic->irr);
    if (vector < 0 || ((uint32_t)vector & 0xf0) <= (lapic_processor_priority(lapic) & 0xf0))
        return -1;
    return vector;
}

int lapic_ack(struct lapic *lapic)
{
    int vector = lapic_pending(lapic);

    if (vector < 0)
        return -1;
    set_bit(lapic->irr, (unsigned)vector, false);
    set_bit(lapic->isr, (unsigned)vector, true);
    lapic_changed(lapic);
    return vector;
}

bool lapic_takes_pic(const struct lapic *lapic)
{
    uint32_t lint0 = lapic->lvt[LAPIC_LVT_LINT0];

    if (!lapic_is_on(lapic) || !lapic_is_software_enabled(lapic))
        return true;
    return !(lint0 & LVT_MASKED) && LVT_DELIVERY(lint0) == APIC_EXTINT;
}

static void accept_vector(struct lapic *lapic, uint8_t vector, bool level_triggered)
{
    if (vector < FIRST_LEGAL_VECTOR) {
        lapic_note_error(lapic, ESR_RECEIVE_ILLEGAL);
        return;
    }
    set_bit(lapic->irr, vector, true);
    set_bit(lapic->tmr, vector, level_triggered);
    lapic_changed(lapic);
}

void lapic_accept(struct lapic *lapic, const struct apic_message *message)
{
    if (!lapic_is_on(lapic))
        return;
    switch (message->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        if (lapic_is_software_enabled(lapic))
            accept_vector(lapic, message->vector, message->level_triggered);
        break;
    case APIC_NMI:
        lapic->host.nmi(lapic->host.arg);
        break;
    default: /* SMI: there is no SMM. INIT, start-up: no second CPU. ExtINT: the PIC is wired to
                LINT0. */
        break;
    }
}

/* Latches an error; the first one since the guest last looked also interrupts. */
void lapic_note_error(struct lapic *lapic, uint32_t error)
{
    bool first = !(lapic->errors & error);

    lapic->errors |= error;
    if (first && (lapic->lvt[LAPIC_LVT_ERROR] & LVT_VECTOR) >= FIRST_LEGAL_VECTOR)
        lapic_fire_lvt(lapic, LAPIC_LVT_ERROR);
}

void lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt which)
{
    uint32_t lvt = lapic->lvt[which];
    /* the timer and the error entry have no delivery mode field */
    bool fixed_only = which == LAPIC_LVT_TIMER || which == LAPIC_LVT_ERROR;
    struct apic_message message = {
        .delivery = (uint8_t)(fixed_only ? APIC_FIXED : LVT_DELIVERY(lvt)),
        .vector = (uint8_t)(lvt & LVT_VECTOR),
    };

    if (!(lvt & LVT_MASKED))
        lapic_accept(lapic, &message);
}

void lapic_set_lint0(struct lapic *lapic, bool level)
{
    bool rises = level && !lapic->lint0_level;

    lapic->lint0_level = level;
    if (rises && LVT_DELIVERY(lapic->lvt[LAPIC_LVT_LINT0]) != APIC_EXTINT)
        lapic_fire_lvt(lapic, LAPIC_LVT_LINT0);
}

void lapic_end_of_interrupt(struct lapic *lapic)
{
    int vector = highest_bit(lapic->isr);

    if (vector < 0)
        return;
    set_bit(lapic->isr, (unsigned)vector, false);
    if (get_bit(lapic->tmr, (unsigned)vector))
        lapic->host.eoi(lapic->host.arg, (uint8_t)vector);
    lapic_changed(lapic);
}

/* SDM 3A 10.6.2: physical ids; logical ids in the flat, the cluster and the x2APIC model. */
bool lapic_is_destination(const struct lapic *lapic, const struct apic_message *message)
{
    uint32_t to = message->destination;
    uint32_t ldr = lapic->ldr;

    if (to == APIC_BROADCAST || (!lapic_is_x2apic(lapic) && to == 0xff))
        return true;
    if (!message->logical)
        return to == lapic->id;
    if (lapic_is_x2apic(lapic))
        return to >> 16 == ldr >> 16 && (to & ldr & 0xffff);
    ldr >>= 24;
    if (lapic->dfr == DFR_FLAT)
        return to & ldr & 0xff;
    return (to >> 4 & 15) == ldr >> 4 && (to & ldr & 15);
}

uint64_t lapic_cr8_read(const struct lapic *lapic)
{
    return lapic->tpr >> 4;
}

void lapic_cr8_write(struct lapic *lapic, uint64_t value)
{
    lapic->tpr = (uint32_t)(value & 15) << 4;
    lapic_changed(lapic);
}

/* Everything that INIT and a disabled APIC lose (SDM 3A 10.4.7.1); not the base MSR. */
void lapic_clear_state(struct lapic *lapic)
{
    lapic_timer_stop(lapic);
    lapic->tpr = 0;
    lapic->ldr = 0;
    lapic->dfr = DFR_FLAT;
    lapic->svr = SVR_RESET;
    lapic->esr = 0;
    lapic->errors = 0;
    lapic->icr = 0;
    lapic->divide = 0;
    lapic->initial_count = 0;
    memset(lapic->isr, 0, sizeof(lapic->isr));
    memset(lapic->tmr, 0, sizeof(lapic->tmr));
    memset(lapic->irr, 0, sizeof(lapic->irr));
    for (unsigned i = 0; i < LAPIC_LVTS; i++)
        lapic->lvt[i] = LVT_RESET;
    if (lapic->is_boot_cpu)
        lapic->lvt[LAPIC_LVT_LINT0] = LINT0_RESET;
}

void lapic_reset(struct lapic *lapic)
{
    lapic_clear_state(lapic);
    lapic->base_msr = LAPIC_DEFAULT_BASE | BASE_ENABLE | (lapic->is_boot_cpu ? BASE_BSP : 0);
    lapic_changed(lapic);
}

void lapic_init(struct lapic *lapic, uint32_t id, bool is_boot_cpu, struct clock *clock,
                uint64_t tsc_khz, const struct lapic_host *host)
{
    *lapic = (struct lapic){
        .host = *host,
        .clock = clock,
        .tsc_khz = tsc_khz,
        .id = id,
        .is_boot_cpu = is_boot_cpu,
    };
    lapic_timer_init(lapic);
    lapic_reset(lapic);
}
