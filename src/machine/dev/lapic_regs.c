/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APIC's registers. Both views number them the same way: xAPIC offset >> 4 is the x2APIC MSR
 * minus 0x800 (SDM 3A tables 10-1 and 10-6).
 */
#include "machine/dev/lapic_private.h"

#define VERSION (0x14u | (LAPIC_LVTS - 1) << 16)

enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR_LOW = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_TIMER_INITIAL = 0x38,
    REG_TIMER_CURRENT = 0x39,
    REG_TIMER_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u
#define MSR_X2APIC_LAST  0x83fu

#define BASE_ADDRESS  (((UINT64_C(1) << 40) - 1) & ~UINT64_C(0xfff))
#define BASE_WRITABLE (BASE_ADDRESS | BASE_ENABLE | BASE_X2APIC | BASE_BSP)

#define SVR_WRITABLE     0x3ffu
#define DFR_FIXED        0x0fffffffu
#define ICR_WRITABLE     0xccfffu
#define ICR_LOGICAL      0x800u
#define ICR_ASSERT       0x4000u
#define ICR_SHORTHAND(v) ((v) >> 18 & 3)

#define FIRST_LEGAL_VECTOR 16

/* Writable bits of each LVT entry: mask, vector, and what else the entry has. */
static const uint32_t lvt_writable[LAPIC_LVTS] = {
    [LAPIC_LVT_TIMER] = LVT_MASKED | LVT_VECTOR | 0x60000,
    [LAPIC_LVT_THERMAL] = LVT_MASKED | LVT_VECTOR | 0x700,
    [LAPIC_LVT_PERF] = LVT_MASKED | LVT_VECTOR | 0x700,
    [LAPIC_LVT_LINT0] = LVT_MASKED | LVT_VECTOR | 0xa700,
    [LAPIC_LVT_LINT1] = LVT_MASKED | LVT_VECTOR | 0xa700,
    [LAPIC_LVT_ERROR] = LVT_MASKED | LVT_VECTOR,
};

static uint32_t x2apic_ldr(uint32_t id)
{
    return (id & ~15u) << 12 | 1u << (id & 15);
}

bool lapic_reg_read(struct lapic *lapic, unsigned reg, uint32_t *value)
{
    switch (reg) {
    case REG_ID:
        *value = lapic_is_x2apic(lapic) ? lapic->id : lapic->id << 24;
        return true;
    case REG_VERSION:
        *value = VERSION;
        return true;
    case REG_TPR:
        *value = lapic->tpr;
        return true;
    case REG_APR:
    case REG_PPR:
        *value = lapic_processor_priority(lapic);
        return true;
    case REG_EOI:
    case REG_RRD:
        *value = 0;
        return true;
    case REG_LDR:
        *value = lapic->ldr;
        return true;
    case REG_DFR:
        *value = lapic->dfr;
        return true;
    case REG_SVR:
        *value = lapic->svr;
        return true;
    case REG_ISR ... REG_ISR + 7:
        *value = lapic->isr[reg - REG_ISR];
        return true;
    case REG_TMR ... REG_TMR + 7:
        *value = lapic->tmr[reg - REG_TMR];
        return true;
    case REG_IRR ... REG_IRR + 7:
        *value = lapic->irr[reg - REG_IRR];
        return true;
    case REG_ESR:
        *value = lapic->esr;
        return true;
    case REG_ICR_LOW:
        *value = (uint32_t)lapic->icr;
        return true;
    case REG_ICR_HIGH:
        *value = (uint32_t)(lapic->icr >> 32);
        return true;
    case REG_LVT ... REG_LVT + LAPIC_LVTS - 1:
        *value = lapic->lvt[reg - REG_LVT];
        return true;
    case REG_TIMER_INITIAL:
        *value = lapic->initial_count;
        return true;
    case REG_TIMER_CURRENT:
        *value = lapic_timer_current(lapic);
        return true;
    case REG_TIMER_DIVIDE:
        *value = lapic->divide;
        return true;
    default:
        return false;
    }
}

