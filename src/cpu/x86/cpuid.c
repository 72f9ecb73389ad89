/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity is that of a fourth-generation EPYC (family 19h, model 11h), because of what a guest
 * kernel then leaves out: an AMD CPU never gets page-table isolation, one with automatic IBRS never
 * gets retpolines, and the "not affected" bits of leaf 80000021h keep return thunks away. None of
 * these would protect anything under a software CPU. The KVM signature brings a clock that needs no
 * calibration.
 */
#include "cpu/x86/cpuid.h"

#include <cpuid.h>
#include <string.h>

/* Leaf 1 */
#define ECX1_SSE3         (1u << 0)
#define ECX1_PCLMULQDQ    (1u << 1)
#define ECX1_SSSE3        (1u << 9)
#define ECX1_CX16         (1u << 13)
#define ECX1_PCID         (1u << 17)
#define ECX1_SSE4_1       (1u << 19)
#define ECX1_SSE4_2       (1u << 20)
#define ECX1_X2APIC       (1u << 21)
#define ECX1_MOVBE        (1u << 22)
#define ECX1_POPCNT       (1u << 23)
#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_AES          (1u << 25)
#define ECX1_XSAVE        (1u << 26)
#define ECX1_OSXSAVE      (1u << 27)
#define ECX1_RDRAND       (1u << 30)
#define ECX1_HYPERVISOR   (1u << 31)
/* What the engine does itself, and what it leaves to host instructions. */
#define ECX1_OWN                                                                                   \
    (ECX1_CX16 | ECX1_PCID | ECX1_X2APIC | ECX1_TSC_DEADLINE | ECX1_XSAVE | ECX1_HYPERVISOR)
#define ECX1_HOST                                                                                  \
    (ECX1_SSE3 | ECX1_PCLMULQDQ | ECX1_SSSE3 | ECX1_SSE4_1 | ECX1_SSE4_2 | ECX1_MOVBE |            \
     ECX1_POPCNT | ECX1_AES | ECX1_RDRAND)

/* FPU DE PSE TSC MSR PAE CX8 SEP PGE CMOV PAT PSE36 MMX FXSR SSE SSE2, and CLFSH; APIC and MTRR. */
#define EDX1_COMMON 0x078ba97du
#define EDX1_APIC   (1u << 9)
#define EDX1_MTRR   (1u << 12)

/* Leaf 7 */
#define EBX7_FSGSBASE   (1u << 0)
#define EBX7_TSC_ADJUST (1u << 1)
#define EBX7_BMI1       (1u << 3)
#define EBX7_SMEP       (1u << 7)
#define EBX7_BMI2       (1u << 8)
#define EBX7_ERMS       (1u << 9)
#define EBX7_INVPCID    (1u << 10)
#define EBX7_RDSEED     (1u << 18)
#define EBX7_ADX        (1u << 19)
#define EBX7_SMAP       (1u << 20)
#define EBX7_OWN        (EBX7_FSGSBASE | EBX7_TSC_ADJUST | EBX7_ERMS | EBX7_INVPCID)
#define EBX7_HOST       (EBX7_BMI1 | EBX7_BMI2 | EBX7_RDSEED | EBX7_ADX)
#define ECX7_UMIP       (1u << 2)
#define ECX7_PKU        (1u << 3)
#define ECX7_OSPKE      (1u << 4)
#define ECX7_LA57       (1u << 16)
#define ECX7_RDPID      (1u << 22)
#define EDX7_FSRM       (1u << 4)

/* Leaf 80000001h */
#define ECX81_LAHF_LM       (1u << 0)
#define ECX81_ABM           (1u << 5)
#define ECX81_3DNOWPREFETCH (1u << 8)
#define EDX81_SYSCALL       (1u << 11)
#define EDX81_NX            (1u << 20)
#define EDX81_PDPE1GB       (1u << 26)
#define EDX81_RDTSCP        (1u << 27)
#define EDX81_LM            (1u << 29)
/*
 * The bits of leaf 1 EDX that AMD repeats here: 0..9, 12..17, 23, 24; of these SEP is bit 11 there
 * only.
 */
#define EDX81_MIRROR 0x0183f3ffu

#define EBX88_XSAVEERPTR (1u << 2)
#define EBX88_SSB_NO     (1u << 26)
#define EBX88_BTC_NO     (1u << 29)

#define EAX8021_LFENCE_RDTSC     (1u << 2)
#define EAX8021_NULL_CLEARS_BASE (1u << 6)
#define EAX8021_AUTO_IBRS        (1u << 8)
#define EAX8021_SRSO_NO          (1u << 29)
#define ECX8021_TSA_SQ_NO        (1u << 1)
#define ECX8021_TSA_L1_NO        (1u << 2)

#define KVM_NOP_IO_DELAY       (1u << 1)
#define KVM_CLOCKSOURCE2       (1u << 3)
#define KVM_CLOCKSOURCE_STABLE (1u << 24)

