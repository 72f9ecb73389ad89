/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command-line options of one command as a table: the same rows parse, print --help and suggest on
 * a typo.
 */
#ifndef UMBRA_CONTROL_OPTIONS_H
#define UMBRA_CONTROL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

/*
 * name:  without the dashes (of which an option of one letter has one); the table ends with a NULL
 *        name
 * value: what --help calls the value; NULL: a flag
 * help:  one line
 */
struct option_spec {
    const char *name;
    const char *value;
    const char *help;
};

/*
 * set:        called for each option met; `value` NULL for flags
 * positional: called for each other word; NULL: the command takes none
 */
struct option_sink {
    void *arg;
    enum err (*set)(void *arg, const struct option_spec *spec, const char *value);
    enum err (*positional)(void *arg, const char *word);
};

/*
 * Parses words[0..count-1] (without the command's own name). *want_help is set on --help or -h, and
 * parsing stops there. ERR_INVAL with one line for an unknown option, a missing or an unexpected
 * value. A word that is an option of the table is no value of another; --name=value takes anything.
 */
enum err options_parse(const struct option_spec *specs, int count, char *const *words,
                       const struct option_sink *sink, bool *want_help) MUST_USE;

/* The table as the options part of a help text. */
void options_print(const struct option_spec *specs, FILE *out);

/* Number of edits between two words: insertions, deletions, replacements, neighbours swapped. */
unsigned options_distance(const char *a, const char *b);

/* True when `word` is close enough to `candidate` to be a typo of it. */
bool options_is_typo_of(const char *word, const char *candidate);

#endif
