/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a port or a guest physical address to the chip that owns it.
 *
 * A chip claims ranges and says how wide an access it takes; a wider or half-outside one is cut
 * into bytes, each going to its owner, as an ISA bus does. What nobody owns reads as all ones and
 * swallows writes. Invariant: claimed ranges do not overlap (a second claim of a port is our bug).
 */
#ifndef UMBRA_MACHINE_BUS_H
#define UMBRA_MACHINE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_MAX_PORT_RANGES 32
#define BUS_MAX_MMIO_RANGES 16

/* first, last: ports; widest: 1, 2 or 4 bytes. The chip sees the port's number. */
struct bus_ports {
    uint16_t first, last;
    unsigned widest;
    void *arg;
    uint32_t (*in)(void *arg, uint16_t port, unsigned bytes);
    void (*out)(void *arg, uint16_t port, unsigned bytes, uint32_t value);
};

/* The chip sees the offset from base; an access never leaves the range. */
struct bus_mmio {
    uint64_t base, bytes;
    void *arg;
    uint64_t (*read)(void *arg, uint64_t offset, unsigned bytes);
    void (*write)(void *arg, uint64_t offset, unsigned bytes, uint64_t value);
};

struct bus {
    size_t port_ranges, mmio_ranges;
    struct bus_ports ports[BUS_MAX_PORT_RANGES];
    struct bus_mmio mmio[BUS_MAX_MMIO_RANGES];
    uint8_t owner[65536]; /* index into ports + 1; 0: nobody */
};

void bus_add_ports(struct bus *bus, const struct bus_ports *ports);
void bus_add_mmio(struct bus *bus, const struct bus_mmio *mmio);

uint32_t bus_port_in(struct bus *bus, uint16_t port, unsigned bytes);
void bus_port_out(struct bus *bus, uint16_t port, unsigned bytes, uint32_t value);
uint64_t bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned bytes);
void bus_mmio_write(struct bus *bus, uint64_t gpa, unsigned bytes, uint64_t value);

#endif
