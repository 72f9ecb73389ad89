/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exit statuses of every umbra command: a contract that scripts rely on.
 * With --debug-exit a guest chooses the status itself: (value << 1) | 1.
 */
#ifndef UMBRA_CONTROL_STATUS_H
#define UMBRA_CONTROL_STATUS_H

#include "base/err.h"

enum status {
    STATUS_OK = 0,
    STATUS_NOT_REACHED = 1, /* balloon, swap: not so much in that time */
    STATUS_USAGE = 2,       /* the command line, a file or a setting cannot be used */
    STATUS_GUEST_CRASH = 3, /* triple fault, or halted for ever with interrupts off */
    STATUS_HOST = 4,        /* the host failed */
};

static inline enum status status_of_err(enum err err)
{
    switch (err) {
    case ERR_OK:
        return STATUS_OK;
    case ERR_INVAL:
    case ERR_NOTFOUND:
    case ERR_BUSY:
    case ERR_UNSUPPORTED:
        return STATUS_USAGE;
    case ERR_NOMEM:
    case ERR_IO:
    case ERR_INTERNAL:
        break;
    }
    return STATUS_HOST;
}

#endif
