/* SPDX-License-Identifier: Apache-2.0 */
/* The list of engines. */
#include "cpu/engine.h"

#include <string.h>

#include "cpu/interp/interp.h"
#include "cpu/translate/translate.h"

const struct engine_ops *const engines[] = {
    &engine_translate,
    &engine_interp,
    NULL,
};

const struct engine_ops *engine_find(const char *name)
{
    bool any = strcmp(name, "auto") == 0;
    const char *why = "";

    for (size_t i = 0; engines[i]; i++) {
        if (!any && strcmp(name, engines[i]->name) != 0)
            continue;
        if (engines[i]->is_available(&why))
            return engines[i];
        if (!any) {
            (void)!err_new(ERR_UNSUPPORTED, "engine %s does not work on this host: %s", name, why);
            return NULL;
        }
    }
    (void)!err_new(ERR_INVAL, "no engine \"%s\"; this build has: auto, interp, translate", name);
    return NULL;
}
