/* SPDX-License-Identifier: Apache-2.0 */
#include "control/duration.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static double unit_seconds(const char *unit)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"min", 60}, {"h", 3600}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!strcmp(unit, units[i].name))
            return units[i].seconds;
    }
    return 0;
}

enum err duration_parse(const char *text, uint64_t *ns)
{
    /* strtod alone would take inf, nan, signs and hexadecimal numbers, too */
    size_t digits = strspn(text, "0123456789.");
    char *end = NULL;
    double value = isdigit((unsigned char)text[0]) ? strtod(text, &end) : 0;
    double unit = end == text + digits ? unit_seconds(end) : 0;

    if (unit == 0)
        return err_new(ERR_INVAL, "'%.40s' is not a time; write seconds, or 500ms, 10s, 2m", text);
    value *= unit * 1e9;
    if (value < 1 || value > (double)DURATION_MAX_NS)
        return err_new(ERR_INVAL, "'%.40s' is not a time between 1ms and 24h", text);
    *ns = (uint64_t)value;
    return ERR_OK;
}
