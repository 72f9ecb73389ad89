/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/json_stream.h"

#include <stdlib.h>

static void start_afresh(struct json_stream *s)
{
    s->used = 0;
    s->depth = 0;
    s->in_string = s->after_backslash = false;
}

static enum json_stream_answer bad(struct json_stream *s, const char **why, const char *text)
{
    start_afresh(s);
    s->skipping = true;
    *why = text;
    return JSON_STREAM_BAD;
}

static bool append(struct json_stream *s, char byte)
{
    if (s->used == s->size) {
        size_t size = s->size ? s->size * 2 : 256;
        char *bytes = realloc(s->bytes, size);

        if (!bytes)
            return false;
        s->bytes = bytes;
        s->size = size;
    }
    s->bytes[s->used++] = byte;
    return true;
}

/* True when `byte` closed the outermost bracket. */
static bool track(struct json_stream *s, char byte)
{
    if (s->in_string) {
        if (s->after_backslash)
            s->after_backslash = false;
        else if (byte == '\\')
            s->after_backslash = true;
        else if (byte == '"')
            s->in_string = false;
        return false;
    }
    switch (byte) {
    case '"':
        s->in_string = true;
        return false;
    case '{':
    case '[':
        s->depth++;
        return false;
    case '}':
    case ']':
        return --s->depth == 0;
    default:
        return false;
    }
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum json_stream_answer json_stream_feed(struct json_stream *s, char byte, json_t **value,
                                         const char **why)
{
    unsigned char c = (unsigned char)byte;
    json_error_t error;

    if ((c < 0x20 && !is_space(c)) || c == 0xff) {
        bool was_busy = s->used != 0;

        start_afresh(s);
        s->skipping = false;
        if (!was_busy)
            return JSON_STREAM_MORE;
        *why = "JSON parse error, a control character ended the value";
        return JSON_STREAM_BAD;
    }
    if (s->skipping) {
        if (c == '\n')
            s->skipping = false;
        return JSON_STREAM_MORE;
    }
    if (!s->used && is_space(c))
        return JSON_STREAM_MORE;
    if (!s->used && c != '{' && c != '[')
        return bad(s, why, "JSON parse error, expecting an object");
    if (s->used >= JSON_STREAM_MAX_BYTES)
        return bad(s, why, "JSON parse error, the value is too long");
    if (!append(s, byte))
        return bad(s, why, "JSON parse error, no memory");
    if (!track(s, byte))
        return s->depth > JSON_STREAM_MAX_DEPTH ? bad(s, why, "JSON parse error, nested too deeply")
                                                : JSON_STREAM_MORE;
    *value = json_loadb(s->bytes, s->used, JSON_REJECT_DUPLICATES, &error);
    start_afresh(s);
    if (*value)
        return JSON_STREAM_VALUE;
    *why = "JSON parse error, the value is malformed";
    return JSON_STREAM_BAD;
}

void json_stream_fini(struct json_stream *s)
{
    free(s->bytes);
    *s = (struct json_stream){0};
}
