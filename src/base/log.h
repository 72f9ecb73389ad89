/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for the person at the terminal and for logs, on stderr: "umbra: [tag] text" in key=value
 * form. A message that a guest can cause goes through log_limited with a struct log_limit of its
 * owner.
 */
#ifndef UMBRA_BASE_LOG_H
#define UMBRA_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/*
 * At most `burst` messages in all; the last one says that more are dropped. Zero-initialised: burst
 * 8.
 */
struct log_limit {
    uint32_t burst;
    uint32_t used;
};

void log_set_level(enum log_level max);
void log_msg(enum log_level level, const char *tag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_limited(struct log_limit *limit, enum log_level level, const char *tag, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

#endif
