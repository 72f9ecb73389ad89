/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_time.h"

#include <stdlib.h>
#include <string.h>

#include "machine/acpi/tables.h"

#define BASE UINT64_C(0xe0000)

static uint8_t sum(const uint8_t *bytes, size_t count)
{
    uint8_t total = 0;

    while (count--)
        total += *bytes++;
    return total;
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static const uint8_t *table_at(const struct acpi_image *image, uint64_t gpa, const char *signature)
{
    const uint8_t *table = image->bytes + (gpa - BASE);

    assert_true(gpa >= BASE && gpa + 36 <= BASE + image->used);
    assert_memory_equal(table, signature, 4);
    assert_true(gpa + get32(table + 4) <= BASE + image->used);
    if (strcmp(signature, "FACS") != 0)
        assert_int_equal(sum(table, get32(table + 4)), 0);
    return table;
}

static struct acpi_image *build(unsigned cpus)
{
    struct acpi_image *image = malloc(sizeof(*image));

    acpi_build(image, BASE, cpus);
    return image;
}

static void test_chain(void **state)
{
    struct acpi_image *image = build(1);
    const uint8_t *xsdt, *fadt, *madt;

    (void)state;
    assert_memory_equal(image->bytes, "RSD PTR ", 8);
    assert_int_equal(sum(image->bytes, 20), 0);
    assert_int_equal(sum(image->bytes, 36), 0);
    xsdt = table_at(image, get64(image->bytes + 24), "XSDT");
    assert_int_equal(get32(xsdt + 4), 36 + 16);
    fadt = table_at(image, get64(xsdt + 36), "FACP");
    madt = table_at(image, get64(xsdt + 44), "APIC");
    assert_int_equal(get32(fadt + 4), 276);
    assert_true(get64(fadt + 140) == get32(fadt + 40));
    table_at(image, get64(fadt + 140), "DSDT");
    assert_int_equal((uintptr_t)(table_at(image, get32(fadt + 36), "FACS") - image->bytes) % 64, 0);
    assert_int_equal(fadt[46], 9);
    assert_int_equal(fadt[108], 0x32);
    assert_int_equal(get64(fadt + 120), 0xcf9);
    assert_int_equal(fadt[128], 0x0e);
    assert_true(get32(madt + 36) == 0xfee00000);
    free(image);
}

static void test_madt_lists_every_cpu(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= ACPI_MAX_CPUS; cpus *= 4) {
        struct acpi_image *image = build(cpus);
        const uint8_t *xsdt = image->bytes + (get64(image->bytes + 24) - BASE);
        const uint8_t *madt = table_at(image, get64(xsdt + 44), "APIC");
        unsigned seen[5] = {0};
        uint32_t at = 44;

        for (; at < get32(madt + 4); at += madt[at + 1]) {
            assert_in_range(madt[at], 0, 4);
            assert_true(madt[at + 1] >= 6);
            if (madt[at] == 0)
                assert_int_equal(madt[at + 3], seen[0]);
            seen[madt[at]]++;
        }
        assert_int_equal(at, get32(madt + 4));
        assert_int_equal(seen[0], cpus);
        assert_int_equal(seen[1], 1);
        assert_int_equal(seen[2], 2);
        assert_int_equal(seen[4], 1);
        free(image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_madt_lists_every_cpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
