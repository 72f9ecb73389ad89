/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/kvmclock.h"

#include <assert.h>
#include <stddef.h>

#define SYSTEM_ENABLE   UINT64_C(1)
#define FLAG_TSC_STABLE 1u
#define SECOND_NS       1000000000

struct wall_clock {
    uint32_t version;
    uint32_t seconds;
    uint32_t ns;
};

struct system_time {
    uint32_t version;
    uint32_t reserved0;
    uint64_t tsc_timestamp;
    uint64_t system_ns;
    uint32_t mul;
    int8_t shift;
    uint8_t flags;
    uint8_t reserved1[2];
};

static_assert(sizeof(struct wall_clock) == 12, "guest ABI");
static_assert(sizeof(struct system_time) == 32, "guest ABI");
static_assert(offsetof(struct system_time, mul) == 24, "guest ABI");

/*
 * ns = ((ticks << shift) * mul) >> 32, a negative shift to the right; the shift keeps mul in [2^31,
 * 2^32).
 */
void kvmclock_scale(uint64_t khz, uint32_t *mul, int8_t *shift)
{
    unsigned __int128 factor = ((unsigned __int128)1000000 << 64) / khz; /* 64.64 */
    int bits = 0;

    for (unsigned __int128 f = factor; f >> 32; f >>= 1)
        bits++;
    /* factor = top32 * 2^bits; (ticks << s) * m >> 32 needs m * 2^(s - 32) = factor / 2^64 */
    *mul = (uint32_t)(factor >> bits);
    *shift = (int8_t)(bits - 32);
}

bool kvmclock_owns_msr(uint32_t msr)
{
    return msr == KVMCLOCK_MSR_WALL || msr == KVMCLOCK_MSR_SYSTEM;
}

uint64_t kvmclock_msr_read(const struct kvmclock *kc, uint32_t msr)
{
    return msr == KVMCLOCK_MSR_WALL ? kc->wall_msr : kc->system_msr;
}

/*
 * Version protocol: odd while the fields change, even and higher after. The guest that wrote the
 * MSR is the only reader now, but the order is kept for those that come. False: the host failed.
 */
static bool publish(struct kvmclock *kc, uint64_t gpa, void *page, size_t bytes)
{
    uint32_t *version = page;

    if (!mem_is_ram(kc->mem, gpa_make(gpa), bytes))
        return true;
    *version = kc->version + 1;
    if (!mem_write(kc->mem, gpa_make(gpa), version, sizeof(*version)) ||
        !mem_write(kc->mem, gpa_make(gpa), page, bytes))
        return false;
    kc->version += 2;
    *version = kc->version;
    return mem_write(kc->mem, gpa_make(gpa), version, sizeof(*version));
}

static bool publish_wall(struct kvmclock *kc)
{
    struct wall_clock page = {
        .seconds = (uint32_t)(kc->power_on_wall_ns / SECOND_NS),
        .ns = (uint32_t)(kc->power_on_wall_ns % SECOND_NS),
    };

    return publish(kc, kc->wall_msr & ~UINT64_C(3), &page, sizeof(page));
}

static bool publish_system(struct kvmclock *kc)
{
    struct system_time page = {.flags = FLAG_TSC_STABLE};

    /* ns first follows from ticks, so that the two fit to the ns */
    page.tsc_timestamp = clock_tsc(kc->clock, kc->tsc_khz);
    page.system_ns = clock_ns_from_ticks(page.tsc_timestamp, kc->tsc_khz);
    kvmclock_scale(kc->tsc_khz, &page.mul, &page.shift);
    return publish(kc, kc->system_msr & ~SYSTEM_ENABLE, &page, sizeof(page));
}

void kvmclock_msr_write(struct kvmclock *kc, uint32_t msr, uint64_t value)
{
    if (msr == KVMCLOCK_MSR_WALL) {
        kc->wall_msr = value;
        kc->wall_waits = true;
    } else {
        kc->system_msr = value;
        kc->system_waits = value & SYSTEM_ENABLE;
    }
    (void)kvmclock_service(kc);
}

bool kvmclock_service(struct kvmclock *kc)
{
    kc->wall_waits = kc->wall_waits && !publish_wall(kc);
    kc->system_waits = kc->system_waits && !publish_system(kc);
    return !kc->wall_waits && !kc->system_waits;
}

void kvmclock_reset(struct kvmclock *kc)
{
    kc->wall_msr = 0;
    kc->system_msr = 0;
    kc->version = 0;
    kc->wall_waits = kc->system_waits = false;
}
