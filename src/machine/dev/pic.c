/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/dev/pic.h"

#include "base/invariant.h"

enum { MASTER, SLAVE };

#define CASCADE_INPUT  2
#define SPURIOUS_INPUT 7
#define NONE           8

#define ICW1_MARK   0x10
#define ICW1_IC4    0x01
#define ICW1_SINGLE 0x02
#define ICW4_AEOI   0x02
#define ICW4_SFNM   0x10
#define OCW3_MARK   0x08

/* IRQs 0, 1, 2, 8 and 13 are edge-triggered for ever. */
#define ELCR_MASTER_WRITABLE 0xf8
#define ELCR_SLAVE_WRITABLE  0xde

/* Rank of the highest-priority set bit, 0 the most urgent, NONE when no bit is set. */
static unsigned best_rank(const struct pic_half *half, uint8_t bits)
{
    for (unsigned rank = 0; rank < 8; rank++)
        if (bits & 1u << ((half->lowest + 1u + rank) & 7))
            return rank;
    return NONE;
}

static unsigned input_of_rank(const struct pic_half *half, unsigned rank)
{
    return (half->lowest + 1u + rank) & 7;
}

/* The input that asks for service now, or NONE. */
static unsigned pending_input(const struct pic *pic, unsigned which)
{
    const struct pic_half *half = &pic->half[which];
    unsigned asking = best_rank(half, half->irr & (uint8_t)~half->imr);
    uint8_t serving = half->isr;

    if (asking == NONE || half->expect)
        return NONE;
    if (half->special_mask)
        serving &= (uint8_t)~half->imr;
    if (half->special_nested && which == MASTER)
        serving &= (uint8_t) ~(1u << CASCADE_INPUT);
    return asking < best_rank(half, serving) ? input_of_rank(half, asking) : NONE;
}

static void half_set_line(struct pic_half *half, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (half->elcr & bit) {
        half->irr = level ? half->irr | bit : half->irr & (uint8_t)~bit;
    } else if (level && !(half->lines & bit)) {
        half->irr |= bit;
    }
    half->lines = level ? half->lines | bit : half->lines & (uint8_t)~bit;
}

static void update(struct pic *pic)
{
    bool level;

    half_set_line(&pic->half[MASTER], CASCADE_INPUT, pending_input(pic, SLAVE) != NONE);
    level = pending_input(pic, MASTER) != NONE;
    if (level != pic->intr_level) {
        pic->intr_level = level;
        irq_set(&pic->intr, level);
    }
}

void pic_set_irq(struct pic *pic, unsigned irq, bool level)
{
    invariant(irq < 16 && irq != CASCADE_INPUT);
    half_set_line(&pic->half[irq / 8], irq % 8, level);
    update(pic);
}

bool pic_has_interrupt(const struct pic *pic)
{
    return pic->intr_level;
}

static void half_ack(struct pic_half *half, unsigned input)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (!half->auto_eoi)
        half->isr |= bit;
    else if (half->rotate_on_aeoi)
        half->lowest = (uint8_t)input;
    if (!(half->elcr & bit))
        half->irr &= (uint8_t)~bit;
}

/* The slave's part of an INTA cycle. */
static uint8_t slave_ack(struct pic *pic)
{
    struct pic_half *slave = &pic->half[SLAVE];
    unsigned input = pending_input(pic, SLAVE);

    if (input == NONE)
        input = SPURIOUS_INPUT;
    else
        half_ack(slave, input);
    return (uint8_t)(slave->vector_base + input);
}

uint8_t pic_ack(struct pic *pic)
{
    struct pic_half *master = &pic->half[MASTER];
    unsigned input = pending_input(pic, MASTER);
    uint8_t vector;

    if (input == NONE) {
        vector = master->vector_base + SPURIOUS_INPUT;
    } else {
        half_ack(master, input);
        vector = input == CASCADE_INPUT ? slave_ack(pic) : (uint8_t)(master->vector_base + input);
    }
    /*
     * The cascade input is an edge to the master: the slave drops it during INTA and may raise it
     * again.
     */
    half_set_line(master, CASCADE_INPUT, false);
    update(pic);
    return vector;
}

static void write_icw1(struct pic_half *half, uint8_t value)
{
    half->irr = half->lines & half->elcr;
    half->imr = 0;
    half->isr = 0;
    half->lowest = 7;
    half->special_mask = false;
    half->read_isr = false;
    half->poll = false;
    half->auto_eoi = false;
    half->special_nested = false;
    half->rotate_on_aeoi = false;
    half->single = value & ICW1_SINGLE;
    half->needs_icw4 = value & ICW1_IC4;
    half->expect = 2;
}

