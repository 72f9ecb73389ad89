/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for tests: finds a virtio device through PCI configuration space, as a guest would, and
 * works its queues in guest memory. It can also be told to break every rule. No test framework in
 * here: unit tests and fuzzers share it.
 *
 *     struct driver d;
 *     driver_start(&d, 16 << 20);                    guest memory and a PCI bus
 *     rng_create(&rng);
 *     driver_plug(&d, &rng_ops, rng);                the device in slot 1; d.dev is its virtio side
 *     rng_attach(rng, d.dev);
 *     driver_negotiate(&d, VIRTIO_F_VERSION_1);      up to FEATURES_OK
 *     driver_queue(&d, 0, 8, 0);                     queue 0, 8 descriptors, vector 0
 *     driver_ok(&d);
 *     gpa_t buffer = driver_alloc(&d, 64, 1);
 *     driver_add(&d, 0, (struct virtq_buffer[]){{buffer, 64}}, 0, 1);
 *     driver_kick(&d, 0);                            notify and let the device work
 *     driver_used(&d, 0, &head, &written);
 */
#ifndef UMBRA_TESTS_UNIT_VIRTIO_DRIVER_H
#define UMBRA_TESTS_UNIT_VIRTIO_DRIVER_H

#include <string.h>

#include "base/invariant.h"
#include "machine/virtio/virtio_pci.h"

#define DRIVER_SLOT      1
#define DRIVER_NO_VECTOR 0xffff

/* Offsets in the common configuration (VIRTIO 1.2 4.1.4.3). */
enum driver_common {
    COMMON_DEVICE_SELECT = 0,
    COMMON_DEVICE_FEATURE = 4,
    COMMON_DRIVER_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_CONFIG_VECTOR = 16,
    COMMON_NUM_QUEUES = 18,
    COMMON_STATUS = 20,
    COMMON_GENERATION = 21,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY_OFF = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_AVAIL = 40,
    COMMON_QUEUE_USED = 48,
};

struct driver_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
#define DRIVER_DESC_NEXT     1
#define DRIVER_DESC_WRITE    2
#define DRIVER_DESC_INDIRECT 4

struct driver_queue {
    uint16_t size, free, avail_idx, used_idx;
    gpa_t desc, avail, used;
};

/*
 * messages, last_message: MSIs that were sent;  intx: level of INTA;  wanted: calls of
 * service_wanted
 */
struct driver {
    struct guest_mem *mem;
    struct pci pci;
    struct virtio_pci *vp;
    struct virtio_device *dev;
    uint64_t next_free;
    uint64_t common, notify, isr, config, table, pba; /* addresses; 0: no such structure */
    uint32_t notify_multiplier;
    unsigned pci_cfg_cap, msix_cap;
    struct driver_queue queue[VIRTIO_QUEUES_MAX];
    unsigned messages, wanted;
    struct apic_message last_message;
    bool intx;
};

/* ---- guest memory ---- */

static inline gpa_t driver_alloc(struct driver *d, uint64_t bytes, uint64_t align)
{
    gpa_t at = gpa_make((d->next_free + align - 1) / align * align);

    d->next_free = at.v + bytes;
    invariant(mem_is_ram(d->mem, at, bytes ? bytes : 1));
    return at;
}

/* A host that a test makes fail does not fail for ever; a guest waits so long. */
#define DRIVER_TRIES 1000

static inline void driver_put(struct driver *d, gpa_t at, const void *bytes, size_t count)
{
    unsigned tries = 0;

    while (!mem_write(d->mem, at, bytes, count))
        invariant(++tries < DRIVER_TRIES);
}

static inline void driver_get(struct driver *d, gpa_t at, void *bytes, size_t count)
{
    unsigned tries = 0;

    while (!mem_read(d->mem, at, bytes, count))
        invariant(++tries < DRIVER_TRIES);
}

static inline void driver_put16(struct driver *d, gpa_t at, uint16_t value)
{
    driver_put(d, at, &value, sizeof(value));
}

static inline uint16_t driver_get16(struct driver *d, gpa_t at)
{
    uint16_t value;

    driver_get(d, at, &value, sizeof(value));
    return value;
}

/* ---- PCI ---- */

