/* SPDX-License-Identifier: Apache-2.0 */
#include "aio_double.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/invariant.h"

#define SLOTS  256
#define HALVES 2

/* steps: halves carried out; HALVES: to be reported */
struct slot {
    struct aio_request *request;
    unsigned steps;
    int result;
};

struct aio {
    struct slot slot[SLOTS];
    unsigned in_flight, delay, failures, count[AIO_ZERO + 1];
    uint64_t random;
    const struct aio_faults *faults;
    int event_fd;
};

static unsigned chance(struct aio *aio)
{
    aio->random = aio->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(aio->random >> 33);
}

enum err aio_create_synchronous(struct aio **out, const struct aio_faults *faults)
{
    *out = calloc(1, sizeof(**out));
    invariant(*out);
    (*out)->faults = faults;
    (*out)->random = 1;
    (*out)->event_fd = eventfd(0, EFD_CLOEXEC);
    return ERR_OK;
}

enum err aio_create(struct aio **out, unsigned depth, const struct aio_faults *faults)
{
    (void)depth;
    return aio_create_synchronous(out, faults);
}

void aio_destroy(struct aio *aio)
{
    if (!aio)
        return;
    aio_drain(aio);
    close(aio->event_fd);
    free(aio);
}

void aio_double_set_delay(struct aio *aio, unsigned percent)
{
    aio->delay = percent;
}

void aio_double_set_seed(struct aio *aio, uint64_t seed)
{
    aio->random = seed;
}

void aio_double_set_failures(struct aio *aio, unsigned percent)
{
    aio->failures = percent;
}

const char *aio_kind(const struct aio *aio)
{
    (void)aio;
    return "double";
}

int aio_fd(const struct aio *aio)
{
    return aio->event_fd;
}

unsigned aio_in_flight(const struct aio *aio)
{
    return aio->in_flight;
}

static int fault_of(const struct aio *aio, enum aio_op op)
{
    for (size_t i = 0; aio->faults && i < aio->faults->count; i++) {
        const struct aio_fault *f = &aio->faults->fault[i];

        if (f->op == op && aio->count[op] >= f->first && aio->count[op] <= f->last)
            return -f->error;
    }
    return 0;
}

void aio_submit(struct aio *aio, struct aio_request *request)
{
    unsigned i = 0;

    while (i < SLOTS && aio->slot[i].request)
        i++;
    invariant(i < SLOTS);
    aio->count[request->op]++;
    aio->in_flight++;
    aio->slot[i] = (struct slot){.request = request, .result = fault_of(aio, request->op)};
    if (aio->slot[i].result) /* not tried at all */
        aio->slot[i].steps = HALVES;
}

void aio_flush(struct aio *aio)
{
    (void)aio;
}

/* One half of a transfer; the first half is of whole sectors. */
static int transfer(const struct aio_request *r, unsigned half)
{
    uint64_t bytes = r->iov[0].iov_len, middle = bytes / 2 / 512 * 512;
    uint64_t at = half ? middle : 0, n = half ? bytes - middle : middle;
    uint8_t *buf = (uint8_t *)r->iov[0].iov_base + at;
    ssize_t done;

    if (!n)
        return 0;
    if (r->op == AIO_READ)
        done = pread(r->fd, buf, n, (off_t)(r->offset + at));
    else
        done = pwrite(r->fd, buf, n, (off_t)(r->offset + at));
    if (done < 0)
        return -errno;
    return (uint64_t)done == n ? 0 : -EIO;
}

static int carry_out(const struct aio_request *r, unsigned half)
{
    if (r->op == AIO_READ || r->op == AIO_WRITE) {
        invariant(r->iov_count == 1);
        return transfer(r, half);
    }
    if (!half)
        return 0;
    if (r->op == AIO_SYNC)
        return fdatasync(r->fd) ? -errno : 0;
    /* zeros by a hole: the same to a reader, and known to every file system of a test */
    return fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset,
                     (off_t)r->bytes)
               ? -errno
               : 0;
}

/* True: reported. */
static bool step(struct aio *aio, struct slot *slot)
{
    struct aio_request *r = slot->request;

    if (slot->steps < HALVES) {
        if (!slot->result)
            slot->result = carry_out(r, slot->steps);
        if (!slot->result && chance(aio) % 200 < aio->failures)
            slot->result = -EIO;
        slot->steps++;
        return false;
    }
    slot->request = NULL;
    aio->in_flight--;
    r->done(r, slot->result);
    return true;
}

unsigned aio_reap(struct aio *aio)
{
    unsigned reported = 0, start = chance(aio) % SLOTS;

    do {
        for (unsigned i = 0; i < SLOTS; i++) {
            struct slot *slot = &aio->slot[(start + i) % SLOTS];

            if (slot->request && chance(aio) % 100 >= aio->delay)
                reported += step(aio, slot);
        }
    } while (!aio->delay && aio->in_flight);
    return reported;
}

void aio_wait(struct aio *aio, const struct aio_request *request)
{
    for (;;) {
        struct slot *slot = NULL;

        for (unsigned i = 0; i < SLOTS && !slot; i++) {
            if (aio->slot[i].request == request)
                slot = &aio->slot[i];
        }
        if (!slot || step(aio, slot))
            return;
        if (aio->delay)
            aio_reap(aio);
    }
}

void aio_wait_some(struct aio *aio)
{
    while (aio->in_flight && !aio_reap(aio))
        ;
}

void aio_drain(struct aio *aio)
{
    while (aio->in_flight) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (aio->slot[i].request)
                (void)step(aio, &aio->slot[i]);
        }
    }
}
