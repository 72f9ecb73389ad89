/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aio_submit -> waiting -> (ring, or the system call at once) -> finished -> done()
 *                  ^                     |
 *                  +--- short transfer, or a means that the file system does not offer
 *
 * Invariants:
 *   A1  at most `depth` requests have an entry in the ring, whose completion queue is longer than
 *       that: completions cannot overflow
 *   A2  whoever polls event_fd is woken after each completion and after a submission that the
 *       kernel refused for now, so that aio_reap tries again
 */
#include "base/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/invariant.h"

#define AIO_MAX_DEPTH 1024u
#define AIO_OPS       (AIO_ZERO + 1)

/* What ZERO tries, one after the other. */
enum zero_stage { ZERO_BY_RANGE, ZERO_BY_PUNCH, ZERO_BY_WRITE };

struct aio_queue {
    struct aio_request *head, *tail;
};

/* Lives on the stack of aio_wait. */
struct aio_waiter {
    const struct aio_request *request;
    bool is_done;
    struct aio_waiter *next;
};

struct aio {
    struct io_uring ring;
    bool has_ring;
    int event_fd;
    unsigned depth, in_ring, in_flight;
    struct aio_queue waiting, finished;
    struct aio_waiter *waiters;
    const struct aio_faults *faults;
    uint64_t taken[AIO_OPS];
};

static const uint8_t zeros[65536] __attribute__((aligned(4096)));

static void queue_append(struct aio_queue *q, struct aio_request *r)
{
    r->next = NULL;
    if (q->tail)
        q->tail->next = r;
    else
        q->head = r;
    q->tail = r;
}

static void queue_put_first(struct aio_queue *q, struct aio_request *r)
{
    r->next = q->head;
    q->head = r;
    if (!q->tail)
        q->tail = r;
}

static struct aio_request *queue_take(struct aio_queue *q)
{
    struct aio_request *r = q->head;

    if (!r)
        return NULL;
    q->head = r->next;
    if (!q->head)
        q->tail = NULL;
    r->next = NULL;
    return r;
}

/* ---- making and ending ---- */

static bool ring_open(struct aio *aio)
{
    static const int needed[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
                                 IORING_OP_FALLOCATE};
    struct io_uring_probe *probe;
    bool ok = true;

    if (io_uring_queue_init(aio->depth, &aio->ring, 0))
        return false;
    probe = io_uring_get_probe_ring(&aio->ring);
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        ok = ok && probe && io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    ok = ok && !io_uring_register_eventfd(&aio->ring, aio->event_fd);
    if (!ok)
        io_uring_queue_exit(&aio->ring);
    return ok;
}

enum err aio_create_synchronous(struct aio **out, const struct aio_faults *faults)
{
    struct aio *aio = calloc(1, sizeof(*aio));

    *out = NULL;
    if (!aio)
        return err_new(ERR_NOMEM, "no memory for file I/O");
    aio->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (aio->event_fd < 0) {
        enum err err = err_errno(errno == ENOMEM ? ERR_NOMEM : ERR_IO, "no descriptor for file "
                                                                       "I/O");
        free(aio);
        return err;
    }
    aio->faults = faults;
    *out = aio;
    return ERR_OK;
}

enum err aio_create(struct aio **out, unsigned depth, const struct aio_faults *faults)
{
    enum err err = aio_create_synchronous(out, faults);

    if (err)
        return err;
    (*out)->depth = depth < 1 ? 1 : depth > AIO_MAX_DEPTH ? AIO_MAX_DEPTH : depth;
    (*out)->has_ring = ring_open(*out);
    return ERR_OK;
}

void aio_destroy(struct aio *aio)
{
    if (!aio)
        return;
    aio_drain(aio);
    if (aio->has_ring)
        io_uring_queue_exit(&aio->ring);
    close(aio->event_fd);
    free(aio);
}

const char *aio_kind(const struct aio *aio)
{
    return aio->has_ring ? "io_uring" : "synchronous";
}

int aio_fd(const struct aio *aio)
{
    return aio->event_fd;
}

unsigned aio_in_flight(const struct aio *aio)
{
    return aio->in_flight;
}

/* Cannot fail but for a counter near 2^64, which a reader has not emptied: it is readable then. */
static void wake(struct aio *aio)
{
    (void)eventfd_write(aio->event_fd, 1);
}