static inline uint32_t driver_pci_read(struct driver *d, unsigned offset, unsigned bytes)
{
    pci_out(&d->pci, PCI_ADDRESS_PORT, 4, 0x80000000u | DRIVER_SLOT << 11 | (offset & 0xfc));
    return pci_in(&d->pci, (uint16_t)(PCI_DATA_PORT + offset % 4), bytes);
}

static inline void driver_pci_write(struct driver *d, unsigned offset, unsigned bytes,
                                    uint32_t value)
{
    pci_out(&d->pci, PCI_ADDRESS_PORT, 4, 0x80000000u | DRIVER_SLOT << 11 | (offset & 0xfc));
    pci_out(&d->pci, (uint16_t)(PCI_DATA_PORT + offset % 4), bytes, value);
}

static inline uint64_t driver_read(struct driver *d, uint64_t address, unsigned bytes)
{
    uint64_t value = pci_mmio_read(&d->pci, address, bytes);

    return bytes < 8 ? value & ((UINT64_C(1) << 8 * bytes) - 1) : value;
}

static inline void driver_write(struct driver *d, uint64_t address, unsigned bytes, uint64_t value)
{
    pci_mmio_write(&d->pci, address, bytes, value);
}

/* Looks up where the structures are (again, after the BAR was moved). */
static inline void driver_find(struct driver *d)
{
    uint64_t bar = driver_pci_read(d, 0x10, 4) & 0xfffffff0;
    unsigned cap = driver_pci_read(d, 0x34, 1);

    d->common = d->notify = d->isr = d->config = 0;
    for (; cap; cap = driver_pci_read(d, cap + 1, 1)) {
        uint64_t at = bar + driver_pci_read(d, cap + 8, 4);

        if (driver_pci_read(d, cap, 1) == 0x11) {
            d->msix_cap = cap;
            d->table = bar + (driver_pci_read(d, cap + 4, 4) & ~7u);
            d->pba = bar + (driver_pci_read(d, cap + 8, 4) & ~7u);
            continue;
        }
        switch (driver_pci_read(d, cap + 3, 1)) {
        case 1:
            d->common = at;
            break;
        case 2:
            d->notify = at;
            d->notify_multiplier = driver_pci_read(d, cap + 16, 4);
            break;
        case 3:
            d->isr = at;
            break;
        case 4:
            d->config = at;
            break;
        case 5:
            d->pci_cfg_cap = cap;
            break;
        }
    }
}

static inline void driver_on_message(void *arg, const struct apic_message *message)
{
    struct driver *d = arg;

    d->messages++;
    d->last_message = *message;
}

static inline void driver_on_intx(void *arg, unsigned pin, bool level)
{
    struct driver *d = arg;

    (void)pin;
    d->intx = level;
}

static inline void driver_on_service_wanted(void *arg)
{
    struct driver *d = arg;

    d->wanted++;
}

static inline void driver_on_reset_machine(void *arg)
{
    (void)arg;
}

static inline void driver_start(struct driver *d, uint64_t memory_bytes)
{
    *d = (struct driver){.next_free = 0x1000};
    invariant(mem_create(&d->mem, memory_bytes) == ERR_OK);
    pci_init(&d->pci, d, driver_on_reset_machine);
}

/* The device goes by ops->destroy in driver_stop. */
static inline void driver_plug(struct driver *d, const struct virtio_ops *ops, void *arg)
{
    const struct virtio_pci_host host = {
        .arg = d,
        .mem = d->mem,
        .intx = {.set = driver_on_intx, .arg = d, .pin = DRIVER_SLOT},
        .send_msi = driver_on_message,
        .service_wanted = driver_on_service_wanted,
    };

    invariant(virtio_pci_create(&d->vp, &d->pci, DRIVER_SLOT, ops, arg, &host) == ERR_OK);
    d->dev = virtio_pci_device(d->vp);
    driver_find(d);
}

static inline void driver_stop(struct driver *d)
{
    virtio_pci_destroy(d->vp);
    mem_destroy(d->mem);
}

/* ---- virtio ---- */

static inline uint64_t driver_common_read(struct driver *d, enum driver_common offset,
                                          unsigned bytes)
{
    return driver_read(d, d->common + offset, bytes);
}

