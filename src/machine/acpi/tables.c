/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/acpi/tables.h"

#include <assert.h>
#include <string.h>

#include "base/invariant.h"
#include "machine/acpi/dsdt_aml.h"
#include "machine/board_private.h"
#include "machine/boot/boot.h"

#define PACKED __attribute__((packed))

struct PACKED header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
};

struct PACKED rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
};

struct PACKED address {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
};

struct PACKED fadt {
    struct header header;
    uint32_t facs;
    uint32_t dsdt;
    uint8_t reserved0;
    uint8_t profile;
    uint16_t sci_irq;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios_request, pstate_control;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_bytes, pm1_control_bytes, pm2_control_bytes, pm_timer_bytes;
    uint8_t gpe0_bytes, gpe1_bytes, gpe1_base, cst_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved1;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
    struct address x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
    uint64_t hypervisor;
};

struct PACKED facs {
    char signature[4];
    uint32_t length;
    uint32_t hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version;
    uint8_t reserved[31];
};

struct PACKED madt {
    struct header header;
    uint32_t lapic_address;
    uint32_t flags;
};

struct PACKED madt_lapic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
};

struct PACKED madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, first_gsi;
};

struct PACKED madt_override {
    uint8_t type, length, bus, irq;
    uint32_t gsi;
    uint16_t flags;
};

struct PACKED madt_nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
};

struct PACKED xsdt {
    struct header header;
    uint64_t entries[2];
};

static_assert(sizeof(struct header) == 36, "ACPI 6.4 table 5.4");
static_assert(sizeof(struct rsdp) == 36, "ACPI 6.4 table 5.3");
static_assert(sizeof(struct fadt) == 276, "ACPI 6.4 table 5.9");
static_assert(sizeof(struct facs) == 64, "ACPI 6.4 table 5.13");
static_assert(sizeof(dsdt_aml) + sizeof(struct fadt) + 1024 + 8 * ACPI_MAX_CPUS < ACPI_IMAGE_MAX,
              "all tables fit");

#define SPACE_IO 1

#define FADT_REVISION      6
#define FADT_MINOR         4
#define FADT_WBINVD        0x001u
#define FADT_C1            0x004u
#define FADT_NO_PWR_BUTTON 0x010u
#define FADT_NO_SLP_BUTTON 0x020u
#define FADT_RESET         0x400u
#define BOOT_LEGACY        0x0001u
#define BOOT_NO_VGA        0x0004u /* the 8042 bit stays 0: it is there for its reset only */
#define NO_C2              101
#define NO_C3              1001
#define CMOS_CENTURY       0x32

#define MADT_REVISION     5
#define MADT_PCAT         1u
#define LAPIC_ENABLED     1u
#define ACTIVE_HIGH_LEVEL 0x0d
#define ALL_CPUS          0xff

static void *place(struct acpi_image *image, size_t bytes, size_t align, uint64_t *gpa)
{
    size_t at = (image->used + align - 1) / align * align;

    invariant(at + bytes <= sizeof(image->bytes));
    image->used = at + bytes;
    *gpa = image->base + at;
    return image->bytes + at;
}

/* What makes all bytes of a table sum to 0. */
static uint8_t checksum(const void *table, size_t bytes)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < bytes; i++)
        sum += ((const uint8_t *)table)[i];
    return (uint8_t)-sum;
}

static struct header make_header(const char *signature, uint8_t revision)
{
    struct header header = {
        .revision = revision,
        .oem_id = {'U', 'M', 'B', 'R', 'A', 0},
        .oem_table_id = {'B', 'O', 'A', 'R', 'D', 0},
        .oem_revision = 1,
        .creator_id = {'U', 'M', 'B', 'R'},
        .creator_revision = 1,
    };

    memcpy(header.signature, signature, sizeof(header.signature));
    return header;
}

static void seal(struct header *header, size_t bytes)
{
    header->length = (uint32_t)bytes;
    header->checksum = 0;
    header->checksum = checksum(header, bytes);
}

static struct address io_address(uint16_t port, unsigned bytes)
{
    /* access size: 1 byte, 2 word, 3 dword */
    return (struct address){SPACE_IO, (uint8_t)(8 * bytes), 0,
                            (uint8_t)(bytes == 1   ? 1
                                      : bytes == 2 ? 2
                                                   : 3),
                            port};
}

static uint64_t add_facs(struct acpi_image *image)
{
    uint64_t gpa;
    struct facs *facs = place(image, sizeof(*facs), 64, &gpa);

    *facs = (struct facs){
        .signature = {'F', 'A', 'C', 'S'},
        .length = sizeof(*facs),
        .version = 2,
    };
    return gpa;
}

static uint64_t add_dsdt(struct acpi_image *image)
{
    uint64_t gpa;

    memcpy(place(image, sizeof(dsdt_aml), 16, &gpa), dsdt_aml, sizeof(dsdt_aml));
    return gpa;
}