#define MAX_BASIC             0x16u
#define MAX_EXTENDED          0x80000021u
#define MAX_KVM               0x40000010u
#define FAMILY_MODEL_STEPPING CPUID_SIGNATURE
#define APIC_BUS_KHZ          1000000u
#define XSAVE_X87_SSE_BYTES   576u
#define LINEAR_ADDRESS_BITS   48u
#define LINEAR_ADDRESS_LA57   57u
#define XCR0_X87_SSE          0x3u
#define XCR0_PKRU             0x200u

static const char brand[49] = "AMD EPYC (Umbra virtual CPU)";

static struct cpuid_regs host_leaf(uint32_t leaf)
{
    struct cpuid_regs r = {0};
    if (!__get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx))
        memset(&r, 0, sizeof r);
    return r;
}

struct cpu_host cpu_host_read(void)
{
    return (struct cpu_host){
        .ecx1 = host_leaf(1).ecx, .ebx7 = host_leaf(7).ebx, .ecx81 = host_leaf(0x80000001).ecx};
}

static struct cpuid_regs text_leaf(uint32_t eax, const char text[12], bool amd_order)
{
    uint32_t w[3];
    memcpy(w, text, sizeof w);
    /* The vendor string goes EBX, EDX, ECX; a hypervisor's EBX, ECX, EDX. */
    if (amd_order)
        return (struct cpuid_regs){eax, w[0], w[2], w[1]};
    return (struct cpuid_regs){eax, w[0], w[1], w[2]};
}

static struct cpuid_regs leaf_features(const struct x86_state *state,
                                       const struct cpu_identity *identity)
{
    struct cpuid_regs r = {.eax = FAMILY_MODEL_STEPPING};
    r.ebx =
        (8u << 8) | (1u << 16) | (identity->apic_id << 24); /* CLFLUSH 64 bytes, one logical CPU */
    r.ecx = ECX1_OWN | (identity->host.ecx1 & ECX1_HOST);
    if (state->cr4 & CR4_OSXSAVE)
        r.ecx |= ECX1_OSXSAVE;
    r.edx = EDX1_COMMON | EDX1_APIC | EDX1_MTRR;
    return r;
}

static struct cpuid_regs leaf_structured(const struct x86_state *state, uint32_t subleaf,
                                         const struct cpu_identity *identity)
{
    const uint32_t features = identity->features;
    struct cpuid_regs r = {
        .ebx = EBX7_OWN | (identity->host.ebx7 & EBX7_HOST), .ecx = ECX7_RDPID, .edx = EDX7_FSRM};
    if (subleaf != 0)
        return (struct cpuid_regs){0};
    if (features & CPU_FEATURE_SMEP)
        r.ebx |= EBX7_SMEP;
    if (features & CPU_FEATURE_SMAP)
        r.ebx |= EBX7_SMAP;
    if (features & CPU_FEATURE_UMIP)
        r.ecx |= ECX7_UMIP;
    if (features & CPU_FEATURE_PKU)
        r.ecx |= ECX7_PKU | (state->cr4 & CR4_PKE ? ECX7_OSPKE : 0);
    if (features & CPU_FEATURE_LA57)
        r.ecx |= ECX7_LA57;
    return r;
}

/* Deterministic cache parameters (type, level, size), in leaf 4's form. */
static struct cpuid_regs leaf_cache(uint32_t subleaf)
{
    static const struct {
        uint8_t type, level;
        uint16_t ways;
        uint32_t sets;
    } caches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 2048}, {3, 3, 16, 32768}};
    if (subleaf >= sizeof caches / sizeof caches[0])
        return (struct cpuid_regs){0};
    return (struct cpuid_regs){.eax =
                                   caches[subleaf].type | caches[subleaf].level * 32u | (1u << 8),
                               .ebx = 63u | ((caches[subleaf].ways - 1u) << 22),
                               .ecx = caches[subleaf].sets - 1};
}

/* Each vCPU is a package of one core of one thread. */
static struct cpuid_regs leaf_topology(uint32_t subleaf, uint32_t apic_id)
{
    static const uint32_t type[] = {1, 2}; /* thread, core */
    struct cpuid_regs r = {.ecx = subleaf & 0xff, .edx = apic_id};
    if (subleaf < 2) {
        r.ebx = 1;
        r.ecx |= type[subleaf] << 8;
    }
    return r;
}

/* Bytes of the standard form with these components (SDM 1 13.4.3). */
static uint32_t xsave_bytes(uint64_t xcr0)
{
    return xcr0 & XCR0_PKRU ? XSAVE_PKRU_OFFSET + XSAVE_PKRU_BYTES : XSAVE_X87_SSE_BYTES;
}

static struct cpuid_regs leaf_xsave(const struct x86_state *state, uint32_t subleaf,
                                    uint32_t features)
{
    uint32_t all = XCR0_X87_SSE | (features & CPU_FEATURE_PKU ? XCR0_PKRU : 0);
    if (subleaf == 0)
        return (struct cpuid_regs){
            .eax = all, .ebx = xsave_bytes(state->xcr0), .ecx = xsave_bytes(all)};
    if (subleaf == 9 && (all & XCR0_PKRU))
        return (struct cpuid_regs){.eax = XSAVE_PKRU_BYTES, .ebx = XSAVE_PKRU_OFFSET};
    return (struct cpuid_regs){0};
}

