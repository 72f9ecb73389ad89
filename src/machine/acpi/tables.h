/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables of the board as one image (ACPI 6.4 chapter 5.2): RSDP, FACS, DSDT, FADT, MADT, XSDT.
 */
#ifndef UMBRA_MACHINE_ACPI_TABLES_H
#define UMBRA_MACHINE_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

#define ACPI_MAX_CPUS  64
#define ACPI_IMAGE_MAX 16384

struct acpi_image {
    uint64_t base; /* guest physical address of bytes[0]; the RSDP is there */
    size_t used;
    uint8_t bytes[ACPI_IMAGE_MAX];
};

/* base: below 4 GiB, page-aligned. cpus: 1..ACPI_MAX_CPUS, with APIC ids from 0. */
void acpi_build(struct acpi_image *image, uint64_t base, unsigned cpus);

#endif
