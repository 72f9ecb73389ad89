/* SPDX-License-Identifier: Apache-2.0 */
/* A ring and a file for the tests of aio, in both kinds. Included by one file per program. */
#ifndef UMBRA_TESTS_AIO_FIXTURE_H
#define UMBRA_TESTS_AIO_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>

#include "base/aio.h"
#include "store_model.h"

struct world {
    bool wants_ring;
    int fd;
    char folder[256];
};

static struct world the_world;

static inline int set_up(struct world *w, bool wants_ring)
{
    char path[300];

    w->wants_ring = wants_ring;
    model_folder(w->folder, sizeof(w->folder));
    snprintf(path, sizeof(path), "%s/file", w->folder);
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return w->fd < 0 ? -1 : 0;
}

static inline int set_up_ring(void **state)
{
    *state = &the_world;
    return set_up(&the_world, true);
}

static inline int set_up_now(void **state)
{
    *state = &the_world;
    return set_up(&the_world, false);
}

static inline int tear_down(void **state)
{
    struct world *w = *state;

    close(w->fd);
    model_folder_remove(w->folder);
    return 0;
}

static inline struct aio *make(const struct world *w, unsigned depth,
                               const struct aio_faults *faults)
{
    struct aio *aio;

    if (w->wants_ring)
        assert_int_equal(aio_create(&aio, depth, faults), ERR_OK);
    else
        assert_int_equal(aio_create_synchronous(&aio, faults), ERR_OK);
    if (w->wants_ring && strcmp(aio_kind(aio), "io_uring") != 0) {
        aio_destroy(aio);
        print_message("no io_uring on this host\n");
        skip();
    }
    return aio;
}

struct job {
    struct aio_request request;
    struct iovec iov;
    int result;
    unsigned done_count;
};

static inline void on_done(struct aio_request *request, int result)
{
    struct job *job = request->arg;

    job->result = result;
    job->done_count++;
}

static inline void submit(struct aio *aio, struct job *job, enum aio_op op, int fd, void *buf,
                          uint64_t bytes, uint64_t offset)
{
    job->done_count = 0;
    job->result = 1;
    job->iov = (struct iovec){buf, bytes};
    job->request = (struct aio_request){.op = op,
                                        .fd = fd,
                                        .iov = &job->iov,
                                        .iov_count = 1,
                                        .offset = offset,
                                        .bytes = bytes,
                                        .done = on_done,
                                        .arg = job};
    aio_submit(aio, &job->request);
}

static inline int run(struct aio *aio, enum aio_op op, int fd, void *buf, uint64_t bytes,
                      uint64_t offset)
{
    struct job job;

    submit(aio, &job, op, fd, buf, bytes, offset);
    aio_wait(aio, &job.request);
    assert_int_equal(job.done_count, 1);
    assert_int_equal(aio_in_flight(aio), 0);
    return job.result;
}

static inline bool is_all(const uint8_t *p, size_t bytes, uint8_t what)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != what)
            return false;
    return true;
}

static inline bool is_readable(const struct aio *aio, int ms)
{
    struct pollfd p = {.fd = aio_fd(aio), .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

#define BOTH(test)                                                                                 \
    {#test " (io_uring)", test, set_up_ring, tear_down, NULL},                                     \
    {                                                                                              \
#test " (synchronous)", test, set_up_now, tear_down, NULL                                  \
    }

#endif
