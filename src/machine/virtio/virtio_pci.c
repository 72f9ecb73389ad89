/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BAR:
 *     0000  common configuration
 *     1000  ISR status
 *     2000  the device's configuration
 *     3000  notify: 4 bytes a queue
 *     4000  MSI-X table        5000  pending bits
 */
#include "machine/virtio/virtio_pci.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "machine/virtio/virtio_pci_private.h"

#define VENDOR       0x1af4
#define DEVICE_BASE  0x1040
#define SUBSYSTEM    0x1100
#define REVISION     1
#define BAR_BYTES    0x10000u
#define REGION_BYTES 0x1000u

#define COMMON_OFFSET 0x0000u
#define ISR_OFFSET    0x1000u
#define DEVICE_OFFSET 0x2000u
#define NOTIFY_OFFSET 0x3000u
#define TABLE_OFFSET  0x4000u
#define PBA_OFFSET    0x5000u

#define NOTIFY_MULTIPLIER 4

#define ISR_QUEUE  1
#define ISR_CONFIG 2

#define CAP_VENDOR      0x09
#define CAP_MSIX        0x11
#define CAP_COMMON_CFG  1
#define CAP_NOTIFY_CFG  2
#define CAP_ISR_CFG     3
#define CAP_DEVICE_CFG  4
#define CAP_PCI_CFG     5
#define MSIX_CAP_ENABLE 0x8000
#define MSIX_CAP_MASKED 0x4000

/* VIRTIO 1.2 4.1.4, after the capability's id and next pointer. */
struct cap_body {
    uint8_t cap_len, cfg_type, bar, id, padding[2];
    uint32_t offset, length;
    uint32_t extra; /* notify: multiplier; PCI configuration access: data */
} __attribute__((packed));
_Static_assert(sizeof(struct cap_body) == 18, "the layout of the specification");

struct virtio_device *virtio_pci_device(struct virtio_pci *vp)
{
    return &vp->dev;
}

/* ---- interrupts ---- */

static void set_isr(struct virtio_pci *vp, uint8_t isr)
{
    vp->isr = isr;
    pci_device_set_intx(&vp->pci, isr);
}

/* With MSI-X, too, the ISR tells of configuration changes (VIRTIO 1.2 4.1.4.5.1). */
static void interrupt(struct virtio_pci *vp, uint16_t vector, uint8_t isr_bit)
{
    if (!vp->msix.enabled || isr_bit == ISR_CONFIG)
        set_isr(vp, vp->isr | isr_bit);
    if (vp->msix.enabled && vector != VIRTIO_PCI_NO_VECTOR)
        msix_notify(&vp->msix, vector);
}

static void queue_interrupt(void *arg, unsigned index)
{
    struct virtio_pci *vp = arg;

    interrupt(vp, vp->queue_vector[index], ISR_QUEUE);
}

static void config_interrupt(void *arg)
{
    struct virtio_pci *vp = arg;

    interrupt(vp, vp->config_vector, ISR_CONFIG);
}

static void service_wanted(void *arg)
{
    const struct virtio_pci *vp = arg;

    if (vp->host.service_wanted)
        vp->host.service_wanted(vp->host.arg);
}

static void send_msi(void *arg, const struct apic_message *message)
{
    const struct virtio_pci *vp = arg;

    if (vp->host.send_msi)
        vp->host.send_msi(vp->host.arg, message);
}

void virtio_pci_forget_driver(struct virtio_pci *vp)
{
    vp->device_feature_select = vp->driver_feature_select = 0;
    vp->driver_features = 0;
    vp->queue_select = 0;
    vp->config_vector = VIRTIO_PCI_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
        vp->queue_vector[i] = VIRTIO_PCI_NO_VECTOR;
    vp->msix.pending = 0;
    set_isr(vp, 0);
}

/* ---- the BAR ---- */

static uint64_t read_isr(struct virtio_pci *vp)
{
    uint8_t isr = vp->isr;

    set_isr(vp, 0);
    return isr;
}

static uint64_t bar_read(void *arg, uint64_t offset, unsigned bytes)
{
    struct virtio_pci *vp = arg;
    uint64_t inside = offset % REGION_BYTES;
    uint64_t value = 0;

    switch (offset - inside) {
    case COMMON_OFFSET:
        return virtio_pci_common_read(vp, inside, bytes);
    case ISR_OFFSET:
        return inside ? 0 : read_isr(vp);
    case DEVICE_OFFSET:
        virtio_config_read(&vp->dev, inside, &value, bytes);
        return value;
    case TABLE_OFFSET:
        return msix_table_read(&vp->msix, inside, bytes);
    case PBA_OFFSET:
        return msix_pba_read(&vp->msix, inside, bytes);
    default:
        return 0;
    }
}

