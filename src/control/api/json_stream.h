/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a stream of bytes into JSON values without waiting for line ends (QMP's clients need not
 * send any). Only brackets and strings are understood here; jansson judges each whole value.
 *
 * Bounded: JSON_STREAM_MAX_BYTES a value, JSON_STREAM_MAX_DEPTH levels. A control character other
 * than tab, CR and LF starts afresh, as QEMU's qmp-spec says.
 */
#ifndef UMBRA_CONTROL_API_JSON_STREAM_H
#define UMBRA_CONTROL_API_JSON_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define JSON_STREAM_MAX_BYTES (64u * 1024)
#define JSON_STREAM_MAX_DEPTH 64u

enum json_stream_answer {
    JSON_STREAM_MORE,  /* feed the next byte */
    JSON_STREAM_VALUE, /* *value is a new reference */
    JSON_STREAM_BAD    /* *why says what; the stream has started afresh */
};

/* Zero-initialise; json_stream_fini frees the buffer. */
struct json_stream {
    char *bytes;
    size_t used, size;
    unsigned depth;
    bool in_string, after_backslash, skipping;
};

enum json_stream_answer json_stream_feed(struct json_stream *s, char byte, json_t **value,
                                         const char **why);
void json_stream_fini(struct json_stream *s);

#endif
