/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERR_TEXT_BYTES 512

/*
 * An error belongs to the thread that met it, not to a VM: it is read before anything else fails
 * there.
 */
static _Thread_local char text[ERR_TEXT_BYTES];
static _Thread_local char origin[96];

void err_set(const char *file, int line, int with_errno, const char *fmt, ...)
{
    int saved = errno;
    char fresh[ERR_TEXT_BYTES]; /* the arguments may point at the old text */
    va_list args;

    va_start(args, fmt);
    int used = vsnprintf(fresh, sizeof fresh, fmt, args);
    va_end(args);
    if (used < 0)
        used = 0;
    if (with_errno && (size_t)used < sizeof fresh) {
        char buf[128];
        snprintf(fresh + used, sizeof fresh - (size_t)used, ": %s",
                 strerror_r(saved, buf, sizeof buf));
    }
    memcpy(text, fresh, sizeof text);

    const char *base = strrchr(file, '/');
    snprintf(origin, sizeof origin, "%s:%d", base ? base + 1 : file, line);
    errno = saved;
}

const char *err_text(void)
{
    return text;
}

const char *err_origin(void)
{
    return origin;
}
