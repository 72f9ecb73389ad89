/* SPDX-License-Identifier: Apache-2.0 */
/* One `umbra` command a file; the explicit table of them is in commands.c. */
#ifndef UMBRA_CONTROL_CLI_COMMAND_H
#define UMBRA_CONTROL_CLI_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "control/options.h"
#include "control/status.h"

/*
 * run:   words after the command's name; answers the exit status
 * run NULL: announced, not built yet
 */
struct command {
    const char *name;
    const char *summary;
    int (*run)(int count, char *const *words);
};

extern const struct command commands[]; /* ends with a NULL name */

int command_run(int count, char *const *words);
int command_balloon(int count, char *const *words);
int command_compare(int count, char *const *words);
int command_host(int count, char *const *words);
int command_explain(int count, char *const *words);
int command_ps(int count, char *const *words);
int command_restart(int count, char *const *words);
int command_stat(int count, char *const *words);
int command_stop(int count, char *const *words);
int command_swap(int count, char *const *words);
int command_top(int count, char *const *words);
int command_trace(int count, char *const *words);
int command_walk(int count, char *const *words);

/* The whole program below main: finds the command and runs it. */
int cli_main(int argc, char *const *argv);

/* Prints "umbra: " and the newest error's text on stderr; answers the exit status for it. */
int cli_fail(enum err err);

/*
 * From now on Ctrl-C and the like make this descriptor readable instead of ending the program. -1
 * and errno: the host failed.
 */
int cli_signal_fd(void);

/* For commands that take one VM's name (and perhaps --json). */
struct cli_vm_words {
    const char *name;
    const char *file;
    bool json, audit;
};
extern const struct option_spec cli_json_options[];
enum err cli_take_vm(struct cli_vm_words *out, const struct option_spec *specs, int count,
                     char *const *words, bool *want_help) MUST_USE;

#endif
