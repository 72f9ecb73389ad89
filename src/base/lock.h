/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on files that say "somebody who lives uses this": the kernel drops them when the process is
 * gone, however it went, but not before the I/O that it had begun has ended. On a busy disk that is
 * some time after its parent was told of its end; so whoever finds a lock held asks for a while.
 */
#ifndef UMBRA_BASE_LOCK_H
#define UMBRA_BASE_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

/* For how long the file of a VM that was killed may be held, in milliseconds. */
#define LOCK_KILLED_MS 10000

/*
 * The whole file, for this open file description alone (flock(2)). Waits up to wait_ms, in
 * milliseconds. False: errno is EWOULDBLOCK when somebody holds it still, else what failed.
 */
bool lock_file(int fd, unsigned wait_ms);

/*
 * The bytes from `start` on, `bytes` many or, with 0, all, by a record lock of the open file
 * description (fcntl(2), F_OFD_SETLK). type: F_RDLCK, F_WRLCK or F_UNLCK. Otherwise as lock_file;
 * errno is EAGAIN or EACCES when it is held.
 */
bool lock_records(int fd, short type, off_t start, off_t bytes, unsigned wait_ms);

#endif
