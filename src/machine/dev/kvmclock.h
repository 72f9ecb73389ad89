/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paravirtual clock of KVM's interface (Linux Documentation/virt/kvm/x86/msr.rst): a wall-clock
 * page written once when asked for, and a per-CPU page by which the guest turns its TSC into ns.
 * Guest time and the TSC come from one counter, so a page stays right for ever and is written only
 * when its MSR is.
 */
#ifndef UMBRA_MACHINE_DEV_KVMCLOCK_H
#define UMBRA_MACHINE_DEV_KVMCLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "mem/mem.h"

#define KVMCLOCK_MSR_WALL   0x4b564d00u
#define KVMCLOCK_MSR_SYSTEM 0x4b564d01u

/* waits: pages that the host could not give yet */
struct kvmclock {
    struct guest_mem *mem;
    struct clock *clock;
    uint64_t tsc_khz;
    int64_t power_on_wall_ns;
    uint64_t wall_msr, system_msr;
    uint32_t version;
    bool wall_waits, system_waits;
};

/* What a 32.32 fixed-point multiply after a shift needs to turn ticks of khz into ns. */
void kvmclock_scale(uint64_t khz, uint32_t *mul, int8_t *shift);

bool kvmclock_owns_msr(uint32_t msr);
uint64_t kvmclock_msr_read(const struct kvmclock *kc, uint32_t msr);
/* A page that is not RAM is not written. */
void kvmclock_msr_write(struct kvmclock *kc, uint32_t msr, uint64_t value);

/* Between two instructions: writes the pages that wait. False: some still do. */
bool kvmclock_service(struct kvmclock *kc);
void kvmclock_reset(struct kvmclock *kc);

#endif
