/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU's identity, its state after power-on, and the fields of descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/interp/seg.h"
#include "cpu/x86/cpuid.h"

/* --- identity and power-on --- */

static struct cpuid_regs leaf_of(uint32_t n, uint32_t sub, uint32_t features, uint64_t xcr0)
{
    const struct cpu_identity identity = {
        .tsc_khz = 2345678, .apic_id = 3, .features = features, .host = cpu_host_read()};
    struct x86_state s;
    x86_state_reset(&s);
    s.xcr0 = xcr0;
    return x86_cpuid(&s, n, sub, &identity);
}

static struct cpuid_regs leaf(uint32_t n, uint32_t sub)
{
    return leaf_of(n, sub, CPU_FEATURES_DEFAULT, 3);
}

static void test_cpuid_ranges(void **state)
{
    (void)state;
    struct cpuid_regs r = leaf(0, 0);
    char vendor[13] = {0}, brand[49] = {0};
    memcpy(vendor, &r.ebx, 4);
    memcpy(vendor + 4, &r.edx, 4);
    memcpy(vendor + 8, &r.ecx, 4);
    assert_string_equal(vendor, "AuthenticAMD");
    assert_true(r.eax >= 0x16);
    assert_int_equal(leaf(r.eax + 1, 0).eax, 0);
    r = leaf(0x40000000, 0);
    assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0", 12);
    assert_true(r.eax >= 0x40000010);
    assert_int_equal(leaf(0x40000010, 0).eax, 2345678);
    for (unsigned i = 0; i < 3; i++) {
        r = leaf(0x80000002 + i, 0);
        memcpy(brand + 16 * i, &r, 16);
    }
    assert_non_null(strstr(brand, "Umbra"));
    assert_true(leaf(0x80000000, 0).eax >= 0x80000021);
}

static void test_cpuid_is_consistent(void **state)
{
    (void)state;
    struct cpuid_regs one = leaf(1, 0), ext = leaf(0x80000001, 0), d = leaf(0xd, 0);
    const uint32_t mirror = 0x0183f3ff;
    assert_int_equal(one.eax, ext.eax);
    assert_int_equal(one.edx & mirror, ext.edx & mirror);
    assert_int_equal(one.ebx >> 24, 3);
    assert_int_equal(leaf(0xb, 0).edx, 3);
    assert_int_equal(one.edx & (1u << 28), 0); /* HTT: one logical CPU */
    assert_true(one.ecx & (1u << 31));         /* hypervisor */
    assert_false(one.ecx & (1u << 3));         /* MONITOR */
    assert_false(one.ecx & (1u << 28));        /* AVX */
    assert_false(one.ecx & (1u << 27));        /* OSXSAVE follows CR4 */
    assert_int_equal(d.eax, 3);
    assert_int_equal(d.ebx, 576);
    assert_int_equal(d.ecx, 576);
    assert_int_equal(leaf(0x80000008, 0).eax & 0xff, CPUID_MAXPHYADDR);
    struct cpuid_regs t = leaf(0x15, 0);
    assert_int_equal((uint64_t)t.ecx * t.ebx / t.eax, UINT64_C(2345678000));
    struct x86_state s;
    x86_state_reset(&s);
    const struct cpu_identity identity = {.features = CPU_FEATURES_DEFAULT,
                                          .host = cpu_host_read()};
    s.cr4 |= CR4_OSXSAVE;
    assert_true(x86_cpuid(&s, 1, 0, &identity).ecx & (1u << 27));
}

static void test_cpuid_follows_features(void **state)
{
    (void)state;
    uint32_t features;
    assert_int_equal(cpu_features_parse("la57,no-smap,pku", &features), ERR_OK);
    assert_int_equal(features,
                     CPU_FEATURE_LA57 | CPU_FEATURE_PKU | CPU_FEATURE_SMEP | CPU_FEATURE_UMIP);
    struct cpuid_regs r = leaf_of(7, 0, features, 3);
    assert_int_equal(r.ebx & (1u << 7 | 1u << 20), 1u << 7);         /* SMEP, SMAP */
    assert_int_equal(r.ecx & 0x1001c, 1u << 2 | 1u << 3 | 1u << 16); /* UMIP PKU LA57 */
    assert_int_equal(leaf_of(0x80000008, 0, features, 3).eax >> 8, 57);
    assert_int_equal(leaf(0x80000008, 0).eax >> 8, 48);
    assert_int_equal(leaf_of(0xd, 0, features, 3).eax, 0x203);
    assert_int_equal(leaf_of(0xd, 0, features, 3).ebx, 576);
    assert_int_equal(leaf_of(0xd, 0, features, 0x203).ebx, 840);
    assert_int_equal(leaf_of(0xd, 9, features, 3).ebx, 832);
    assert_int_equal(leaf(0xd, 9).eax, 0);
    const char *const bad[] = {"", "la57,", ",la57", "no-", "no-no-la57", "avx", "la57 "};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(cpu_features_parse(bad[i], &features), ERR_INVAL);
}

static void test_reset_state(void **state)
{
    (void)state;
    struct x86_state s;
    x86_state_reset(&s);
    assert_int_equal(s.seg[SEG_CS].base + s.rip, 0xfffffff0);
    assert_int_equal(s.cr0, 0x60000010);
    assert_int_equal(s.rflags, 2);
    assert_int_equal(s.dr[6], 0xffff0ff0);
    assert_int_equal(s.dr[7], 0x400);
    assert_int_equal(s.gpr[RDX], leaf(1, 0).eax);
    assert_int_equal(s.pat, UINT64_C(0x0007040600070406));
    assert_int_equal(s.fpu[24] | s.fpu[25] << 8, 0x1f80);
}

/* --- descriptors --- */

static void test_descriptor_fields(void **state)
{
    (void)state;
    struct x86_segment s = desc_to_segment(UINT64_C(0x12cf9a345678ffff), 0x2b);
    assert_int_equal(s.base, 0x12345678);
    assert_int_equal(s.limit, 0xffffffff);
    assert_int_equal(s.attr, 0xc09a);
    assert_int_equal(s.selector, 0x2b);
    s = desc_to_segment(UINT64_C(0x0041f20000001234), 8);
    assert_int_equal(s.limit, 0x11234);
    assert_int_equal(attr_dpl(s.attr), 3);
    assert_true(attr_is_writable_data(s.attr));
}

static void test_limits(void **state)
{
    (void)state;
    struct x86_segment up = {.limit = 0xfff, .attr = 0x4093};
    struct x86_segment down = {.limit = 0xfff, .attr = 0x0097},
                       down32 = {.limit = 0xfff, .attr = 0x4097};
    assert_true(seg_covers(&up, 0xffc, 4));
    assert_false(seg_covers(&up, 0xffd, 4));
    assert_false(seg_covers(&down, 0xfff, 1));
    assert_true(seg_covers(&down, 0x1000, 1));
    assert_true(seg_covers(&down, 0xfffc, 4));
    assert_false(seg_covers(&down, 0xfffd, 4));
    assert_true(seg_covers(&down32, 0xfffffffc, 4));
    assert_false(seg_covers(&down32, 0xfffffffd, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpuid_ranges),           cmocka_unit_test(test_cpuid_is_consistent),
        cmocka_unit_test(test_cpuid_follows_features), cmocka_unit_test(test_reset_state),
        cmocka_unit_test(test_descriptor_fields),      cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