static struct cpuid_regs leaf_hypervisor(uint32_t leaf, uint64_t tsc_khz)
{
    switch (leaf) {
    case 0x40000000:
        return text_leaf(MAX_KVM, "KVMKVMKVM\0\0", false);
    case 0x40000001:
        return (struct cpuid_regs){.eax = KVM_NOP_IO_DELAY | KVM_CLOCKSOURCE2 |
                                          KVM_CLOCKSOURCE_STABLE};
    case 0x40000010:
        return (struct cpuid_regs){.eax = (uint32_t)tsc_khz, .ebx = APIC_BUS_KHZ};
    default:
        return (struct cpuid_regs){0};
    }
}

static struct cpuid_regs leaf_brand(uint32_t leaf)
{
    struct cpuid_regs r;
    memcpy(&r, brand + (leaf - 0x80000002) * sizeof r, sizeof r);
    return r;
}

static uint32_t linear_address_bits(uint32_t features)
{
    return features & CPU_FEATURE_LA57 ? LINEAR_ADDRESS_LA57 : LINEAR_ADDRESS_BITS;
}

static struct cpuid_regs leaf_extended(uint32_t leaf, const struct cpu_identity *identity)
{
    switch (leaf) {
    case 0x80000000:
        return text_leaf(MAX_EXTENDED, "AuthenticAMD", true);
    case 0x80000001:
        return (struct cpuid_regs){
            .eax = FAMILY_MODEL_STEPPING,
            .ecx = ECX81_LAHF_LM | ECX81_3DNOWPREFETCH | (identity->host.ecx81 & ECX81_ABM),
            .edx = ((EDX1_COMMON | EDX1_APIC | EDX1_MTRR) & EDX81_MIRROR) | EDX81_SYSCALL |
                   EDX81_NX | EDX81_PDPE1GB | EDX81_RDTSCP | EDX81_LM};
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        return leaf_brand(leaf);
    case 0x80000005: /* L1: 32 KiB data and code, 8 ways, 64-byte lines */
        return (struct cpuid_regs){0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140};
    case 0x80000006: /* L2: 1 MiB, 8 ways; L3: 32 MiB, 16 ways */
        return (struct cpuid_regs){0x48006400, 0x68006400, 0x04006140, 0x01008140};
    case 0x80000007: /* invariant TSC */
        return (struct cpuid_regs){.edx = 1u << 8};
    case 0x80000008:
        return (struct cpuid_regs){.eax = CPUID_MAXPHYADDR | linear_address_bits(identity->features)
                                                                 << 8,
                                   .ebx = EBX88_XSAVEERPTR | EBX88_SSB_NO | EBX88_BTC_NO};
    case 0x80000021:
        return (struct cpuid_regs){.eax = EAX8021_LFENCE_RDTSC | EAX8021_NULL_CLEARS_BASE |
                                          EAX8021_AUTO_IBRS | EAX8021_SRSO_NO,
                                   .ecx = ECX8021_TSA_SQ_NO | ECX8021_TSA_L1_NO};
    default:
        return (struct cpuid_regs){0};
    }
}

struct cpuid_regs x86_cpuid(const struct x86_state *state, uint32_t leaf, uint32_t subleaf,
                            const struct cpu_identity *identity)
{
    uint64_t tsc_khz = identity->tsc_khz;
    uint32_t apic_id = identity->apic_id, features = identity->features;
    if (leaf >= 0x80000000 && leaf <= MAX_EXTENDED)
        return leaf_extended(leaf, identity);
    if (leaf >= 0x40000000 && leaf <= MAX_KVM)
        return leaf_hypervisor(leaf, tsc_khz);
    switch (leaf) {
    case 0x0:
        return text_leaf(MAX_BASIC, "AuthenticAMD", true);
    case 0x1:
        return leaf_features(state, identity);
    case 0x4:
        return leaf_cache(subleaf);
    case 0x6: /* the APIC timer runs in every state */
        return (struct cpuid_regs){.eax = 1u << 2};
    case 0x7:
        return leaf_structured(state, subleaf, identity);
    case 0xb:
        return leaf_topology(subleaf, apic_id);
    case 0xd:
        return leaf_xsave(state, subleaf, features);
    case 0x15: /* TSC = crystal of 1 MHz * tsc_khz / 1000 */
        return (struct cpuid_regs){.eax = 1000, .ebx = (uint32_t)tsc_khz, .ecx = 1000000};
    case 0x16:
        return (struct cpuid_regs){
            .eax = (uint32_t)(tsc_khz / 1000), .ebx = (uint32_t)(tsc_khz / 1000), .ecx = 100};
    default:
        return (struct cpuid_regs){0};
    }
}
