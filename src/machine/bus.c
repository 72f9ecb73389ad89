/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/bus.h"

#include "base/invariant.h"

void bus_add_ports(struct bus *bus, const struct bus_ports *ports)
{
    invariant(bus->port_ranges < BUS_MAX_PORT_RANGES && ports->first <= ports->last);
    bus->ports[bus->port_ranges++] = *ports;
    for (unsigned port = ports->first; port <= ports->last; port++) {
        invariant(!bus->owner[port]);
        bus->owner[port] = (uint8_t)bus->port_ranges;
    }
}

void bus_add_mmio(struct bus *bus, const struct bus_mmio *mmio)
{
    invariant(bus->mmio_ranges < BUS_MAX_MMIO_RANGES && mmio->bytes);
    for (size_t i = 0; i < bus->mmio_ranges; i++) {
        const struct bus_mmio *other = &bus->mmio[i];

        invariant(mmio->base >= other->base + other->bytes ||
                  other->base >= mmio->base + mmio->bytes);
    }
    bus->mmio[bus->mmio_ranges++] = *mmio;
}

static const struct bus_ports *owner_of_port(const struct bus *bus, uint16_t port)
{
    unsigned owner = bus->owner[port];

    return owner ? &bus->ports[owner - 1] : NULL;
}

static bool takes_whole(const struct bus_ports *ports, uint16_t port, unsigned bytes)
{
    return bytes <= ports->widest && port + bytes - 1u <= ports->last;
}

uint32_t bus_port_in(struct bus *bus, uint16_t port, unsigned bytes)
{
    const struct bus_ports *ports = owner_of_port(bus, port);
    uint32_t value = 0;

    if (ports && takes_whole(ports, port, bytes))
        return ports->in(ports->arg, port, bytes);
    for (unsigned i = 0; i < bytes; i++) {
        uint16_t at = (uint16_t)(port + i);

        ports = owner_of_port(bus, at);
        value |= (ports ? ports->in(ports->arg, at, 1) & 0xff : 0xff) << (8 * i);
    }
    return value;
}

void bus_port_out(struct bus *bus, uint16_t port, unsigned bytes, uint32_t value)
{
    const struct bus_ports *ports = owner_of_port(bus, port);

    if (ports && takes_whole(ports, port, bytes)) {
        ports->out(ports->arg, port, bytes, value);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        uint16_t at = (uint16_t)(port + i);

        ports = owner_of_port(bus, at);
        if (ports)
            ports->out(ports->arg, at, 1, value >> (8 * i) & 0xff);
    }
}

static const struct bus_mmio *owner_of_address(const struct bus *bus, uint64_t gpa, unsigned bytes)
{
    for (size_t i = 0; i < bus->mmio_ranges; i++) {
        const struct bus_mmio *mmio = &bus->mmio[i];

        if (gpa >= mmio->base && gpa - mmio->base <= mmio->bytes - bytes)
            return mmio;
    }
    return NULL;
}

uint64_t bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned bytes)
{
    const struct bus_mmio *mmio = owner_of_address(bus, gpa, bytes);

    return mmio ? mmio->read(mmio->arg, gpa - mmio->base, bytes) : UINT64_MAX;
}

void bus_mmio_write(struct bus *bus, uint64_t gpa, unsigned bytes, uint64_t value)
{
    const struct bus_mmio *mmio = owner_of_address(bus, gpa, bytes);

    if (mmio)
        mmio->write(mmio->arg, gpa - mmio->base, bytes, value);
}