/* ---- one request ---- */

static bool is_transfer(const struct aio_request *r)
{
    return r->op == AIO_READ || r->op == AIO_WRITE ||
           (r->op == AIO_ZERO && r->stage == ZERO_BY_WRITE);
}

static uint64_t total_bytes(const struct aio_request *r)
{
    uint64_t sum = 0;

    if (r->op == AIO_PUNCH || r->op == AIO_ZERO)
        return r->bytes;
    for (unsigned i = 0; i < r->iov_count; i++)
        sum += r->iov[i].iov_len;
    return sum;
}

/* What is left to transfer, as much of it as one call can take. */
static const struct iovec *transfer_rest(struct aio_request *r, unsigned *count)
{
    uint64_t skip = r->moved_bytes;
    unsigned i = 0;

    *count = 1;
    if (r->op == AIO_ZERO) {
        uint64_t left = r->bytes - skip;
        r->rest.iov_base = (void *)(uintptr_t)zeros;
        r->rest.iov_len = left < sizeof(zeros) ? left : sizeof(zeros);
        return &r->rest;
    }
    while (i < r->iov_count && skip >= r->iov[i].iov_len)
        skip -= r->iov[i++].iov_len;
    invariant(i < r->iov_count);
    if (skip) {
        r->rest.iov_base = (uint8_t *)r->iov[i].iov_base + skip;
        r->rest.iov_len = r->iov[i].iov_len - skip;
        return &r->rest;
    }
    *count = r->iov_count - i < IOV_MAX ? r->iov_count - i : IOV_MAX;
    return r->iov + i;
}

static int fallocate_mode(const struct aio_request *r)
{
    return FALLOC_FL_KEEP_SIZE |
           (r->op == AIO_ZERO && r->stage == ZERO_BY_RANGE ? FALLOC_FL_ZERO_RANGE
                                                           : FALLOC_FL_PUNCH_HOLE);
}

/* Takes what a call answered (bytes or -errno). True: finished, and r->result says how. */
static bool take_answer(struct aio_request *r, int answer)
{
    /*
     * Cancelled: the thread that submitted it has ended; whoever asks now submits it again. What
     * had begun may find that thread's address space gone instead; twice means that ours lacks it
     * too.
     */
    if (answer == -EFAULT && !r->is_orphan) {
        r->is_orphan = true;
        return false;
    }
    if (answer == -EINTR || answer == -EAGAIN || answer == -ECANCELED)
        return false;
    if (r->op == AIO_ZERO && answer == -EOPNOTSUPP && r->stage < ZERO_BY_WRITE) {
        r->stage++;
        return false;
    }
    r->result = answer < 0 ? answer : 0;
    if (answer < 0 || !is_transfer(r)) {
        /* What follows a short read at the end of a file need not be aligned for O_DIRECT. */
        if (answer == -EINVAL && r->op == AIO_READ && r->moved_bytes % 512)
            r->result = -EIO;
        return true;
    }
    if (!answer)
        r->result = -EIO;
    r->moved_bytes += (unsigned)answer;
    return !answer || r->moved_bytes >= total_bytes(r);
}

/* ---- beginning ---- */

static void finish(struct aio *aio, struct aio_request *r)
{
    queue_append(&aio->finished, r);
    wake(aio);
}

static int call_now(struct aio_request *r)
{
    const struct iovec *iov;
    unsigned count;
    ssize_t answer;

    if (is_transfer(r)) {
        off_t at = (off_t)(r->offset + r->moved_bytes);
        iov = transfer_rest(r, &count);
        answer = r->op == AIO_READ ? preadv(r->fd, iov, (int)count, at)
                                   : pwritev(r->fd, iov, (int)count, at);
    } else if (r->op == AIO_SYNC) {
        answer = fdatasync(r->fd);
    } else {
        answer = fallocate(r->fd, fallocate_mode(r), (off_t)r->offset, (off_t)r->bytes);
    }
    return answer < 0 ? -errno : (int)answer;
}

