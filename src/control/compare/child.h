/* SPDX-License-Identifier: Apache-2.0 */
/* One `umbra run` as a child: its console on two pipes, its messages in a file. */
#ifndef UMBRA_CONTROL_COMPARE_CHILD_H
#define UMBRA_CONTROL_COMPARE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* keys: to its console;  console: from it, -1 when that has ended */
struct child {
    pid_t pid;
    int keys, console;
    char line[1024];
    size_t line_bytes;
    bool line_is_long;
};

/*
 * words: what follows the program's name, ends with NULL;  messages: a file for its stderr. The
 * child ends when this process does, however that happens.
 */
enum err child_start(struct child *child, const char *const *words, const char *messages) MUST_USE;

void child_press(struct child *child, char key);

/* Reads what the console has; calls `take` for each whole line, without its end. */
void child_read(struct child *child, void (*take)(void *arg, char *line), void *arg);

/* Waits up to `seconds`, then asks it to end, then kills it. Everything is closed after that. */
void child_end(struct child *child, unsigned seconds);

#endif
