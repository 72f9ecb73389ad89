/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU identity that every engine shows the guest: what the interp engine implements, cut to
 * what the host can execute. See docs/cpu.md for each choice.
 */
#ifndef UMBRA_CPU_X86_CPUID_H
#define UMBRA_CPU_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/x86/state.h"

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

#define CPUID_MAXPHYADDR 40

/*
 * leaf, subleaf: EAX and ECX of the guest
 * state:         for the bits that mirror control state (OSXSAVE, OSPKE, APIC enable)
 * tsc_khz:       frequency of the guest's TSC (leaves 0x15/0x16, 0x40000010)
 * apic_id:       this vCPU
 */
struct cpuid_regs x86_cpuid(const struct x86_state *state, uint32_t leaf, uint32_t subleaf,
                            uint64_t tsc_khz, uint32_t apic_id);

#endif
