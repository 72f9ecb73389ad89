/* SPDX-License-Identifier: Apache-2.0 */
/* The view as text, for pipes and files: a block for each period; or a JSON object for each. */
#ifndef UMBRA_CONTROL_TOP_PLAIN_H
#define UMBRA_CONTROL_TOP_PLAIN_H

#include <stdio.h>

#include "control/top/model.h"

void top_plain_print(const struct top_model *model, FILE *out);

/* One line: vms and pools as umbra-top(1) says. A new reference; NULL: no memory. */
json_t *top_plain_json(const struct top_model *model);

#endif