static uint64_t add_fadt(struct acpi_image *image, uint64_t facs, uint64_t dsdt)
{
    uint64_t gpa;
    struct fadt *fadt = place(image, sizeof(*fadt), 16, &gpa);

    *fadt = (struct fadt){
        .header = make_header("FACP", FADT_REVISION),
        .minor = FADT_MINOR,
        .facs = (uint32_t)facs,
        .dsdt = (uint32_t)dsdt,
        .x_dsdt = dsdt,
        .sci_irq = PM_SCI_IRQ,
        .pm1a_event = PM_EVENT_PORT,
        .pm1a_control = PM_CNT_PORT,
        .pm_timer = PM_TIMER_PORT,
        .gpe0 = PM_GPE_PORT,
        .pm1_event_bytes = 4,
        .pm1_control_bytes = 2,
        .pm_timer_bytes = 4,
        .gpe0_bytes = 4,
        .c2_latency = NO_C2,
        .c3_latency = NO_C3,
        .century = CMOS_CENTURY,
        .boot_flags = BOOT_LEGACY | BOOT_NO_VGA,
        .flags = FADT_WBINVD | FADT_C1 | FADT_NO_PWR_BUTTON | FADT_NO_SLP_BUTTON | FADT_RESET,
        .reset = io_address(PCI_RESET_PORT, 1),
        .reset_value = PCI_RESET_FULL,
        .x_pm1a_event = io_address(PM_EVENT_PORT, 4),
        .x_pm1a_control = io_address(PM_CNT_PORT, 2),
        .x_pm_timer = io_address(PM_TIMER_PORT, 4),
        .x_gpe0 = io_address(PM_GPE_PORT, 4),
    };
    seal(&fadt->header, sizeof(*fadt));
    return gpa;
}

static void add_lapics(struct acpi_image *image, unsigned cpus)
{
    uint64_t gpa;

    for (unsigned i = 0; i < cpus; i++) {
        struct madt_lapic *lapic = place(image, sizeof(*lapic), 1, &gpa);

        *lapic = (struct madt_lapic){0, sizeof(*lapic), (uint8_t)i, (uint8_t)i, LAPIC_ENABLED};
    }
}

static uint64_t add_madt(struct acpi_image *image, unsigned cpus)
{
    uint64_t gpa, entry;
    struct madt *madt = place(image, sizeof(*madt), 16, &gpa);
    struct madt_ioapic *ioapic;
    struct madt_override *irq0, *sci;
    struct madt_nmi *nmi;

    *madt = (struct madt){
        .header = make_header("APIC", MADT_REVISION),
        .lapic_address = LAPIC_DEFAULT_BASE,
        .flags = MADT_PCAT,
    };
    add_lapics(image, cpus);
    ioapic = place(image, sizeof(*ioapic), 1, &entry);
    *ioapic = (struct madt_ioapic){1, sizeof(*ioapic), 0, 0, IOAPIC_BASE, 0};
    irq0 = place(image, sizeof(*irq0), 1, &entry);
    *irq0 = (struct madt_override){2, sizeof(*irq0), 0, 0, BOARD_TIMER_PIN, 0};
    sci = place(image, sizeof(*sci), 1, &entry);
    *sci = (struct madt_override){2, sizeof(*sci), 0, PM_SCI_IRQ, PM_SCI_IRQ, ACTIVE_HIGH_LEVEL};
    nmi = place(image, sizeof(*nmi), 1, &entry);
    *nmi = (struct madt_nmi){4, sizeof(*nmi), ALL_CPUS, 0, 1};
    seal(&madt->header, (size_t)(image->base + image->used - gpa));
    return gpa;
}

static uint64_t add_xsdt(struct acpi_image *image, uint64_t fadt, uint64_t madt)
{
    uint64_t gpa;
    struct xsdt *xsdt = place(image, sizeof(*xsdt), 16, &gpa);

    *xsdt = (struct xsdt){.header = make_header("XSDT", 1), .entries = {fadt, madt}};
    seal(&xsdt->header, sizeof(*xsdt));
    return gpa;
}

void acpi_build(struct acpi_image *image, uint64_t base, unsigned cpus)
{
    uint64_t gpa;
    struct rsdp *rsdp;
    uint64_t facs, dsdt, fadt, madt;

    invariant(cpus >= 1 && cpus <= ACPI_MAX_CPUS);
    memset(image, 0, sizeof(*image));
    image->base = base;
    rsdp = place(image, sizeof(*rsdp), 16, &gpa);
    facs = add_facs(image);
    dsdt = add_dsdt(image);
    fadt = add_fadt(image, facs, dsdt);
    madt = add_madt(image, cpus);
    *rsdp = (struct rsdp){
        .signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
        .oem_id = {'U', 'M', 'B', 'R', 'A', 0},
        .revision = 2,
        .length = sizeof(*rsdp),
        .xsdt = add_xsdt(image, fadt, madt),
    };
    rsdp->checksum = checksum(rsdp, 20);
    rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}

enum err board_write_acpi(struct board *board, gpa_t *rsdp)
{
    struct acpi_image image;

    acpi_build(&image, BOOT_ACPI_BASE, board->config.cpus);
    if (!mem_write(board->config.mem, gpa_make(image.base), image.bytes, image.used))
        return err_new(ERR_INTERNAL, "the ACPI tables do not fit into guest memory");
    *rsdp = gpa_make(image.base);
    return ERR_OK;
}