static void write_next_icw(struct pic_half *half, uint8_t value)
{
    switch (half->expect) {
    case 2:
        half->vector_base = value & 0xf8;
        half->expect = !half->single ? 3 : half->needs_icw4 ? 4 : 0;
        break;
    case 3: /* the cascade is wired; its description is not needed */
        half->expect = half->needs_icw4 ? 4 : 0;
        break;
    default:
        half->auto_eoi = value & ICW4_AEOI;
        half->special_nested = value & ICW4_SFNM;
        half->expect = 0;
        break;
    }
}

/* OCW2: bits 7..5 are rotate, specific, EOI. */
static void write_ocw2(struct pic_half *half, uint8_t value)
{
    unsigned level = value & 7;
    unsigned rank;

    switch (value >> 5) {
    case 0:
    case 4:
        half->rotate_on_aeoi = value >> 5 == 4;
        break;
    case 1:
    case 5:
        rank = best_rank(half, half->isr);
        if (rank == NONE)
            break;
        level = input_of_rank(half, rank);
        half->isr &= (uint8_t) ~(1u << level);
        if (value >> 5 == 5)
            half->lowest = (uint8_t)level;
        break;
    case 3:
    case 7:
        half->isr &= (uint8_t) ~(1u << level);
        if (value >> 5 == 7)
            half->lowest = (uint8_t)level;
        break;
    case 6:
        half->lowest = (uint8_t)level;
        break;
    default:
        break;
    }
}

static void write_ocw3(struct pic_half *half, uint8_t value)
{
    if (value & 0x04)
        half->poll = true;
    if (value & 0x02)
        half->read_isr = value & 0x01;
    if (value & 0x40)
        half->special_mask = value & 0x20;
}

void pic_out(void *arg, uint16_t port, unsigned bytes, uint32_t value32)
{
    struct pic *pic = arg;
    struct pic_half *half = &pic->half[port >= 0xa0 ? SLAVE : MASTER];
    uint8_t value = (uint8_t)value32;

    (void)bytes;
    if (port & 1) {
        if (half->expect)
            write_next_icw(half, value);
        else
            half->imr = value;
    } else if (value & ICW1_MARK) {
        write_icw1(half, value);
    } else if (value & OCW3_MARK) {
        write_ocw3(half, value);
    } else {
        write_ocw2(half, value);
    }
    update(pic);
}

/* A read after the poll command is an INTA: bit 7 and the input's number. */
static uint8_t poll_read(struct pic *pic, unsigned which)
{
    unsigned input = pending_input(pic, which);

    pic->half[which].poll = false;
    if (input == NONE)
        return 0;
    half_ack(&pic->half[which], input);
    if (which == SLAVE)
        half_set_line(&pic->half[MASTER], CASCADE_INPUT, false);
    update(pic);
    return (uint8_t)(0x80 | input);
}

uint32_t pic_in(void *arg, uint16_t port, unsigned bytes)
{
    struct pic *pic = arg;
    unsigned which = port >= 0xa0 ? SLAVE : MASTER;
    struct pic_half *half = &pic->half[which];

    (void)bytes;
    if (half->poll)
        return poll_read(pic, which);
    if (port & 1)
        return half->imr;
    return half->read_isr ? half->isr : half->irr;
}

uint32_t pic_elcr_in(void *arg, uint16_t port, unsigned bytes)
{
    struct pic *pic = arg;

    (void)bytes;
    return pic->half[port & 1].elcr;
}

void pic_elcr_out(void *arg, uint16_t port, unsigned bytes, uint32_t value)
{
    struct pic *pic = arg;
    struct pic_half *half = &pic->half[port & 1];

    (void)bytes;
    half->elcr = (uint8_t)value & half->elcr_writable;
}

void pic_reset(struct pic *pic)
{
    for (unsigned i = 0; i < 2; i++) {
        struct pic_half *half = &pic->half[i];

        *half = (struct pic_half){
            .lines = half->lines,
            .lowest = 7,
            .imr = 0xff,
            .elcr_writable = i == MASTER ? ELCR_MASTER_WRITABLE : ELCR_SLAVE_WRITABLE,
        };
    }
    update(pic);
}
