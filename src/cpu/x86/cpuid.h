/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU identity that every engine shows the guest: what the interp engine implements, cut to
 * what the host can execute. See docs/cpu.md for each choice.
 */
#ifndef UMBRA_CPU_X86_CPUID_H
#define UMBRA_CPU_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/x86/features.h"
#include "cpu/x86/state.h"

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

#define CPUID_MAXPHYADDR 40
#define CPUID_SIGNATURE  0x00a10f11u /* family, model and stepping: leaf 1 EAX, and EDX at reset */

/* The standard form of the XSAVE area: PKRU lies where CPUs with AVX have it. */
#define XSAVE_PKRU_OFFSET 832u
#define XSAVE_PKRU_BYTES  8u

/*
 * What of the host's identity the guest is shown: ECX of leaf 1, EBX of leaf 7, ECX of leaf
 * 0x80000001. Read once: where the host is a VM itself, each CPUID is an exit of some 10 us.
 */
struct cpu_host {
    uint32_t ecx1, ebx7, ecx81;
};

struct cpu_host cpu_host_read(void);

/*
 * What differs from VM to VM and from vCPU to vCPU.
 *
 * tsc_khz:  frequency of the guest's TSC (leaves 0x15/0x16, 0x40000010)
 * apic_id:  this vCPU
 * features: CPU_FEATURE_* that are offered
 */
struct cpu_identity {
    uint64_t tsc_khz;
    uint32_t apic_id;
    uint32_t features;
    struct cpu_host host;
};

/*
 * leaf, subleaf: EAX and ECX of the guest
 * state:         for the bits that mirror control state (OSXSAVE, OSPKE, APIC enable)
 */
struct cpuid_regs x86_cpuid(const struct x86_state *state, uint32_t leaf, uint32_t subleaf,
                            const struct cpu_identity *identity);

#endif
