/* SPDX-License-Identifier: Apache-2.0 */
/* umbra top: asks each period, shows what has come, on a terminal or as text. */
#ifndef UMBRA_CONTROL_TOP_TOP_H
#define UMBRA_CONTROL_TOP_TOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum top_form { TOP_FORM_SCREEN, TOP_FORM_TEXT, TOP_FORM_JSON };

/*
 * period_ns: between two looks;  count: of periods shown, 0: until it is ended
 */
struct top_config {
    enum top_form form;
    uint64_t period_ns, count;
};

/*
 * Keys, Ctrl-C and the like end a screen well; text ends by them as any program does. A screen that
 * cannot be had becomes one block of text. ERR_IO: output or the folder of sockets failed.
 */
enum err top_run(const struct top_config *config) MUST_USE;

#endif
