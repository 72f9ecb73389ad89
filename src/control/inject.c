/* SPDX-License-Identifier: Apache-2.0 */
#include "control/inject.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum aio_op op;
} ops[] = {
    {"read", AIO_READ},   {"write", AIO_WRITE}, {"sync", AIO_SYNC},
    {"punch", AIO_PUNCH}, {"zero", AIO_ZERO},
};

static const struct {
    const char *name;
    int error;
} errors[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"ENOMEM", ENOMEM}, {"EROFS", EROFS},
};

static bool take_op(const char *word, size_t length, enum aio_op *op)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strlen(ops[i].name) == length && !memcmp(ops[i].name, word, length)) {
            *op = ops[i].op;
            return true;
        }
    }
    return false;
}

static bool take_error(const char *word, size_t length, int *error)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strlen(errors[i].name) == length && !memcmp(errors[i].name, word, length)) {
            *error = errors[i].error;
            return true;
        }
    }
    return false;
}

static bool take_number(const char **at, uint64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)**at))
        return false;
    errno = 0;
    *out = strtoull(*at, &end, 10);
    *at = end;
    return !errno;
}

/* "N", "N-M" or "N-" up to `end`. */
static bool take_range(const char *at, const char *end, struct aio_fault *fault)
{
    if (!take_number(&at, &fault->first) || !fault->first)
        return false;
    fault->last = fault->first;
    if (at < end && *at == '-') {
        at++;
        fault->last = UINT64_MAX;
        if (at < end && !take_number(&at, &fault->last))
            return false;
    }
    return at == end && fault->last >= fault->first;
}

static struct inject_list *list_of(struct inject *inject, const char *word, size_t length)
{
    const struct {
        const char *name;
        struct inject_list *list;
    } lists[] = {{"swap", &inject->swap}, {"smart", &inject->smart}, {"disk", &inject->disk}};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (strlen(lists[i].name) == length && !memcmp(lists[i].name, word, length))
            return lists[i].list;
    }
    return NULL;
}

/* One "FILE-OP=ERROR@RANGE" of `length` characters. */
static bool take_fault(const char *word, size_t length, struct inject *inject)
{
    const char *end = word + length;
    const char *equals = memchr(word, '=', length);
    const char *at = equals ? memchr(equals, '@', (size_t)(end - equals)) : NULL;
    const char *op = memchr(word, '-', length);
    struct inject_list *list = op ? list_of(inject, word, (size_t)(op - word)) : NULL;
    struct aio_fault fault = {0};

    if (!at || !list || op++ >= equals || list->count == INJECT_MAX ||
        !take_op(op, (size_t)(equals - op), &fault.op) ||
        !take_error(equals + 1, (size_t)(at - equals - 1), &fault.error) ||
        !take_range(at + 1, end, &fault))
        return false;
    list->fault[list->count++] = fault;
    return true;
}

enum err inject_parse(const char *text, struct inject *inject)
{
    for (const char *word = text;; word++) {
        size_t length = strcspn(word, ",");

        if (!take_fault(word, length, inject))
            return err_new(ERR_INVAL,
                           "--inject: '%.*s' is not FILE-REQUEST=ERROR@FIRST-LAST, as in "
                           "swap-write=ENOSPC@100-200 or disk-read=EIO@5 (at most %d)",
                           (int)(length < 60 ? length : 60), word, INJECT_MAX);
        word += length;
        if (!*word)
            return ERR_OK;
    }
}
