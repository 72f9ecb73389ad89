/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 10u

/* A try was refused: true when another is due, after a pause. Leaves errno. */
static bool again(unsigned *wait_ms)
{
    struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    int why = errno;

    if (why == EINTR)
        return true;
    if ((why != EWOULDBLOCK && why != EACCES) || *wait_ms < PAUSE_MS)
        return false;
    *wait_ms -= PAUSE_MS;
    nanosleep(&pause, NULL);
    errno = why;
    return true;
}

bool lock_file(int fd, unsigned wait_ms)
{
    bool ok;

    do {
        ok = !flock(fd, LOCK_EX | LOCK_NB);
    } while (!ok && again(&wait_ms));
    return ok;
}

bool lock_records(int fd, short type, off_t start, off_t bytes, unsigned wait_ms)
{
    struct flock records = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes};
    bool ok;

    do {
        ok = !fcntl(fd, F_OFD_SETLK, &records);
    } while (!ok && again(&wait_ms));
    return ok;
}