static void bar_write(void *arg, uint64_t offset, unsigned bytes, uint64_t value)
{
    struct virtio_pci *vp = arg;
    uint64_t inside = offset % REGION_BYTES;

    switch (offset - inside) {
    case COMMON_OFFSET:
        if (bytes == 8) {
            virtio_pci_common_write(vp, inside, 4, (uint32_t)value);
            virtio_pci_common_write(vp, inside + 4, 4, (uint32_t)(value >> 32));
        } else {
            virtio_pci_common_write(vp, inside, bytes, (uint32_t)value);
        }
        break;
    case DEVICE_OFFSET:
        virtio_config_write(&vp->dev, inside, &value, bytes);
        break;
    case NOTIFY_OFFSET:
        if (inside / NOTIFY_MULTIPLIER < vp->dev.ops->queues)
            virtio_notify(&vp->dev, (unsigned)(inside / NOTIFY_MULTIPLIER));
        break;
    case TABLE_OFFSET:
        msix_table_write(&vp->msix, inside, bytes, value);
        break;
    }
}

/* ---- configuration space ---- */

static struct cap_body *pci_cfg(struct virtio_pci *vp)
{
    return (struct cap_body *)(vp->pci.config + vp->pci_cfg_cap + 2);
}

/* VIRTIO 1.2 4.1.4.9: does the window name something that can be accessed? */
static bool pci_cfg_is_usable(struct virtio_pci *vp)
{
    const struct cap_body *cap = pci_cfg(vp);
    uint32_t length = cap->length;

    return cap->bar == 0 && (length == 1 || length == 2 || length == 4) &&
           cap->offset % length == 0 && cap->offset <= BAR_BYTES - length;
}

static bool touches(unsigned offset, unsigned bytes, unsigned first, unsigned count)
{
    return offset < first + count && first < offset + bytes;
}

static bool is_pci_cfg_data(const struct virtio_pci *vp, unsigned offset, unsigned bytes)
{
    return touches(offset, bytes, vp->pci_cfg_cap + 2 + offsetof(struct cap_body, extra), 4);
}

static void on_config_reading(void *arg, unsigned offset, unsigned bytes)
{
    struct virtio_pci *vp = arg;
    struct cap_body *cap = pci_cfg(vp);
    uint32_t value;

    if (!is_pci_cfg_data(vp, offset, bytes) || !pci_cfg_is_usable(vp))
        return;
    value = (uint32_t)bar_read(vp, cap->offset, cap->length);
    memcpy(&cap->extra, &value, cap->length);
}

static void on_config_written(void *arg, unsigned offset, unsigned bytes)
{
    struct virtio_pci *vp = arg;
    const struct cap_body *cap = pci_cfg(vp);
    uint32_t value = 0;
    uint16_t control;

    if (is_pci_cfg_data(vp, offset, bytes) && pci_cfg_is_usable(vp)) {
        memcpy(&value, &cap->extra, cap->length);
        bar_write(vp, cap->offset, cap->length, value);
    }
    if (touches(offset, bytes, vp->msix_cap + 2, 2)) {
        memcpy(&control, vp->pci.config + vp->msix_cap + 2, sizeof(control));
        msix_set_control(&vp->msix, control & MSIX_CAP_ENABLE, control & MSIX_CAP_MASKED);
        pci_device_set_uses_msix(&vp->pci, vp->msix.enabled);
    }
    if (touches(offset, bytes, PCI_REG_COMMAND, 2)) {
        msix_set_may_send(&vp->msix, pci_device_command(&vp->pci) & PCI_COMMAND_MASTER);
        service_wanted(vp);
    }
}

static const struct pci_device_ops pci_ops = {
    .reading = on_config_reading,
    .written = on_config_written,
    .bar_read = bar_read,
    .bar_write = bar_write,
};