static void put_in_ring(struct aio *aio, struct aio_request *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&aio->ring);
    const struct iovec *iov;
    unsigned count;

    invariant(sqe); /* A1 */
    if (is_transfer(r)) {
        iov = transfer_rest(r, &count);
        if (r->op == AIO_READ)
            io_uring_prep_readv(sqe, r->fd, iov, count, r->offset + r->moved_bytes);
        else
            io_uring_prep_writev(sqe, r->fd, iov, count, r->offset + r->moved_bytes);
    } else if (r->op == AIO_SYNC) {
        io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
    } else {
        io_uring_prep_fallocate(sqe, r->fd, fallocate_mode(r), (off_t)r->offset, (off_t)r->bytes);
    }
    io_uring_sqe_set_data(sqe, r);
    aio->in_ring++;
}

static void begin_waiting(struct aio *aio)
{
    struct aio_request *r;

    if (!aio->has_ring) {
        while ((r = queue_take(&aio->waiting))) {
            while (!take_answer(r, call_now(r)))
                ;
            finish(aio, r);
        }
        return;
    }
    while (aio->in_ring < aio->depth && (r = queue_take(&aio->waiting)))
        put_in_ring(aio, r);
    while (io_uring_sq_ready(&aio->ring)) {
        int submitted = io_uring_submit(&aio->ring);
        if (submitted > 0 || submitted == -EINTR)
            continue;
        wake(aio); /* A2: the kernel has no room or memory for now */
        return;
    }
}

void aio_submit(struct aio *aio, struct aio_request *r)
{
    const struct aio_faults *faults = aio->faults;
    uint64_t nth = ++aio->taken[r->op];

    r->moved_bytes = 0;
    r->stage = 0;
    r->is_orphan = false;
    r->is_taken = true;
    r->result = 0;
    aio->in_flight++;
    for (size_t i = 0; faults && i < faults->count; i++) {
        const struct aio_fault *f = &faults->fault[i];
        if (f->op == r->op && nth >= f->first && nth <= f->last) {
            r->result = -f->error;
            finish(aio, r);
            return;
        }
    }
    if (r->op != AIO_SYNC && !total_bytes(r))
        finish(aio, r);
    else
        queue_append(&aio->waiting, r);
}

void aio_flush(struct aio *aio)
{
    begin_waiting(aio);
}

/* ---- ending ---- */

static void take_completions(struct aio *aio)
{
    struct io_uring_cqe *cqe;

    while (aio->has_ring && !io_uring_peek_cqe(&aio->ring, &cqe)) {
        struct aio_request *r = io_uring_cqe_get_data(cqe);
        int answer = cqe->res;

        io_uring_cqe_seen(&aio->ring, cqe);
        aio->in_ring--;
        if (take_answer(r, answer))
            queue_append(&aio->finished, r);
        else
            queue_put_first(&aio->waiting, r);
    }
}

unsigned aio_reap(struct aio *aio)
{
    struct aio_request *r;
    eventfd_t ignored;
    unsigned count = 0;

    (void)eventfd_read(aio->event_fd, &ignored); /* before looking: later ones wake again */
    take_completions(aio);
    while ((r = queue_take(&aio->finished))) {
        for (struct aio_waiter *w = aio->waiters; w; w = w->next)
            w->is_done = w->is_done || w->request == r;
        aio->in_flight--;
        r->is_taken = false;
        count++;
        r->done(r, r->result);
    }
    begin_waiting(aio);
    return count;
}

void aio_wait_some(struct aio *aio)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    struct io_uring_cqe *cqe;

    begin_waiting(aio);
    if (aio->in_flight && !aio->finished.head && aio->has_ring) {
        if (aio->in_ring > io_uring_sq_ready(&aio->ring))
            (void)io_uring_wait_cqe(&aio->ring, &cqe); /* a signal: the caller comes again */
        else
            nanosleep(&pause, NULL); /* nothing was accepted: only time helps */
    }
    aio_reap(aio);
}

void aio_wait(struct aio *aio, const struct aio_request *request)
{
    struct aio_waiter waiter = {.request = request, .next = aio->waiters};

    if (!request->is_taken)
        return;
    aio->waiters = &waiter;
    while (!waiter.is_done && aio->in_flight)
        aio_wait_some(aio);
    /* done() may wait too, but has ended before we do: the newest waiter is ours again. */
    invariant(aio->waiters == &waiter);
    aio->waiters = waiter.next;
}

void aio_drain(struct aio *aio)
{
    while (aio->in_flight)
        aio_wait_some(aio);
}
