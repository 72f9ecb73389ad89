/* SPDX-License-Identifier: Apache-2.0 */
#include "base/invariant.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void invariant_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "umbra: [bug] %s:%d: does not hold: %s\n", file, line, what);
    abort();
}
