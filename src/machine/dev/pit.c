/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/pit.h"

#include "machine/timer.h"

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

enum {
    MODE_TERMINAL_COUNT,
    MODE_ONE_SHOT,
    MODE_RATE,
    MODE_SQUARE,
    MODE_STROBE,
    MODE_TRIGGERED_STROBE
};

#define READ_BACK         3
#define SPEAKER_GATE      0x01
#define SPEAKER_WRITABLE  0x0f
#define SPEAKER_REFRESH   0x10
#define SPEAKER_OUT       0x20
#define REFRESH_PERIOD_NS 15085 /* of the memory refresh request that bit 4 shows */

static bool is_periodic(const struct pit_channel *ch)
{
    return ch->mode == MODE_RATE || ch->mode == MODE_SQUARE;
}

static bool is_triggered(const struct pit_channel *ch)
{
    return ch->mode == MODE_ONE_SHOT || ch->mode == MODE_TRIGGERED_STROBE;
}

/* Ticks since the count was started. */
static uint64_t elapsed(const struct pit *pit, const struct pit_channel *ch)
{
    if (!ch->running)
        return ch->suspended_ticks;
    return clock_ticks_of_hz(clock_now(pit->clock) - ch->start_ns, PIT_HZ);
}

static bool output(const struct pit *pit, const struct pit_channel *ch)
{
    uint64_t ticks = elapsed(pit, ch);

    if (!ch->loaded || (!ch->running && (is_periodic(ch) || is_triggered(ch))))
        return ch->mode != MODE_TERMINAL_COUNT;
    switch (ch->mode) {
    case MODE_TERMINAL_COUNT:
    case MODE_ONE_SHOT:
        return ticks >= ch->count;
    case MODE_RATE:
        return ticks % ch->count != ch->count - 1;
    case MODE_SQUARE:
        return ticks % ch->count < (ch->count + 1) / 2;
    default:
        return ticks != ch->count;
    }
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint32_t v)
{
    return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

/* What a read of the counting element gives. */
static uint16_t counter(const struct pit *pit, const struct pit_channel *ch)
{
    uint32_t modulus = ch->bcd ? 10000 : 65536;
    uint64_t ticks = elapsed(pit, ch);
    uint32_t value;

    if (ch->mode == MODE_RATE)
        value = ch->count - (uint32_t)(ticks % ch->count);
    else if (ch->mode == MODE_SQUARE) /* counts by two, twice a period */
        value = ch->count - (uint32_t)(ticks * 2 % ch->count);
    else
        value = (uint32_t)((ch->count + modulus - ticks % modulus) % modulus);
    value %= modulus;
    return ch->bcd ? to_bcd(value) : (uint16_t)value;
}

/* Arms the timer for channel 0's next rising edge after `now`. */
static void schedule(struct pit *pit, uint64_t now)
{
    const struct pit_channel *ch = &pit->channel[0];
    uint64_t at = ch->count;

    if (!ch->loaded || !ch->running) {
        clock_timer_cancel(pit->clock, &pit->timer);
        return;
    }
    if (is_periodic(ch))
        at = (clock_ticks_of_hz(now - ch->start_ns, PIT_HZ) / ch->count + 1) * ch->count;
    machine_timer_arm(pit->clock, &pit->timer, ch->start_ns + clock_ns_of_hz(at, PIT_HZ));
}

static void on_timer(void *arg, uint64_t now)
{
    struct pit *pit = arg;

    irq_pulse(&pit->irq);
    if (is_periodic(&pit->channel[0]))
        schedule(pit, now);
}

static void start(struct pit *pit, struct pit_channel *ch)
{
    ch->start_ns = clock_now(pit->clock);
    ch->suspended_ticks = 0;
    ch->running = true;
    if (ch == &pit->channel[0]) {
        if (ch->mode == MODE_TERMINAL_COUNT)
            irq_lower(&pit->irq);
        schedule(pit, ch->start_ns);
    }
}

static void load(struct pit *pit, struct pit_channel *ch, uint32_t value)
{
    uint32_t count = ch->bcd ? from_bcd(value) : value;

    ch->count = count ? count : ch->bcd ? 10000 : 65536;
    ch->loaded = true;
    if (is_triggered(ch))
        return;
    start(pit, ch);
    if (!ch->gate)
        ch->running = false;
}

static void write_count(struct pit *pit, struct pit_channel *ch, uint8_t value)
{
    switch (ch->access) {
    case ACCESS_LOW:
        load(pit, ch, value);
        break;
    case ACCESS_HIGH:
        load(pit, ch, (uint32_t)value << 8);
        break;
    default:
        if (ch->write_high_next)
            load(pit, ch, (uint32_t)value << 8 | ch->write_low);
        else
            ch->write_low = value;
        ch->write_high_next = !ch->write_high_next;
        break;
    }
}

static void latch_count(const struct pit *pit, struct pit_channel *ch)
{
    if (ch->latched_bytes)
        return;
    ch->latch = counter(pit, ch);
    ch->latched_bytes = ch->access == ACCESS_BOTH ? 2 : 1;
}

static void latch_status(const struct pit *pit, struct pit_channel *ch)
{
    if (ch->status_latched)
        return;
    ch->status = (uint8_t)(output(pit, ch) << 7 | !ch->loaded << 6 | ch->access << 4 |
                           ch->mode << 1 | ch->bcd);
    ch->status_latched = true;
}

static uint8_t read_count(const struct pit *pit, struct pit_channel *ch)
{
    uint16_t value;
    bool high;

    if (ch->status_latched) {
        ch->status_latched = false;
        return ch->status;
    }
    if (ch->latched_bytes) {
        high = ch->access == ACCESS_HIGH || (ch->access == ACCESS_BOTH && ch->latched_bytes == 1);
        ch->latched_bytes--;
        return (uint8_t)(high ? ch->latch >> 8 : ch->latch);
    }
    value = counter(pit, ch);
    high = ch->access == ACCESS_HIGH || (ch->access == ACCESS_BOTH && ch->read_high_next);
    if (ch->access == ACCESS_BOTH)
        ch->read_high_next = !ch->read_high_next;
    return (uint8_t)(high ? value >> 8 : value);
}

static void write_control(struct pit *pit, uint8_t value)
{
    unsigned which = value >> 6;
    struct pit_channel *ch;

    if (which == READ_BACK) {
        for (unsigned i = 0; i < PIT_CHANNELS; i++) {
            if (!(value & 2u << i))
                continue;
            if (!(value & 0x20))
                latch_count(pit, &pit->channel[i]);
            if (!(value & 0x10))
                latch_status(pit, &pit->channel[i]);
        }
        return;
    }
    ch = &pit->channel[which];
    if ((value >> 4 & 3) == ACCESS_LATCH) {
        latch_count(pit, ch);
        return;
    }
    *ch = (struct pit_channel){
        .gate = ch->gate,
        .access = value >> 4 & 3,
        .mode = value >> 1 & 7,
        .bcd = value & 1,
        .count = value & 1 ? 10000 : 65536,
    };
    if (ch->mode > MODE_TRIGGERED_STROBE) /* the upper bit is ignored in modes 2 and 3 */
        ch->mode -= 4;
    if (which == 0) {
        schedule(pit, 0);
        if (ch->mode == MODE_TERMINAL_COUNT)
            irq_lower(&pit->irq);
    }
}

uint32_t pit_in(void *arg, uint16_t port, unsigned bytes)
{
    struct pit *pit = arg;
    unsigned which = port & 3;

    (void)bytes;
    return which == READ_BACK ? 0xff : read_count(pit, &pit->channel[which]);
}

void pit_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct pit *pit = arg;
    unsigned which = port & 3;

    (void)bytes;
    if (which == READ_BACK)
        write_control(pit, (uint8_t)value);
    else
        write_count(pit, &pit->channel[which], (uint8_t)value);
}

