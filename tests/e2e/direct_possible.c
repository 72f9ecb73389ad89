/* SPDX-License-Identifier: Apache-2.0 */
/* Whether user code can run directly on this host: status 0, or 1 and why not. */
#include <stdio.h>

#include "cpu/direct/stub.h"
#include "cpu/engine.h"

int main(void)
{
    const char *why = "no translate engine";

    if (engine_find("translate") && stub_is_possible(&why))
        return 0;
    printf("%s\n", why);
    return 1;
}
