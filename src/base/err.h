/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host failures: one enum, which must be used, and a text that says what failed, where and what to
 * do.
 *
 * An error is born with err_new() (or err_errno(), which appends strerror) and passed up unchanged;
 * whoever took resources releases them in reverse order on the way. The text of the newest error of
 * a thread is kept until the next one is born. Only control/ prints it.
 *
 * Guest misbehaviour is never an err: it is a value of the interface that meets it.
 */
#ifndef UMBRA_BASE_ERR_H
#define UMBRA_BASE_ERR_H

enum err {
    ERR_OK = 0,
    ERR_INVAL,       /* the caller's (in the end the user's) input cannot be used: exit status 2 */
    ERR_NOMEM,       /* the host has no memory for it */
    ERR_IO,          /* the host's file or device failed */
    ERR_NOTFOUND,    /* a file, VM or thing by that name does not exist */
    ERR_BUSY,        /* exists already, or is in use */
    ERR_UNSUPPORTED, /* this host or this build cannot do it */
    ERR_INTERNAL,    /* a limit of ours was met */
};

#define MUST_USE __attribute__((warn_unused_result))

/* Both answer the code itself, so that compilers and analysers see that it is not ERR_OK. */
#define err_new(code, ...)   (err_set(__FILE__, __LINE__, 0, __VA_ARGS__), (code))
#define err_errno(code, ...) (err_set(__FILE__, __LINE__, 1, __VA_ARGS__), (code))

/* For functions that answer with a bool or another value and leave only the text. */
#define err_note(code, ...) ((void)!err_new((code), __VA_ARGS__))

/* Sets the thread's error text (printf format); with_errno appends ": " and strerror(errno). */
void err_set(const char *file, int line, int with_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Text of the newest error of this thread ("" when none). Valid until the next err_new. */
const char *err_text(void);

/* "file:line" where the newest error of this thread was born. */
const char *err_origin(void);

#endif