static void write_svr(struct lapic *lapic, uint32_t value)
{
    lapic->svr = value & SVR_WRITABLE;
    if (!lapic_is_software_enabled(lapic))
        for (unsigned i = 0; i < LAPIC_LVTS; i++)
            lapic->lvt[i] |= LVT_MASKED;
    lapic_changed(lapic);
}

static void write_lvt(struct lapic *lapic, enum lapic_lvt which, uint32_t value)
{
    value &= lvt_writable[which];
    if (!lapic_is_software_enabled(lapic))
        value |= LVT_MASKED;
    if (which == LAPIC_LVT_TIMER)
        lapic_timer_set_lvt(lapic, value);
    else
        lapic->lvt[which] = value;
    lapic_changed(lapic);
}

/* The destination is in the upper half: 8 bits at 24 in xAPIC mode, all 32 in x2APIC mode. */
static void send_icr(struct lapic *lapic)
{
    uint32_t low = (uint32_t)lapic->icr;
    uint32_t high = (uint32_t)(lapic->icr >> 32);
    struct apic_message message = {
        .destination = lapic_is_x2apic(lapic) ? high : high >> 24,
        .logical = low & ICR_LOGICAL,
        .delivery = (uint8_t)(low >> 8 & 7),
        .vector = (uint8_t)low,
    };

    if (!lapic_is_x2apic(lapic) && message.destination == 0xff)
        message.destination = APIC_BROADCAST;
    if (message.delivery == APIC_FIXED && message.vector < FIRST_LEGAL_VECTOR) {
        lapic_note_error(lapic, ESR_SEND_ILLEGAL);
        return;
    }
    lapic->host.send(lapic->host.arg, &message, (enum lapic_shorthand)ICR_SHORTHAND(low));
}

bool lapic_reg_write(struct lapic *lapic, unsigned reg, uint32_t value)
{
    switch (reg) {
    case REG_TPR:
        lapic->tpr = value & 0xff;
        lapic_changed(lapic);
        return true;
    case REG_EOI:
        lapic_end_of_interrupt(lapic);
        return true;
    case REG_SVR:
        write_svr(lapic, value);
        return true;
    case REG_ESR:
        lapic->esr = lapic->errors;
        lapic->errors = 0;
        return true;
    case REG_ICR_LOW:
        lapic->icr = (lapic->icr & ~UINT64_C(0xffffffff)) | (value & ICR_WRITABLE);
        send_icr(lapic);
        return true;
    case REG_LVT ... REG_LVT + LAPIC_LVTS - 1:
        write_lvt(lapic, (enum lapic_lvt)(reg - REG_LVT), value);
        return true;
    case REG_TIMER_INITIAL:
        lapic_timer_set_initial(lapic, value);
        return true;
    case REG_TIMER_DIVIDE:
        lapic_timer_set_divide(lapic, value);
        return true;
    default:
        return false;
    }
}

/* Registers that only xAPIC mode can write. */
static bool xapic_write(struct lapic *lapic, unsigned reg, uint32_t value)
{
    switch (reg) {
    case REG_ID: /* fixed, as on newer CPUs */
        return true;
    case REG_LDR:
        lapic->ldr = value & 0xff000000u;
        return true;
    case REG_DFR:
        lapic->dfr = value | DFR_FIXED;
        return true;
    case REG_ICR_HIGH:
        lapic->icr = (uint64_t)(value & 0xff000000u) << 32 | (uint32_t)lapic->icr;
        return true;
    default:
        return lapic_reg_write(lapic, reg, value);
    }
}

bool lapic_has_address(const struct lapic *lapic, uint64_t gpa, unsigned bytes)
{
    uint64_t base = lapic->base_msr & BASE_ADDRESS;

    return lapic_is_on(lapic) && !lapic_is_x2apic(lapic) && gpa >= base &&
           gpa - base <= LAPIC_BYTES - bytes;
}

