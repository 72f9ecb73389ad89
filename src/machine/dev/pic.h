/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two cascaded 8259A interrupt controllers of a PC (Intel 8259A data sheet) with the edge/level
 * control registers 0x4d0/0x4d1. Inputs 0..15 are the ISA IRQs; input 2 of the master is the slave.
 */
#ifndef UMBRA_MACHINE_DEV_PIC_H
#define UMBRA_MACHINE_DEV_PIC_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/irq.h"

struct pic_half {
    uint8_t irr, imr, isr, lines;
    uint8_t elcr, elcr_writable;
    uint8_t vector_base;
    uint8_t lowest; /* the input of lowest priority, 7 at first */
    uint8_t expect; /* next initialisation word: 2, 3, 4; 0: none */
    bool single, needs_icw4, auto_eoi, rotate_on_aeoi, special_nested, special_mask;
    bool read_isr, poll;
};

struct pic {
    struct pic_half half[2]; /* master, slave */
    struct irq_line intr;    /* the INTR output of the master */
    bool intr_level;
};

void pic_reset(struct pic *pic);
void pic_set_irq(struct pic *pic, unsigned irq, bool level);

/* Is INTR high? */
bool pic_has_interrupt(const struct pic *pic);

/* INTA: the vector; a spurious one (IRQ 7 or 15) when the request has gone. */
uint8_t pic_ack(struct pic *pic);

/* Ports 0x20/0x21, 0xa0/0xa1, and 0x4d0/0x4d1. */
uint32_t pic_in(void *arg, uint16_t port, unsigned bytes);
void pic_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);
uint32_t pic_elcr_in(void *arg, uint16_t port, unsigned bytes);
void pic_elcr_out(void *arg, uint16_t port, unsigned bytes, uint32_t value);

#endif
