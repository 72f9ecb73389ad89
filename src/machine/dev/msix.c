/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/msix.h"

#include <string.h>

#include "base/invariant.h"

#define CONTROL_MASKED 1u

/* SDM 3A figures 10-24 and 10-25. Linux sets the mode without the redirection hint: it counts. */
#define ADDRESS_BASE      UINT64_C(0xfee00000)
#define ADDRESS_BASE_MASK UINT64_C(0xfffffffffff00000)
#define ADDRESS_DEST(a)   ((uint8_t)((a) >> 12))
#define ADDRESS_LOGICAL   0x4u
#define DATA_VECTOR(d)    ((uint8_t)(d))
#define DATA_DELIVERY(d)  ((d) >> 8 & 7)
#define DATA_ASSERT       0x4000u
#define DATA_LEVEL        0x8000u
#define DELIVERIES_ALLOWED                                                                         \
    (1u << APIC_FIXED | 1u << APIC_LOWEST | 1u << APIC_SMI | 1u << APIC_NMI | 1u << APIC_INIT |    \
     1u << APIC_EXTINT)

bool msi_decode(uint64_t address, uint32_t data, struct apic_message *message)
{
    uint8_t destination = ADDRESS_DEST(address);

    if ((address & ADDRESS_BASE_MASK) != ADDRESS_BASE)
        return false;
    if (!(DELIVERIES_ALLOWED >> DATA_DELIVERY(data) & 1))
        return false;
    if ((data & DATA_LEVEL) && !(data & DATA_ASSERT))
        return false;
    *message = (struct apic_message){
        .destination = destination == 0xff ? APIC_BROADCAST : destination,
        .logical = address & ADDRESS_LOGICAL,
        .level_triggered = data & DATA_LEVEL,
        .delivery = (uint8_t)DATA_DELIVERY(data),
        .vector = DATA_VECTOR(data),
    };
    return true;
}

static void send_message(struct msix *msix, unsigned vector)
{
    const struct msix_entry *entry = &msix->entry[vector];
    struct apic_message message;

    if (msi_decode((uint64_t)entry->address_high << 32 | entry->address_low, entry->data, &message))
        msix->send(msix->arg, &message);
}

static bool can_send(const struct msix *msix, unsigned vector)
{
    return msix->enabled && !msix->masked && msix->may_send &&
           !(msix->entry[vector].control & CONTROL_MASKED);
}

/* Something opened: whatever waited for it goes. */
static void send_pending(struct msix *msix)
{
    for (unsigned i = 0; i < msix->vectors; i++) {
        if (!(msix->pending >> i & 1) || !can_send(msix, i))
            continue;
        msix->pending &= ~(UINT64_C(1) << i);
        send_message(msix, i);
    }
}

void msix_notify(struct msix *msix, unsigned vector)
{
    invariant(vector < msix->vectors);
    if (can_send(msix, vector))
        send_message(msix, vector);
    else if (msix->enabled)
        msix->pending |= UINT64_C(1) << vector;
}

void msix_set_control(struct msix *msix, bool enabled, bool masked)
{
    msix->enabled = enabled;
    msix->masked = masked;
    if (!enabled)
        msix->pending = 0;
    send_pending(msix);
}

void msix_set_may_send(struct msix *msix, bool may_send)
{
    msix->may_send = may_send;
    send_pending(msix);
}

static uint64_t read_bytes(const void *from, size_t size, uint64_t offset, unsigned bytes)
{
    uint64_t value = 0;

    if (offset < size && bytes <= size - offset)
        memcpy(&value, (const uint8_t *)from + offset, bytes);
    return value;
}

uint64_t msix_table_read(const struct msix *msix, uint64_t offset, unsigned bytes)
{
    return read_bytes(msix->entry, msix->vectors * sizeof(msix->entry[0]), offset, bytes);
}

/* Only aligned dwords and qwords are defined (PCI 3.0 6.8.2): nothing else has an effect. */
void msix_table_write(struct msix *msix, uint64_t offset, unsigned bytes, uint64_t value)
{
    uint64_t vector = offset / MSIX_ENTRY_BYTES;

    if (vector >= msix->vectors || (bytes != 4 && bytes != 8) || offset % bytes)
        return;
    memcpy((uint8_t *)msix->entry + offset, &value, bytes);
    msix->entry[vector].control &= CONTROL_MASKED;
    send_pending(msix);
}

uint64_t msix_pba_read(const struct msix *msix, uint64_t offset, unsigned bytes)
{
    return read_bytes(&msix->pending, sizeof(msix->pending), offset, bytes);
}

void msix_reset(struct msix *msix)
{
    invariant(msix->vectors <= MSIX_VECTORS_MAX);
    memset(msix->entry, 0, sizeof(msix->entry));
    for (unsigned i = 0; i < MSIX_VECTORS_MAX; i++)
        msix->entry[i].control = CONTROL_MASKED;
    msix->pending = 0;
    msix->enabled = msix->masked = false;
}
