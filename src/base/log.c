/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#define LOG_BURST_DEFAULT 8

/* The one verbosity of the process: stderr is shared by all VMs in it. */
static atomic_int level_max = LOG_INFO;

void log_set_level(enum log_level max)
{
    atomic_store_explicit(&level_max, (int)max, memory_order_relaxed);
}

/* One write per message, so that messages of several threads do not mix. */
static void emit(enum log_level level, const char *tag, const char *suffix, const char *fmt,
                 va_list args) __attribute__((format(printf, 4, 0)));
static void emit(enum log_level level, const char *tag, const char *suffix, const char *fmt,
                 va_list args)
{
    char text[1024];

    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
        return;
    vsnprintf(text, sizeof text, fmt, args);
    fprintf(stderr, "umbra: [%s] %s%s\n", tag, text, suffix);
}

void log_msg(enum log_level level, const char *tag, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    emit(level, tag, "", fmt, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *tag, const char *fmt,
                 ...)
{
    uint32_t burst = limit->burst ? limit->burst : LOG_BURST_DEFAULT;
    va_list args;

    if (limit->used >= burst)
        return;
    limit->used++;
    va_start(args, fmt);
    emit(level, tag, limit->used == burst ? " (further messages of this kind are dropped)" : "",
         fmt, args);
    va_end(args);
}
