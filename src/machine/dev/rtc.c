/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/rtc.h"

#include "machine/timer.h"

enum {
    REG_SECOND = 0x00,
    REG_SECOND_ALARM = 0x01,
    REG_MINUTE = 0x02,
    REG_MINUTE_ALARM = 0x03,
    REG_HOUR = 0x04,
    REG_HOUR_ALARM = 0x05,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    REG_CENTURY = 0x32,
};

#define A_UPDATING   0x80
#define A_DIVIDER    0x70
#define A_DIVIDER_ON 0x20
#define A_RATE       0x0f
#define B_SET        0x80
#define B_PERIODIC   0x40
#define B_ALARM      0x20
#define B_UPDATE     0x10
#define B_BINARY     0x04
#define B_24H        0x02
#define C_IRQ        0x80
#define C_PERIODIC   0x40
#define C_ALARM      0x20
#define C_UPDATE     0x10
#define D_VALID      0x80
#define HOUR_PM      0x80
#define ALARM_ANY    0xc0

#define SECOND_NS    INT64_C(1000000000)
#define UPDATE_NS    244000 /* UIP is set this long before the second ends */
#define BASE_HZ      32768
#define FIRST_SECOND INT64_C(-2208988800) /* 1900-01-01 */
#define LAST_SECOND  INT64_C(4102444800)  /* 2100-01-01 */

static int64_t wall_ns(const struct rtc *rtc, uint64_t now)
{
    return rtc->power_on_wall_ns + rtc->set_by_guest_ns + (int64_t)now;
}

/* Rounds down also before 1970. */
static int64_t seconds_of(int64_t ns)
{
    return ns / SECOND_NS - (ns % SECOND_NS < 0);
}

static uint64_t second_now(const struct rtc *rtc, uint64_t now)
{
    return (uint64_t)seconds_of(wall_ns(rtc, now));
}

/* Guest time at which the next second begins. */
static uint64_t next_second_ns(const struct rtc *rtc, uint64_t now)
{
    int64_t ns = wall_ns(rtc, now);

    return now + (uint64_t)((seconds_of(ns) + 1) * SECOND_NS - ns);
}

