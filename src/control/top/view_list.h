/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the picture: the list of VMs, the panel of one VM, all that is known of one VM. */
#ifndef UMBRA_CONTROL_TOP_VIEW_LIST_H
#define UMBRA_CONTROL_TOP_VIEW_LIST_H

#include "control/top/model.h"
#include "control/top/screen.h"

/*
 * Draws titles and rows in `lines` lines from `line` on. *first: the row at the top, kept so that
 * the selected one is in sight. Answers how many rows are in sight.
 */
size_t view_list_draw(const struct screen *screen, const struct top_model *model, int line,
                      int lines, size_t *first);

/* How many lines view_panel_draw needs. */
int view_panel_lines(const struct top_model *model);
void view_panel_draw(const struct screen *screen, const struct top_model *model,
                     const struct top_row *row, int line);

/* umbra explain's sentences and the panel's, from line *scroll on (kept in bounds). */
void view_details_draw(const struct screen *screen, const struct top_model *model,
                       const struct top_row *row, int line, int lines, long *scroll);

#endif
