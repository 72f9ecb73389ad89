/* SPDX-License-Identifier: Apache-2.0 */
#include "control/escape.h"

enum escape_action escape_feed(struct escape *e, uint8_t byte, uint8_t out[2], size_t *count)
{
    *count = 0;
    if (!e->escaped) {
        if (byte == ESCAPE_KEY) {
            e->escaped = true;
        } else {
            out[(*count)++] = byte;
        }
        return ESCAPE_NONE;
    }
    e->escaped = false;
    switch (byte) {
    case 'x':
    case 'X':
        return ESCAPE_QUIT;
    case 'h':
    case 'H':
    case '?':
        return ESCAPE_HELP;
    case ESCAPE_KEY:
        out[(*count)++] = ESCAPE_KEY;
        return ESCAPE_NONE;
    default:
        out[(*count)++] = ESCAPE_KEY;
        out[(*count)++] = byte;
        return ESCAPE_NONE;
    }
}
