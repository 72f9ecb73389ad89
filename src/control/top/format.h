/* SPDX-License-Identifier: Apache-2.0 */
/* Figures as the view writes them, short enough for a column; and a bar of page states. Pure. */
#ifndef UMBRA_CONTROL_TOP_FORMAT_H
#define UMBRA_CONTROL_TOP_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "mem/mem.h"

/* Each writes at most 15 characters into buf, which holds 16 or more, and returns it. */
const char *top_format_rate(char *buf, size_t buf_bytes, double per_second); /* 0 0.3 42 12k 1.5M */
const char *top_format_part(char *buf, size_t buf_bytes, double part);       /* 0 % 0.4 % 12 % */
const char *top_format_ns(char *buf, size_t buf_bytes, uint64_t ns); /* 850 ns 8.2 us 1.3 ms */

/* What costs the host most comes first. */
extern const enum page_state top_bar_order[PAGE_STATES];

/* A state's letter where there are no colours. */
char top_bar_letter(enum page_state state);

#define TOP_BAR_MAX 512u

/*
 * Shares `width` (at most TOP_BAR_MAX) cells out to the states, by their pages: the cells of all
 * add up to the width, none is off by a whole cell but for those of states too small for one, which
 * get one while there is room. Without any page all cells are absent.
 */
void top_bar_share(const uint64_t pages[PAGE_STATES], unsigned width, unsigned cells[PAGE_STATES]);

#endif
