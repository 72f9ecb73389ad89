/* SPDX-License-Identifier: Apache-2.0 */
/* The view on a terminal: draws the model, turns keys into what to do. */
#ifndef UMBRA_CONTROL_TOP_VIEW_H
#define UMBRA_CONTROL_TOP_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "control/top/model.h"

struct view;

/* False: standard output is no terminal that can place characters. */
bool view_is_possible(void);

/* NULL: no memory, or the terminal refuses. The model is borrowed. */
struct view *view_create(struct top_model *model, uint64_t period_ns);

/* The terminal is as it was before. */
void view_destroy(struct view *view);

void view_draw(struct view *view);

/* The terminal has another size now. */
void view_resize(struct view *view);

/* All keys that wait. False: the user wants to end, or the terminal is gone. */
bool view_take_keys(struct view *view);

/* The user wants the picture to stand still. */
bool view_is_paused(const struct view *view);

#endif