static unsigned add_virtio_cap(struct virtio_pci *vp, uint8_t type, uint32_t offset,
                               uint32_t length, const struct cap_body *writable)
{
    bool longer = type == CAP_NOTIFY_CFG || type == CAP_PCI_CFG;
    size_t bytes = longer ? sizeof(struct cap_body) : offsetof(struct cap_body, extra);
    struct cap_body body = {
        .cap_len = (uint8_t)(bytes + 2),
        .cfg_type = type,
        .offset = offset,
        .length = length,
        .extra = type == CAP_NOTIFY_CFG ? NOTIFY_MULTIPLIER : 0,
    };

    return pci_device_add_capability(&vp->pci, CAP_VENDOR, &body, writable, bytes);
}

static void add_capabilities(struct virtio_pci *vp)
{
    static const struct cap_body movable = {
        .bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX, .extra = UINT32_MAX};
    const struct virtio_ops *ops = vp->dev.ops;
    struct {
        uint16_t control;
        uint32_t table, pba;
    } __attribute__((packed))
    msix = {.control = (uint16_t)(vp->msix.vectors - 1), .table = TABLE_OFFSET, .pba = PBA_OFFSET};
    static const uint16_t msix_writable = MSIX_CAP_ENABLE | MSIX_CAP_MASKED;
    uint8_t writable[sizeof(msix)] = {0};

    memcpy(writable, &msix_writable, sizeof(msix_writable));
    vp->msix_cap = pci_device_add_capability(&vp->pci, CAP_MSIX, &msix, writable, sizeof(msix));
    add_virtio_cap(vp, CAP_COMMON_CFG, COMMON_OFFSET, VIRTIO_PCI_COMMON_BYTES, NULL);
    add_virtio_cap(vp, CAP_NOTIFY_CFG, NOTIFY_OFFSET, NOTIFY_MULTIPLIER * ops->queues, NULL);
    add_virtio_cap(vp, CAP_ISR_CFG, ISR_OFFSET, 1, NULL);
    if (ops->config_bytes)
        add_virtio_cap(vp, CAP_DEVICE_CFG, DEVICE_OFFSET, (uint32_t)ops->config_bytes, NULL);
    vp->pci_cfg_cap = add_virtio_cap(vp, CAP_PCI_CFG, 0, 0, &movable);
}

/* ---- life ---- */

void virtio_pci_reset(struct virtio_pci *vp)
{
    virtio_reset(&vp->dev);
    msix_reset(&vp->msix);
    pci_device_reset(&vp->pci);
    msix_set_may_send(&vp->msix, true);
    virtio_pci_forget_driver(vp);
}

enum err virtio_pci_create(struct virtio_pci **out, struct pci *pci, unsigned slot,
                           const struct virtio_ops *ops, void *arg,
                           const struct virtio_pci_host *host)
{
    const struct pci_identity identity = {
        .vendor = VENDOR,
        .device = (uint16_t)(DEVICE_BASE + ops->id),
        .subsystem_vendor = VENDOR,
        .subsystem = SUBSYSTEM,
        .revision = REVISION,
        .int_line = PCI_INTX_PIN(slot),
        .class_code = ops->class_code,
        .bar_bytes = BAR_BYTES,
        .bar_base = (uint32_t)(PCI_BARS + (uint64_t)slot * BAR_BYTES),
    };
    struct virtio_pci *vp = calloc(1, sizeof(*vp));
    const struct virtio_transport transport = {
        .arg = vp,
        .queue_interrupt = queue_interrupt,
        .config_interrupt = config_interrupt,
        .service_wanted = service_wanted,
    };

    if (!vp)
        return err_new(ERR_NOMEM, "no memory for a %s device", ops->name);
    vp->host = *host;
    vp->msix = (struct msix){.vectors = ops->queues + 1, .arg = vp, .send = send_msi};
    virtio_init(&vp->dev, ops, arg, host->mem, &transport);
    pci_device_init(&vp->pci, &identity, &host->intx, &pci_ops, vp);
    add_capabilities(vp);
    msix_reset(&vp->msix);
    pci_device_reset(&vp->pci);
    msix_set_may_send(&vp->msix, true);
    virtio_pci_forget_driver(vp);
    pci_device_plug(&vp->pci, pci, slot);
    *out = vp;
    return ERR_OK;
}

void virtio_pci_destroy(struct virtio_pci *vp)
{
    if (!vp)
        return;
    if (vp->dev.ops->destroy)
        vp->dev.ops->destroy(vp->dev.arg);
    free(vp);
}

/* Without bus mastering a device must leave memory alone: what was asked for waits. */
void virtio_pci_service(struct virtio_pci *vp)
{
    if (pci_device_command(&vp->pci) & PCI_COMMAND_MASTER)
        virtio_service(&vp->dev);
}
