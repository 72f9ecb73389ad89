/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/pm.h"

#include "machine/timer.h"

#define STS_TIMER  0x0001
#define STS_GLOBAL 0x0020
#define STS_RTC    0x0400 /* can be enabled as guests expect; there is no sleep to wake from */
#define EN_ALL     (STS_TIMER | STS_GLOBAL | STS_RTC)
#define CNT_SCI_EN 0x0001
#define CNT_SLP_EN 0x2000
#define CNT_KEPT   0x1c06 /* SLP_TYP, GBL_RLS, BM_RLD */
#define SLP_TYP(v) ((v) >> 10 & 7)
#define TIMER_MASK 0xffffff
#define HALF_SHIFT 23

static uint64_t timer_ticks(const struct pm *pm)
{
    return clock_ticks_of_hz(clock_now(pm->clock), PM_TIMER_HZ);
}

static void update_status(struct pm *pm)
{
    uint64_t half = timer_ticks(pm) >> HALF_SHIFT;

    if (half != pm->seen_half) {
        pm->seen_half = half;
        pm->status |= STS_TIMER;
    }
}

static void update_irq(struct pm *pm)
{
    irq_set(&pm->sci, (pm->status & pm->enable & EN_ALL) || (pm->gpe_status & pm->gpe_enable));
}

/* The carry of the timer is worth a host timer only while the guest wants to be told. */
static void schedule(struct pm *pm)
{
    if ((pm->enable & STS_TIMER) && !(pm->status & STS_TIMER))
        machine_timer_arm(pm->clock, &pm->timer,
                          clock_ns_of_hz((pm->seen_half + 1) << HALF_SHIFT, PM_TIMER_HZ));
    else
        clock_timer_cancel(pm->clock, &pm->timer);
}

static void on_timer(void *arg, uint64_t now)
{
    struct pm *pm = arg;

    (void)now;
    update_status(pm);
    update_irq(pm);
    schedule(pm);
}

/* Byte `at` of the block as it reads now. */
static uint8_t read_byte(struct pm *pm, unsigned at)
{
    uint32_t ticks;

    switch (at) {
    case 0:
    case 1:
        update_status(pm);
        return (uint8_t)(pm->status >> 8 * at);
    case 2:
    case 3:
        return (uint8_t)(pm->enable >> 8 * (at - 2));
    case 4:
    case 5:
        return (uint8_t)((pm->control | CNT_SCI_EN) >> 8 * (at - 4));
    case 8:
    case 9:
    case 10:
    case 11:
        ticks = (uint32_t)timer_ticks(pm) & TIMER_MASK;
        return (uint8_t)(ticks >> 8 * (at - 8));
    case 12:
    case 13:
        return (uint8_t)(pm->gpe_status >> 8 * (at - 12));
    case 14:
    case 15:
        return (uint8_t)(pm->gpe_enable >> 8 * (at - 14));
    default:
        return 0;
    }
}

uint32_t pm_in(void *arg, uint16_t port, unsigned bytes)
{
    struct pm *pm = arg;
    uint32_t value = 0;

    if (port == PM_TIMER_PORT && bytes == 4) /* one moment for all four bytes */
        return (uint32_t)timer_ticks(pm) & TIMER_MASK;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)read_byte(pm, port - PM_BASE + i) << 8 * i;
    return value;
}

static uint16_t merge(uint16_t old, unsigned high, uint8_t value)
{
    return high ? (uint16_t)((old & 0x00ff) | value << 8) : (uint16_t)((old & 0xff00) | value);
}

static void write_control(struct pm *pm, uint16_t value)
{
    pm->control = value & CNT_KEPT;
    if ((value & CNT_SLP_EN) && SLP_TYP(value) == PM_SLP_TYP_S5)
        pm->power_off(pm->arg);
}

static void write_byte(struct pm *pm, unsigned at, uint8_t value)
{
    switch (at) {
    case 0:
    case 1: /* status bits are cleared by writing ones */
        update_status(pm);
        pm->status &= (uint16_t) ~(value << 8 * at);
        break;
    case 2:
    case 3:
        pm->enable = merge(pm->enable, at & 1, value) & EN_ALL;
        break;
    case 4:
    case 5:
        write_control(pm, merge(pm->control, at & 1, value));
        break;
    case 12:
    case 13:
        pm->gpe_status &= (uint16_t) ~(value << 8 * (at & 1));
        break;
    case 14:
    case 15:
        pm->gpe_enable = merge(pm->gpe_enable, at & 1, value);
        break;
    default:
        break;
    }
}

void pm_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct pm *pm = arg;

    for (unsigned i = 0; i < bytes; i++)
        write_byte(pm, port - PM_BASE + i, (uint8_t)(value >> 8 * i));
    update_status(pm);
    update_irq(pm);
    schedule(pm);
}

void pm_reset(struct pm *pm)
{
    pm->status = 0;
    pm->enable = 0;
    pm->control = 0;
    pm->gpe_status = 0;
    pm->gpe_enable = 0;
    pm->seen_half = timer_ticks(pm) >> HALF_SHIFT;
    update_irq(pm);
    schedule(pm);
}

void pm_init(struct pm *pm, struct clock *clock, struct irq_line sci, void *arg,
             void (*power_off)(void *arg))
{
    *pm = (struct pm){.clock = clock, .sci = sci, .arg = arg, .power_off = power_off};
    pm->timer = (struct clock_timer){.fn = on_timer, .arg = pm};
    pm_reset(pm);
}
