/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device from the inside: found on PCI, its BAR sized and moved, features negotiated, a
 * queue worked by MSI-X and by INTx. The entropy device where there is one; else the balloon, whose
 * first queue takes page numbers.
 */
#include "guest.h"

#define VENDOR         0x1af4
#define DEVICE_RNG     0x1044
#define DEVICE_BALLOON 0x1045
#define VECTOR_MSI     0x61
#define VECTOR_INTX    0x62
#define QUEUE_SIZE     4
#define BUFFER_BYTES   64
#define NEW_BAR        0xd0000000u
#define LOW_BAR        0x60000000u /* below the window that ACPI names, above RAM */

#define REDIRECT(pin) (0x10 + (pin)*2)

static uint32_t slot, device;
static uint32_t common, isr, notify, table, notify_multiplier, msix_cap;

/* --- PCI --- */

static void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static uint32_t inl(uint16_t port)
{
    uint32_t v;

    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static uint32_t pci_read(unsigned offset)
{
    outl(0xcf8, 0x80000000u | slot << 11 | (offset & 0xfc));
    return inl(0xcfc) >> 8 * (offset % 4);
}

static void pci_write(unsigned offset, uint32_t value)
{
    outl(0xcf8, 0x80000000u | slot << 11 | offset);
    outl(0xcfc, value);
}

static bool find(uint32_t wanted)
{
    for (slot = 1; slot < 32; slot++)
        if (pci_read(0) == (wanted << 16 | VENDOR))
            return true;
    return false;
}

static void find_structures(uint32_t bar)
{
    for (unsigned cap = pci_read(0x34) & 0xff; cap; cap = pci_read(cap + 1) & 0xff) {
        uint32_t offset = pci_read(cap + 8);

        if ((pci_read(cap) & 0xff) == 0x11) {
            msix_cap = cap;
            table = bar + (pci_read(cap + 4) & ~7u);
            continue;
        }
        switch (pci_read(cap + 3) & 0xff) {
        case 1:
            common = bar + offset;
            break;
        case 2:
            notify = bar + offset;
            notify_multiplier = pci_read(cap + 16);
            break;
        case 3:
            isr = bar + offset;
            break;
        }
    }
}

/* --- registers --- */

#define REG(type, address) (*(volatile type *)(uintptr_t)(address))

static void set_status(uint8_t value)
{
    REG(uint8_t, common + 20) = value;
}

static uint8_t status(void)
{
    return REG(uint8_t, common + 20);
}

static uint32_t offered(uint32_t word_of)
{
    REG(uint32_t, common) = word_of;
    return REG(uint32_t, common + 4);
}

static void accept(uint32_t word_of, uint32_t features)
{
    REG(uint32_t, common + 8) = word_of;
    REG(uint32_t, common + 12) = features;
}

/* --- the queue --- */

static struct {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} desc[QUEUE_SIZE] __attribute__((aligned(16)));

static volatile struct {
    uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
} avail __attribute__((aligned(2)));

static volatile struct {
    uint16_t flags, idx;
    struct {
        uint32_t id, len;
    } ring[QUEUE_SIZE];
    uint16_t avail_event;
} used __attribute__((aligned(4)));

static uint8_t buffer[BUFFER_BYTES];
static uint32_t page_number;

static void set_address(unsigned offset, const volatile void *at)
{
    REG(uint32_t, common + offset) = (uint32_t)(uintptr_t)at;
    REG(uint32_t, common + offset + 4) = 0;
}

static void bring_up(unsigned check_number, uint16_t vector)
{
    memset(desc, 0, sizeof(desc));
    memset((void *)&avail, 0, sizeof(avail));
    memset((void *)&used, 0, sizeof(used));
    set_status(0);
    check(check_number, status(), 0);
    set_status(1);
    set_status(3);
    check(check_number, offered(1) & 1, 1);
    accept(0, 0);
    accept(1, 1);
    set_status(11);
    check(check_number, status(), 11);
    REG(uint16_t, common + 22) = 0;
    check(check_number, REG(uint16_t, common + 24) >= QUEUE_SIZE, 1);
    REG(uint16_t, common + 24) = QUEUE_SIZE;
    REG(uint16_t, common + 26) = vector;
    check(check_number, REG(uint16_t, common + 26), vector);
    set_address(32, desc);
    set_address(40, &avail);
    set_address(48, &used);
    REG(uint16_t, common + 28) = 1;
    set_status(15);
    check(check_number, status(), 15);
}

/* One request, and that its interrupt comes, once. */
static void request(unsigned check_number, unsigned vector)
{
    unsigned before = irq_count[vector];
    uint16_t idx = used.idx;
    uint32_t bits = 0;

    memset(buffer, 0, sizeof(buffer));
    page_number = 0x300 + idx; /* nothing lies there */
    desc[1].addr = device == DEVICE_RNG ? (uintptr_t)buffer : (uintptr_t)&page_number;
    desc[1].len = device == DEVICE_RNG ? BUFFER_BYTES : 4;
    desc[1].flags = device == DEVICE_RNG ? 2 : 0;
    avail.ring[avail.idx % QUEUE_SIZE] = 1;
    asm volatile("" ::: "memory");
    avail.idx++;
    REG(uint16_t, notify + notify_multiplier * REG(uint16_t, common + 30)) = 0;
    sti();
    for (unsigned i = 0; irq_count[vector] == before; i++)
        check(check_number, i < 10000000, 1);
    pit_wait_us(1000);
    cli();
    check(check_number, irq_count[vector], before + 1);
    check(check_number, (uint16_t)(used.idx - idx), 1);
    check(check_number, used.ring[idx % QUEUE_SIZE].id, 1);
    if (device != DEVICE_RNG)
        return;
    check(check_number, used.ring[idx % QUEUE_SIZE].len, BUFFER_BYTES);
    for (unsigned i = 0; i < BUFFER_BYTES; i++)
        bits |= buffer[i];
    check(check_number, bits != 0, 1);
}

static void on_intx(struct frame *f)
{
    irq_count[f->vector]++;
    check(60, REG(uint8_t, isr), 1); /* the line falls before the end of the interrupt */
    apic_write(APIC_EOI, 0);
}

/* 64-bit guests have paging, which knows nothing of the BAR. */
static void map(uint32_t bar)
{
    if (paging_format == PAGING_NONE)
        return;
    for (uint32_t page = 0; page < 0x10000; page += 0x1000)
        page_map(bar + page, bar + page, P_P | P_W | P_PCD);
}

static void test_bar(void)
{
    uint32_t bar = pci_read(0x10), size;

    map(bar);
    map(NEW_BAR);
    map(LOW_BAR);
    check(10, bar & 0xf, 0);
    check(11, pci_read(4) & 6, 6);
    pci_write(0x10, 0xffffffff);
    size = ~pci_read(0x10) + 1;
    check(12, size, 0x10000);
    pci_write(0x10, LOW_BAR);
    find_structures(LOW_BAR);
    check(18, REG(uint16_t, common + 18) >= 1 && REG(uint16_t, common + 18) != 0xffff, 1);
    pci_write(0x10, NEW_BAR);
    check(13, pci_read(0x10), NEW_BAR);
    find_structures(bar);
    check(14, REG(uint32_t, common + 4), 0xffffffff); /* it has left */
    find_structures(NEW_BAR);
    check(15, common && isr && notify && table, 1);
    check(16, REG(uint16_t, common + 18) >= 1, 1);
    pci_write(4, 4);
    check(17, REG(uint16_t, common + 18), 0xffff);
    pci_write(4, 6);
}

static void test_msix(void)
{
    REG(uint32_t, table + 16) = 0xfee00000u | apic_read(APIC_ID) >> 24 << 12;
    REG(uint32_t, table + 16 + 4) = 0;
    REG(uint32_t, table + 16 + 8) = VECTOR_MSI;
    REG(uint32_t, table + 16 + 12) = 0;
    pci_write(msix_cap, pci_read(msix_cap) | 0x80000000u);
    bring_up(20, 1);
    for (unsigned i = 0; i < 10; i++)
        request(21, VECTOR_MSI);
    /* masked: pending, and sent when the mask goes */
    REG(uint32_t, table + 16 + 12) = 1;
    avail.ring[avail.idx % QUEUE_SIZE] = 1;
    avail.idx++;
    REG(uint16_t, notify) = 0;
    sti();
    pit_wait_us(2000);
    check(22, irq_count[VECTOR_MSI], 10);
    REG(uint32_t, table + 16 + 12) = 0;
    pit_wait_us(100);
    cli();
    check(23, irq_count[VECTOR_MSI], 11);
    pci_write(msix_cap, pci_read(msix_cap) & ~0x80000000u);
}

static void test_intx(void)
{
    unsigned pin = 16 + slot % 4;

    ioapic_write(REDIRECT(pin) + 1, apic_read(APIC_ID));
    ioapic_write(REDIRECT(pin), 0xa000 | VECTOR_INTX); /* level, active low */
    bring_up(30, 0xffff);
    for (unsigned i = 0; i < 10; i++)
        request(31, VECTOR_INTX);
    ioapic_write(REDIRECT(pin), 0x10000);
}

/* A driver that errs: the device wants a reset, and works after it. */
static void test_needs_reset(void)
{
    bring_up(40, 0xffff);
    avail.idx = QUEUE_SIZE + 1;
    REG(uint16_t, notify) = 0;
    pit_wait_us(1000);
    check(41, status() & 64, 64);
    check(42, used.idx, 0);
    bring_up(43, 0xffff);
}

GUEST
{
    hook[VECTOR_MSI] = irq_counter;
    hook[VECTOR_INTX] = on_intx;
    apic_enable();
    apic_write(APIC_TPR, 0);
    device = find(DEVICE_RNG) ? DEVICE_RNG : DEVICE_BALLOON;
    check(1, find(device), 1);
    test_bar();
    test_msix();
    test_intx();
    test_needs_reset();
}
