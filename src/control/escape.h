/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal's escape key: Ctrl-A X ends the VM, Ctrl-A H shows help, Ctrl-A Ctrl-A sends one
 * Ctrl-A.
 *
 *     PLAIN --Ctrl-A--> ESCAPED --x,h,Ctrl-A,anything--> PLAIN
 *
 * Pure: bytes in, bytes for the guest and an action out.
 */
#ifndef UMBRA_CONTROL_ESCAPE_H
#define UMBRA_CONTROL_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ESCAPE_KEY 0x01 /* Ctrl-A */

enum escape_action { ESCAPE_NONE, ESCAPE_QUIT, ESCAPE_HELP };

/* Zero-initialise. */
struct escape {
    bool escaped;
};

/*
 * Takes one byte from the terminal. `out` gets 0 to 2 bytes for the guest; *count says how many. An
 * unknown key after Ctrl-A passes both through.
 */
enum escape_action escape_feed(struct escape *e, uint8_t byte, uint8_t out[2], size_t *count);

#endif