static inline void driver_common_write(struct driver *d, enum driver_common offset, unsigned bytes,
                                       uint64_t value)
{
    driver_write(d, d->common + offset, bytes, value);
}

static inline uint8_t driver_status(struct driver *d)
{
    return (uint8_t)driver_common_read(d, COMMON_STATUS, 1);
}

static inline uint64_t driver_offered(struct driver *d)
{
    uint64_t features;

    driver_common_write(d, COMMON_DEVICE_SELECT, 4, 1);
    features = driver_common_read(d, COMMON_DEVICE_FEATURE, 4) << 32;
    driver_common_write(d, COMMON_DEVICE_SELECT, 4, 0);
    return features | driver_common_read(d, COMMON_DEVICE_FEATURE, 4);
}

/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK: does the device agree? */
static inline bool driver_negotiate(struct driver *d, uint64_t features)
{
    driver_common_write(d, COMMON_STATUS, 1, 0);
    driver_common_write(d, COMMON_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    driver_common_write(d, COMMON_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    driver_common_write(d, COMMON_DRIVER_SELECT, 4, 0);
    driver_common_write(d, COMMON_DRIVER_FEATURE, 4, (uint32_t)features);
    driver_common_write(d, COMMON_DRIVER_SELECT, 4, 1);
    driver_common_write(d, COMMON_DRIVER_FEATURE, 4, features >> 32);
    driver_common_write(d, COMMON_STATUS, 1,
                        VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    return driver_status(d) & VIRTIO_FEATURES_OK;
}

/* Gives the selected queue its places; nothing is checked here. */
static inline void driver_place_queue(struct driver *d, unsigned index, uint16_t size, gpa_t desc,
                                      gpa_t avail, gpa_t used)
{
    const gpa_t place[3] = {desc, avail, used};

    d->queue[index] =
        (struct driver_queue){.size = size, .desc = desc, .avail = avail, .used = used};
    driver_common_write(d, COMMON_QUEUE_SELECT, 2, index);
    driver_common_write(d, COMMON_QUEUE_SIZE, 2, size);
    for (unsigned i = 0; i < 3; i++) {
        driver_common_write(d, COMMON_QUEUE_DESC + 8 * i, 4, (uint32_t)place[i].v);
        driver_common_write(d, COMMON_QUEUE_DESC + 8 * i + 4, 4, place[i].v >> 32);
    }
    driver_common_write(d, COMMON_QUEUE_ENABLE, 2, 1);
}

/* Allocates zeroed rings, sets the vector (DRIVER_NO_VECTOR: none) and enables the queue. */
static inline void driver_queue(struct driver *d, unsigned index, uint16_t size, uint16_t vector)
{
    gpa_t desc = driver_alloc(d, UINT64_C(16) * size, 16);
    gpa_t avail = driver_alloc(d, 6 + UINT64_C(2) * size, 2);
    gpa_t used = driver_alloc(d, 6 + UINT64_C(8) * size, 4);

    unsigned tries = 0;

    while (!mem_fill_zero(d->mem, desc, used.v + 6 + 8u * size - desc.v))
        invariant(++tries < DRIVER_TRIES);
    driver_common_write(d, COMMON_QUEUE_SELECT, 2, index);
    driver_common_write(d, COMMON_QUEUE_VECTOR, 2, vector);
    driver_place_queue(d, index, size, desc, avail, used);
}

static inline void driver_ok(struct driver *d)
{
    driver_common_write(d, COMMON_STATUS, 1, driver_status(d) | VIRTIO_DRIVER_OK);
}

/* MSI-X on; vector i sends interrupt vector 0x40 + i to APIC 0. */
static inline void driver_enable_msix(struct driver *d, unsigned vectors)
{
    for (unsigned i = 0; i < vectors; i++) {
        driver_write(d, d->table + 16 * i, 4, 0xfee00000);
        driver_write(d, d->table + 16 * i + 4, 4, 0);
        driver_write(d, d->table + 16 * i + 8, 4, 0x40 + i);
        driver_write(d, d->table + 16 * i + 12, 4, 0);
    }
    driver_pci_write(d, d->msix_cap + 2, 2, 0x8000);
}

/* ---- rings ---- */

static inline gpa_t driver_desc_at(const struct driver_queue *q, unsigned index)
{
    return gpa_add(q->desc, UINT64_C(16) * index);
}

static inline gpa_t driver_avail_event_at(const struct driver_queue *q)
{
    return gpa_add(q->used, 4 + UINT64_C(8) * q->size);
}

static inline gpa_t driver_used_event_at(const struct driver_queue *q)
{
    return gpa_add(q->avail, 4 + UINT64_C(2) * q->size);
}

/* Makes a head available, whatever it is. */
static inline void driver_make_available(struct driver *d, unsigned index, uint16_t head)
{
    struct driver_queue *q = &d->queue[index];

    driver_put16(d, gpa_add(q->avail, 4 + UINT64_C(2) * (q->avail_idx % q->size)), head);
    driver_put16(d, gpa_add(q->avail, 2), ++q->avail_idx);
}

/* Writes a chain into consecutive descriptors of a table of so many entries from `first` on. */
static inline void driver_write_chain(struct driver *d, gpa_t table, unsigned entries,
                                      unsigned first, const struct virtq_buffer *buffers,
                                      unsigned readable, unsigned writable)
{
    for (unsigned i = 0; i < readable + writable; i++) {
        struct driver_desc desc = {
            .addr = buffers[i].gpa.v,
            .len = buffers[i].bytes,
            .flags = (uint16_t)((i >= readable ? DRIVER_DESC_WRITE : 0) |
                                (i + 1 < readable + writable ? DRIVER_DESC_NEXT : 0)),
            .next = (uint16_t)((first + i + 1) % entries),
        };

        driver_put(d, gpa_add(table, UINT64_C(16) * ((first + i) % entries)), &desc, sizeof(desc));
    }
}

/* A chain of readable, then writable buffers, from the next descriptors. Answers the head. */
static inline uint16_t driver_add(struct driver *d, unsigned index,
                                  const struct virtq_buffer *buffers, unsigned readable,
                                  unsigned writable)
{
    struct driver_queue *q = &d->queue[index];
    uint16_t head = q->free;

    driver_write_chain(d, q->desc, q->size, head, buffers, readable, writable);
    q->free = (uint16_t)((head + readable + writable) % q->size);
    driver_make_available(d, index, head);
    return head;
}

/* The same through an indirect table. */
static inline uint16_t driver_add_indirect(struct driver *d, unsigned index,
                                           const struct virtq_buffer *buffers, unsigned readable,
                                           unsigned writable)
{
    struct driver_queue *q = &d->queue[index];
    uint16_t head = q->free;
    uint32_t bytes = 16 * (readable + writable);
    struct driver_desc desc = {
        .addr = driver_alloc(d, bytes, 16).v,
        .len = bytes,
        .flags = DRIVER_DESC_INDIRECT,
    };

    driver_write_chain(d, gpa_make(desc.addr), readable + writable, 0, buffers, readable, writable);
    driver_put(d, driver_desc_at(q, head), &desc, sizeof(desc));
    q->free = (uint16_t)((head + 1) % q->size);
    driver_make_available(d, index, head);
    return head;
}

static inline void driver_notify(struct driver *d, unsigned index)
{
    driver_common_write(d, COMMON_QUEUE_SELECT, 2, index);
    driver_write(
        d, d->notify + driver_common_read(d, COMMON_QUEUE_NOTIFY_OFF, 2) * d->notify_multiplier, 2,
        index);
}

/* Between two instructions of the guest. */
static inline void driver_serve(struct driver *d)
{
    virtio_pci_service(d->vp);
}

static inline void driver_kick(struct driver *d, unsigned index)
{
    driver_notify(d, index);
    driver_serve(d);
}

/* Takes one used element. False: there is none. */
static inline bool driver_used(struct driver *d, unsigned index, uint32_t *head, uint32_t *written)
{
    struct driver_queue *q = &d->queue[index];
    uint32_t elem[2];

    if (driver_get16(d, gpa_add(q->used, 2)) == q->used_idx)
        return false;
    driver_get(d, gpa_add(q->used, 4 + UINT64_C(8) * (q->used_idx % q->size)), elem, sizeof(elem));
    q->used_idx++;
    *head = elem[0];
    *written = elem[1];
    return true;
}

#endif
