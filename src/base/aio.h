/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of files that complete later: io_uring where the host allows it, else (a
 * container's seccomp filter often forbids it) each is done at once and reported through the same
 * door. One thread per ring, but for the descriptor that tells of completions.
 */
#ifndef UMBRA_BASE_AIO_H
#define UMBRA_BASE_AIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

enum aio_op { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_PUNCH, AIO_ZERO };

/*
 * Embedded in its owner; stays valid until done is called.
 * iov, iov_count: READ and WRITE; the memory stays valid too. Short transfers are continued inside;
 *                 a read past the end of the file completes with -EIO after what there was
 * offset, bytes:  PUNCH (deallocate, reads as zeros after; -EOPNOTSUPP where the file system has no
 *                 holes) and ZERO (written where nothing better is offered); else offset only. The
 *                 file never grows by either
 * done:           result 0, or -errno
 */
struct aio_request {
    enum aio_op op;
    int fd;
    struct iovec *iov;
    unsigned iov_count;
    uint64_t offset, bytes;
    void (*done)(struct aio_request *request, int result);
    void *arg;
    /* aio's own */
    struct aio_request *next;
    uint64_t moved_bytes;
    struct iovec rest;
    unsigned stage; /* ZERO: how far down its list of means */
    bool is_orphan; /* its thread seems to have ended */
    bool is_taken;  /* submitted, and not yet done */
    int result;
};

/*
 * Made-up failures for tests. Ordinal numbers count requests of the op from 1; those from `first`
 * to `last` complete with -error without being tried.
 */
struct aio_fault {
    enum aio_op op;
    uint64_t first, last;
    int error;
};
struct aio_faults {
    const struct aio_fault *fault;
    size_t count;
};

struct aio;

/*
 * depth: most requests that the host has at once; more wait inside. faults: NULL or borrowed.
 * ERR_NOMEM, ERR_IO: no descriptor to be had.
 */
enum err aio_create(struct aio **out, unsigned depth, const struct aio_faults *faults) MUST_USE;

/* The kind that does each at once, also where the host has io_uring. */
enum err aio_create_synchronous(struct aio **out, const struct aio_faults *faults) MUST_USE;

/* Waits for all that is in flight. */
void aio_destroy(struct aio *aio);

/* "io_uring" or "synchronous" */
const char *aio_kind(const struct aio *aio);

/* Readable when something has completed. Any thread may poll it. */
int aio_fd(const struct aio *aio);

/* Takes a request; it begins at the next aio_flush or aio_wait at the latest. Never fails. */
void aio_submit(struct aio *aio, struct aio_request *request);
void aio_flush(struct aio *aio);

/*
 * Calls done of what has completed; answers how many. done may submit again, also the same request.
 */
unsigned aio_reap(struct aio *aio);

/*
 * Waits until the request has completed (its done was called), reaping others on the way; returns
 * at once when it has before. A request that was never submitted is to be all zeros.
 */
void aio_wait(struct aio *aio, const struct aio_request *request);

/* Waits until something has completed and reaps; returns at once when nothing is in flight. */
void aio_wait_some(struct aio *aio);

/* Waits until nothing is in flight. */
void aio_drain(struct aio *aio);

/* Taken and not yet done. */
unsigned aio_in_flight(const struct aio *aio);

#endif