uint64_t lapic_mmio_read(struct lapic *lapic, uint64_t offset, unsigned bytes)
{
    uint32_t value = 0;

    if ((offset & 15) >= 4)
        return 0;
    if (!lapic_reg_read(lapic, (unsigned)(offset >> 4), &value))
        lapic_note_error(lapic, ESR_REGISTER);
    value >>= 8 * (offset & 3);
    return bytes < 4 ? value & ((1u << 8 * bytes) - 1) : value;
}

void lapic_mmio_write(struct lapic *lapic, uint64_t offset, unsigned bytes, uint64_t value)
{
    if ((offset & 15) || bytes < 4)
        return; /* undefined by the SDM: nothing happens */
    if (!xapic_write(lapic, (unsigned)(offset >> 4), (uint32_t)value))
        lapic_note_error(lapic, ESR_REGISTER);
}

bool lapic_owns_msr(uint32_t msr)
{
    return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE ||
           (msr >= MSR_X2APIC && msr <= MSR_X2APIC_LAST);
}

static bool x2apic_read(struct lapic *lapic, unsigned reg, uint64_t *value)
{
    uint32_t low = 0;

    switch (reg) {
    case REG_ICR_LOW:
        *value = lapic->icr;
        return true;
    case REG_ICR_HIGH:
    case REG_DFR:
    case REG_APR:
    case REG_RRD:
    case REG_EOI:
    case REG_SELF_IPI:
        return false;
    default:
        if (!lapic_reg_read(lapic, reg, &low))
            return false;
        *value = low;
        return true;
    }
}

/* x2APIC mode checks reserved bits (SDM 3A 10.12.1.2). */
static bool x2apic_write(struct lapic *lapic, unsigned reg, uint64_t value)
{
    struct apic_message self = {.delivery = APIC_FIXED, .vector = (uint8_t)value};

    switch (reg) {
    case REG_ICR_LOW:
        if ((uint32_t)value & ~(ICR_WRITABLE | ICR_ASSERT))
            return false;
        lapic->icr = value;
        send_icr(lapic);
        return true;
    case REG_SELF_IPI:
        if (value > 0xff)
            return false;
        lapic->host.send(lapic->host.arg, &self, LAPIC_TO_SELF);
        return true;
    case REG_EOI:
    case REG_ESR:
        return !value && lapic_reg_write(lapic, reg, 0);
    case REG_TPR:
        return value <= 0xff && lapic_reg_write(lapic, reg, (uint32_t)value);
    default:
        return value <= UINT32_MAX && lapic_reg_write(lapic, reg, (uint32_t)value);
    }
}

/* Legal changes of mode: figure 10-27 of SDM 3A 10.12.5. */
static bool write_base(struct lapic *lapic, uint64_t value)
{
    uint64_t old_mode = lapic->base_msr & (BASE_ENABLE | BASE_X2APIC);
    uint64_t mode = value & (BASE_ENABLE | BASE_X2APIC);

    if (value & ~BASE_WRITABLE)
        return false;
    if (mode == BASE_X2APIC)
        return false;
    if (mode != old_mode) {
        if (mode == BASE_ENABLE && old_mode == (BASE_ENABLE | BASE_X2APIC))
            return false;
        if (mode == (BASE_ENABLE | BASE_X2APIC) && !old_mode)
            return false;
    }
    lapic->base_msr = value;
    if (!mode && old_mode)
        lapic_clear_state(lapic);
    if (lapic_is_x2apic(lapic))
        lapic->ldr = x2apic_ldr(lapic->id);
    lapic_changed(lapic);
    return true;
}

bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value)
{
    if (msr == MSR_APIC_BASE) {
        *value = lapic->base_msr;
        return true;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *value = lapic_timer_deadline(lapic);
        return true;
    }
    return lapic_is_x2apic(lapic) && x2apic_read(lapic, msr - MSR_X2APIC, value);
}

bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value)
{
    if (msr == MSR_APIC_BASE)
        return write_base(lapic, value);
    if (msr == MSR_TSC_DEADLINE) {
        lapic_timer_set_deadline(lapic, value);
        return true;
    }
    return lapic_is_x2apic(lapic) && x2apic_write(lapic, msr - MSR_X2APIC, value);
}
