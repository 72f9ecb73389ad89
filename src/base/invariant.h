/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assertions about ourselves, kept in all builds: a failed one prints its place and aborts.
 * Never about guest or user input: that is a value or an err.
 */
#ifndef UMBRA_BASE_INVARIANT_H
#define UMBRA_BASE_INVARIANT_H

_Noreturn void invariant_failed(const char *file, int line, const char *what);

#define invariant(cond) ((cond) ? (void)0 : invariant_failed(__FILE__, __LINE__, #cond))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