static void set_gate(struct pit *pit, struct pit_channel *ch, bool gate)
{
    if (gate == ch->gate)
        return;
    if (!gate) {
        if (!is_triggered(ch)) {
            ch->suspended_ticks = elapsed(pit, ch);
            ch->running = false;
        }
    } else if (ch->loaded) {
        uint64_t before = is_periodic(ch) || is_triggered(ch) ? 0 : ch->suspended_ticks;

        start(pit, ch);
        ch->start_ns -= clock_ns_of_hz(before, PIT_HZ);
    }
    ch->gate = gate;
}

uint32_t pit_speaker_in(void *arg, uint16_t port, unsigned bytes)
{
    struct pit *pit = arg;
    uint8_t value = pit->speaker;

    (void)port;
    (void)bytes;
    if (clock_now(pit->clock) / REFRESH_PERIOD_NS & 1)
        value |= SPEAKER_REFRESH;
    if (output(pit, &pit->channel[2]))
        value |= SPEAKER_OUT;
    return value;
}

void pit_speaker_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct pit *pit = arg;

    (void)port;
    (void)bytes;
    pit->speaker = value & SPEAKER_WRITABLE;
    set_gate(pit, &pit->channel[2], value & SPEAKER_GATE);
}

void pit_reset(struct pit *pit)
{
    clock_timer_cancel(pit->clock, &pit->timer);
    for (unsigned i = 0; i < PIT_CHANNELS; i++)
        pit->channel[i] = (struct pit_channel){
            .gate = i != 2,
            .access = ACCESS_BOTH,
            .mode = MODE_SQUARE,
            .count = 65536,
        };
    pit->speaker = 0;
    irq_lower(&pit->irq);
}

void pit_init(struct pit *pit, struct clock *clock, struct irq_line irq)
{
    *pit = (struct pit){.clock = clock, .irq = irq};
    pit->timer = (struct clock_timer){.fn = on_timer, .arg = pit};
    pit_reset(pit);
}
