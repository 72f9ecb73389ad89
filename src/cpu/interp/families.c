/* SPDX-License-Identifier: Apache-2.0 */
/* The list of instruction families. The first that knows the mnemonic builds the uop. */
#include "cpu/interp/decode.h"

static build_fn *const families[] = {
    build_integer,
    build_system,
    build_fp,
};

bool families_build(struct dec *d, struct uop *u)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (families[i](d, u))
            return true;
    return false;
}
