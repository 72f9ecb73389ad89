/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal: raw while the guest has it, and sane again whatever happens (end, signal,
 * suspension, a crash of ours).
 */
#ifndef UMBRA_CONTROL_TERMINAL_H
#define UMBRA_CONTROL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct terminal {
    bool is_in_tty, is_out_tty;
    bool raw;
    bool saw_escape; /* the guest sent control sequences: undo what they may have left */
    bool mid_line;   /* the last byte written was no line feed */
};

void terminal_init(struct terminal *t);

/*
 * Takes the terminal when standard input is one and we are in its foreground. True: input may be
 * read.
 */
bool terminal_take(struct terminal *t);

/* Gives it back as it was. Idempotent. */
void terminal_give_back(struct terminal *t);

/* Notes what the guest wrote, so that terminal_finish knows what to undo. */
void terminal_note_output(struct terminal *t, const uint8_t *bytes, size_t count);

/* At the end of a run: modes off that a guest may have left on, cursor at the start of a line. */
void terminal_finish(struct terminal *t);

#endif