/* Ticks of 32,768 Hz in one period, 0: off. Rates 1 and 2 are 256 and 128 Hz. */
static uint64_t period_ticks(const struct rtc *rtc)
{
    unsigned rate = rtc->ram[REG_A] & A_RATE;

    if (!rate || (rtc->ram[REG_A] & A_DIVIDER) != A_DIVIDER_ON)
        return 0;
    return UINT64_C(1) << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static uint64_t periods_until(const struct rtc *rtc, uint64_t now)
{
    uint64_t ticks = period_ticks(rtc);

    return ticks ? clock_ticks_of_hz(now, BASE_HZ) / ticks : 0;
}

static bool is_held(const struct rtc *rtc)
{
    return rtc->ram[REG_B] & B_SET;
}

static void current_tm(const struct rtc *rtc, struct tm *tm)
{
    time_t seconds = (time_t)second_now(rtc, clock_now(rtc->clock));

    if (is_held(rtc)) {
        *tm = rtc->held;
    } else if (!gmtime_r(&seconds, tm)) {
        *tm = (struct tm){.tm_mday = 1, .tm_year = 70};
    }
}

/*
 * Takes a broken-down time as the time that is now; one that 64 bits of ns cannot tell is not
 * taken.
 */
static void set_tm(struct rtc *rtc, struct tm *tm)
{
    int64_t now = wall_ns(rtc, clock_now(rtc->clock));
    int64_t seconds;

    if (is_held(rtc)) {
        rtc->held = *tm;
        return;
    }
    seconds = timegm(tm);
    if (seconds >= FIRST_SECOND && seconds <= LAST_SECOND)
        rtc->set_by_guest_ns += (seconds - seconds_of(now)) * SECOND_NS;
}

static uint8_t encode(const struct rtc *rtc, int value)
{
    if (rtc->ram[REG_B] & B_BINARY)
        return (uint8_t)value;
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
    return rtc->ram[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
    if (rtc->ram[REG_B] & B_24H)
        return encode(rtc, hour);
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
    if (rtc->ram[REG_B] & B_24H)
        return decode(rtc, value);
    return decode(rtc, value & 0x7f) % 12 + (value & HOUR_PM ? 12 : 0);
}

static uint8_t read_time(const struct rtc *rtc, unsigned reg)
{
    struct tm tm;

    current_tm(rtc, &tm);
    switch (reg) {
    case REG_SECOND:
        return encode(rtc, tm.tm_sec);
    case REG_MINUTE:
        return encode(rtc, tm.tm_min);
    case REG_HOUR:
        return encode_hour(rtc, tm.tm_hour);
    case REG_WEEKDAY:
        return encode(rtc, tm.tm_wday + 1);
    case REG_DAY:
        return encode(rtc, tm.tm_mday);
    case REG_MONTH:
        return encode(rtc, tm.tm_mon + 1);
    case REG_YEAR:
        return encode(rtc, (tm.tm_year + 1900) % 100);
    default:
        return encode(rtc, (tm.tm_year + 1900) / 100);
    }
}

static void write_time(struct rtc *rtc, unsigned reg, uint8_t value)
{
    struct tm tm;
    int year;

    current_tm(rtc, &tm);
    year = tm.tm_year + 1900;
    switch (reg) {
    case REG_SECOND:
        tm.tm_sec = decode(rtc, value);
        break;
    case REG_MINUTE:
        tm.tm_min = decode(rtc, value);
        break;
    case REG_HOUR:
        tm.tm_hour = decode_hour(rtc, value);
        break;
    case REG_WEEKDAY: /* follows from the date */
        return;
    case REG_DAY:
        tm.tm_mday = decode(rtc, value);
        break;
    case REG_MONTH:
        tm.tm_mon = decode(rtc, value) - 1;
        break;
    case REG_YEAR:
        tm.tm_year = year / 100 * 100 + decode(rtc, value) % 100 - 1900;
        break;
    default:
        tm.tm_year = year % 100 + decode(rtc, value) % 100 * 100 - 1900;
        break;
    }
    set_tm(rtc, &tm);
}

static bool alarm_field_matches(const struct rtc *rtc, unsigned reg, int value)
{
    uint8_t alarm = rtc->ram[reg];

    if (alarm >= ALARM_ANY)
        return true;
    return reg == REG_HOUR_ALARM ? decode_hour(rtc, alarm) == value : decode(rtc, alarm) == value;
}

static bool alarm_matches(const struct rtc *rtc)
{
    struct tm tm;

    current_tm(rtc, &tm);
    return alarm_field_matches(rtc, REG_SECOND_ALARM, tm.tm_sec) &&
           alarm_field_matches(rtc, REG_MINUTE_ALARM, tm.tm_min) &&
           alarm_field_matches(rtc, REG_HOUR_ALARM, tm.tm_hour);
}

/* Flags and enables share bits 6..4 of C and B. */
static void update_irq(struct rtc *rtc)
{
    bool asks = rtc->ram[REG_C] & rtc->ram[REG_B] & (C_PERIODIC | C_ALARM | C_UPDATE);

    rtc->ram[REG_C] = (rtc->ram[REG_C] & (uint8_t)~C_IRQ) | (asks ? C_IRQ : 0);
    irq_set(&rtc->irq, asks);
}

static void schedule(struct rtc *rtc)
{
    uint64_t now = clock_now(rtc->clock);
    uint64_t ticks = period_ticks(rtc);
    uint8_t b = rtc->ram[REG_B];

    if ((b & (B_ALARM | B_UPDATE)) && !(b & B_SET))
        machine_timer_arm(rtc->clock, &rtc->second_timer, next_second_ns(rtc, now));
    else
        clock_timer_cancel(rtc->clock, &rtc->second_timer);
    if ((b & B_PERIODIC) && ticks)
        machine_timer_arm(rtc->clock, &rtc->periodic_timer,
                          clock_ns_of_hz((periods_until(rtc, now) + 1) * ticks, BASE_HZ));
    else
        clock_timer_cancel(rtc->clock, &rtc->periodic_timer);
}

static void on_second(void *arg, uint64_t now)
{
    struct rtc *rtc = arg;

    rtc->seen_second = second_now(rtc, now);
    rtc->ram[REG_C] |= C_UPDATE;
    if (alarm_matches(rtc))
        rtc->ram[REG_C] |= C_ALARM;
    update_irq(rtc);
    schedule(rtc);
}

static void on_period(void *arg, uint64_t now)
{
    struct rtc *rtc = arg;

    rtc->seen_tick = periods_until(rtc, now);
    rtc->ram[REG_C] |= C_PERIODIC;
    update_irq(rtc);
    schedule(rtc);
}

static uint8_t read_a(const struct rtc *rtc)
{
    uint64_t now = clock_now(rtc->clock);
    bool updating = !is_held(rtc) && next_second_ns(rtc, now) - now <= UPDATE_NS;

    return rtc->ram[REG_A] | (updating ? A_UPDATING : 0);
}

static uint8_t read_c(struct rtc *rtc)
{
    uint64_t now = clock_now(rtc->clock);
    uint8_t value;

    if (!is_held(rtc) && second_now(rtc, now) != rtc->seen_second)
        rtc->ram[REG_C] |= C_UPDATE;
    if (periods_until(rtc, now) != rtc->seen_tick)
        rtc->ram[REG_C] |= C_PERIODIC;
    rtc->seen_second = second_now(rtc, now);
    rtc->seen_tick = periods_until(rtc, now);
    value = rtc->ram[REG_C];
    rtc->ram[REG_C] = 0;
    update_irq(rtc);
    return value;
}

static void write_b(struct rtc *rtc, uint8_t value)
{
    bool was_held = is_held(rtc);
    struct tm tm;

    current_tm(rtc, &tm);
    if (value & B_SET)
        value &= (uint8_t)~B_UPDATE; /* SET clears UIE */
    rtc->ram[REG_B] = value;
    if (was_held != is_held(rtc))
        set_tm(rtc, &tm);
    update_irq(rtc);
    schedule(rtc);
}

static bool is_time(unsigned reg)
{
    return reg == REG_CENTURY ||
           (reg <= REG_YEAR &&
            !(reg == REG_SECOND_ALARM || reg == REG_MINUTE_ALARM || reg == REG_HOUR_ALARM));
}

uint32_t rtc_in(void *arg, uint16_t port, unsigned bytes)
{
    struct rtc *rtc = arg;

    (void)bytes;
    if (!(port & 1))
        return 0xff; /* the index is write-only */
    if (is_time(rtc->index))
        return read_time(rtc, rtc->index);
    if (rtc->index == REG_A)
        return read_a(rtc);
    if (rtc->index == REG_C)
        return read_c(rtc);
    return rtc->ram[rtc->index];
}

void rtc_out(void *arg, uint16_t port, unsigned bytes, uint32_t value32)
{
    struct rtc *rtc = arg;
    uint8_t value = (uint8_t)value32;

    (void)bytes;
    if (!(port & 1)) {
        rtc->index = value & (RTC_CMOS_BYTES - 1);
    } else if (is_time(rtc->index)) {
        write_time(rtc, rtc->index, value);
        schedule(rtc);
    } else if (rtc->index == REG_A) {
        rtc->ram[REG_A] = value & (uint8_t)~A_UPDATING;
        rtc->seen_tick = periods_until(rtc, clock_now(rtc->clock));
        schedule(rtc);
    } else if (rtc->index == REG_B) {
        write_b(rtc, value);
    } else if (rtc->index != REG_C && rtc->index != REG_D) {
        rtc->ram[rtc->index] = value;
    }
}

void rtc_reset(struct rtc *rtc)
{
    struct tm tm;

    /* The battery keeps the time running and the RAM; reset clears the interrupt enables. */
    current_tm(rtc, &tm);
    rtc->index = 0;
    rtc->ram[REG_A] = A_DIVIDER_ON | 6;
    if (is_held(rtc)) {
        rtc->ram[REG_B] = B_24H;
        set_tm(rtc, &tm);
    }
    rtc->ram[REG_B] = B_24H;
    rtc->ram[REG_C] = 0;
    rtc->ram[REG_D] = D_VALID;
    update_irq(rtc);
    schedule(rtc);
}

static void put16(struct rtc *rtc, unsigned reg, uint64_t value)
{
    uint16_t v = value > 0xffff ? 0xffff : (uint16_t)value;

    rtc->ram[reg] = (uint8_t)v;
    rtc->ram[reg + 1] = (uint8_t)(v >> 8);
}

void rtc_init(struct rtc *rtc, struct clock *clock, struct irq_line irq, int64_t power_on_wall_ns,
              uint64_t memory_bytes)
{
    uint64_t above_1m = memory_bytes > 1 << 20 ? memory_bytes - (1 << 20) : 0;
    uint64_t above_16m = memory_bytes > 16 << 20 ? memory_bytes - (16 << 20) : 0;

    *rtc = (struct rtc){.clock = clock, .irq = irq, .power_on_wall_ns = power_on_wall_ns};
    rtc->second_timer = (struct clock_timer){.fn = on_second, .arg = rtc};
    rtc->periodic_timer = (struct clock_timer){.fn = on_period, .arg = rtc};
    put16(rtc, 0x15, 640);
    put16(rtc, 0x17, above_1m >> 10);
    put16(rtc, 0x30, above_1m >> 10);
    put16(rtc, 0x34, above_16m >> 16);
    rtc_reset(rtc);
}
