/* SPDX-License-Identifier: Apache-2.0 */
/* One wire from a chip to whatever listens to it: a level, and a pin number for the listener. */
#ifndef UMBRA_MACHINE_IRQ_H
#define UMBRA_MACHINE_IRQ_H

#include <stdbool.h>
#include <stddef.h>

struct irq_line {
    void (*set)(void *arg, unsigned pin, bool level);
    void *arg;
    unsigned pin;
};

static inline void irq_raise(const struct irq_line *line)
{
    if (line->set)
        line->set(line->arg, line->pin, true);
}

static inline void irq_lower(const struct irq_line *line)
{
    if (line->set)
        line->set(line->arg, line->pin, false);
}

static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->set)
        line->set(line->arg, line->pin, level);
}

/* For edge-triggered inputs: a rising edge whatever the level was; stays high. */
static inline void irq_pulse(const struct irq_line *line)
{
    irq_lower(line);
    irq_raise(line);
}

#endif
