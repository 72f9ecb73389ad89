/* SPDX-License-Identifier: Apache-2.0 */
#include "control/size.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int suffix_shift(char c)
{
    static const char letters[] = "KMGT";
    const char *at = c ? strchr(letters, toupper((unsigned char)c)) : NULL;

    return at ? 10 * (int)(at - letters + 1) : -1;
}

enum err size_parse(const char *text, uint64_t *bytes)
{
    uint64_t value = 0;
    int shift = 0;
    const char *p = text;

    if (!isdigit((unsigned char)*p))
        return err_new(ERR_INVAL,
                       "'%s' is not a size; write a number with K, M, G or T, as in 512M", text);
    for (; isdigit((unsigned char)*p); p++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return err_new(ERR_INVAL, "'%s' is larger than any address", text);
    }
    if (*p) {
        shift = suffix_shift(*p);
        if (shift < 0 || (p[1] && strcasecmp(p + 1, "B") && strcasecmp(p + 1, "iB")))
            return err_new(ERR_INVAL,
                           "'%s' is not a size; write a number with K, M, G or T, as in 512M",
                           text);
    }
    if (value > (UINT64_MAX >> shift))
        return err_new(ERR_INVAL, "'%s' is larger than any address", text);
    *bytes = value << shift;
    return ERR_OK;
}

const char *size_format(char *buf, size_t buf_bytes, uint64_t bytes)
{
    static const char letters[] = {'K', 'M', 'G', 'T'};
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1024.0 && unit < 3) {
        value /= 1024.0;
        unit++;
    }
    if (unit < 0)
        snprintf(buf, buf_bytes, "%u", (unsigned)bytes);
    else if (value >= 100.0 || value == (double)(uint64_t)value)
        snprintf(buf, buf_bytes, "%.0f%c", value, letters[unit]);
    else
        snprintf(buf, buf_bytes, "%.1f%c", value, letters[unit]);
    return buf;
}
