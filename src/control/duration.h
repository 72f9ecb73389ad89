/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people write them: 10, 10s, 500ms, 2m, 1.5s. Without a unit: seconds. */
#ifndef UMBRA_CONTROL_DURATION_H
#define UMBRA_CONTROL_DURATION_H

#include <stdint.h>

#include "base/err.h"

#define DURATION_MAX_NS UINT64_C(86400000000000)

/* More than 0 and at most a day. ERR_INVAL says what is wrong. */
enum err duration_parse(const char *text, uint64_t *ns) MUST_USE;

#endif
