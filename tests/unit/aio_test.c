/* SPDX-License-Identifier: Apache-2.0 */
/* File I/O that completes later; each test runs with io_uring and without. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "aio_fixture.h"
#include "forbid.h"

/* ---- each operation ---- */

static void write_and_read(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    uint8_t in[10000], out[10000] = {0};

    for (unsigned i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(run(aio, AIO_WRITE, w->fd, in, sizeof(in), 333), 0);
    assert_int_equal(run(aio, AIO_SYNC, w->fd, NULL, 0, 0), 0);
    assert_int_equal(run(aio, AIO_READ, w->fd, out, sizeof(out), 333), 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(run(aio, AIO_READ, w->fd, out, 0, 0), 0);
    assert_int_equal(run(aio, AIO_READ, -1, out, 1, 0), -EBADF);
    assert_int_equal(run(aio, AIO_SYNC, -1, NULL, 0, 0), -EBADF);
    aio_destroy(aio);
}

static void read_past_the_end(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    char out[100] = {0};

    assert_int_equal(run(aio, AIO_WRITE, w->fd, (char[]){"hello"}, 5, 0), 0);
    assert_int_equal(run(aio, AIO_READ, w->fd, out, 100, 0), -EIO);
    assert_memory_equal(out, "hello", 5); /* what there was */
    assert_int_equal(run(aio, AIO_READ, w->fd, out, 1, 5), -EIO);
    aio_destroy(aio);
}

static void read_past_the_end_directly(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    void *page = aligned_alloc(4096, 8192);

    memset(page, 7, 8192);
    assert_int_equal(ftruncate(w->fd, 4096 + 100), 0);
    if (fcntl(w->fd, F_SETFL, O_DIRECT)) {
        free(page);
        aio_destroy(aio);
        skip();
    }
    assert_int_equal(run(aio, AIO_READ, w->fd, page, 8192, 0), -EIO);
    free(page);
    aio_destroy(aio);
}

/* One call of the kernel takes 1024 pieces: the rest is continued. */
static void many_pieces(void **state)
{
    enum { PIECES = 2500 };
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    static uint8_t in[PIECES * 3], out[PIECES * 3];
    static struct iovec iov[PIECES];
    struct job job = {0};

    for (unsigned i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 5 + i / 251);
    for (unsigned i = 0, at = 0; i < PIECES; i++) {
        iov[i] = (struct iovec){in + at, i % 3 == 0 ? 0 : i % 3 == 1 ? 5 : 4}; /* also empty ones */
        at += (unsigned)iov[i].iov_len;
        job.request.bytes = at;
    }
    uint64_t bytes = job.request.bytes;
    job.request = (struct aio_request){.op = AIO_WRITE,
                                       .fd = w->fd,
                                       .iov = iov,
                                       .iov_count = PIECES,
                                       .done = on_done,
                                       .arg = &job};
    aio_submit(aio, &job.request);
    aio_drain(aio);
    assert_int_equal(job.result, 0);
    assert_int_equal(job.done_count, 1);
    assert_int_equal(pread(w->fd, out, sizeof(out), 0), bytes);
    assert_memory_equal(in, out, bytes);
    for (unsigned i = 0; i < PIECES; i++)
        iov[i].iov_base = out + ((uint8_t *)iov[i].iov_base - in);
    memset(out, 0, sizeof(out));
    job.request.op = AIO_READ;
    aio_submit(aio, &job.request);
    aio_drain(aio);
    assert_int_equal(job.result, 0);
    assert_memory_equal(in, out, bytes);
    aio_destroy(aio);
}

/* The limit lets a part of the write through, and the next try says why no more. */
static void write_that_stops_half_way(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    static char in[20000], out[20000];
    struct rlimit old, small;

    memset(in, 'x', sizeof(in));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 8192, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(run(aio, AIO_WRITE, w->fd, in, sizeof(in), 0), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(pread(w->fd, out, sizeof(out), 0), 8192);
    assert_int_equal(run(aio, AIO_WRITE, w->fd, in, sizeof(in), 0), 0);
    aio_destroy(aio);
}

static void zero_and_punch_in(struct aio *aio, int fd)
{
    static uint8_t buf[1 << 20], out[1 << 20];
    struct stat before, after;

    memset(buf, 0xaa, sizeof(buf));
    assert_int_equal(run(aio, AIO_WRITE, fd, buf, sizeof(buf), 0), 0);
    assert_int_equal(run(aio, AIO_SYNC, fd, NULL, 0, 0), 0);
    assert_int_equal(fstat(fd, &before), 0);
    /* neither end on a page */
    assert_int_equal(run(aio, AIO_ZERO, fd, NULL, 300000, 1000), 0);
    assert_int_equal(run(aio, AIO_PUNCH, fd, NULL, 400000, 500000), 0);
    assert_int_equal(run(aio, AIO_ZERO, fd, NULL, 0, 5), 0);
    assert_int_equal(pread(fd, out, sizeof(out), 0), sizeof(out));
    assert_true(is_all(out, 1000, 0xaa));
    assert_true(is_all(out + 1000, 300000, 0));
    assert_true(is_all(out + 301000, 199000, 0xaa));
    assert_true(is_all(out + 500000, 400000, 0));
    assert_true(is_all(out + 900000, sizeof(out) - 900000, 0xaa));
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(after.st_blocks < before.st_blocks);
    /* the file does not grow */
    assert_int_equal(run(aio, AIO_PUNCH, fd, NULL, 4096, sizeof(buf) + 4096), 0);
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
}

static void zero_and_punch(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);

    zero_and_punch_in(aio, w->fd);
    aio_destroy(aio);
}

/* A file system in memory has holes but cannot zero a range. */
static void zero_by_punching(void **state)
{
    struct aio *aio = make(*state, 8, NULL);
    int fd = memfd_create("umbra-test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    zero_and_punch_in(aio, fd);
    close(fd);
    aio_destroy(aio);
}

static int zero_without_fallocate(void *arg)
{
    struct world *w = arg;
    static uint8_t buf[300000], out[300000];
    struct aio *aio;

    memset(buf, 0xaa, sizeof(buf));
    if (forbid_call(FORBID_FALLOCATE, EOPNOTSUPP))
        return FORBID_SKIP;
    if (aio_create_synchronous(&aio, NULL) ||
        run(aio, AIO_WRITE, w->fd, buf, sizeof(buf), 0) != 0 ||
        run(aio, AIO_ZERO, w->fd, NULL, 250001, 77) != 0 ||
        run(aio, AIO_PUNCH, w->fd, NULL, 4096, 0) != -EOPNOTSUPP)
        return 1;
    aio_destroy(aio);
    if (pread(w->fd, out, sizeof(out), 0) != (ssize_t)sizeof(out))
        return 2;
    return is_all(out, 77, 0xaa) && is_all(out + 77, 250001, 0) &&
                   is_all(out + 250078, sizeof(out) - 250078, 0xaa)
               ? 0
               : 3;
}

static void zero_by_writing(void **state)
{
    int got = forbid_run(zero_without_fallocate, *state);

    if (got == FORBID_SKIP)
        skip();
    assert_int_equal(got, 0);
}

/* ---- many ---- */

static void more_than_depth(void **state)
{
    enum { JOBS = 200 };
    struct world *w = *state;
    struct aio *aio = make(w, 4, NULL);
    static struct job jobs[JOBS];
    static uint64_t in[JOBS], out[JOBS];

    for (unsigned i = 0; i < JOBS; i++) {
        in[i] = i * UINT64_C(0x0101010101010101);
        submit(aio, &jobs[i], AIO_WRITE, w->fd, &in[i], 8, i * 8);
    }
    assert_int_equal(aio_in_flight(aio), JOBS);
    aio_drain(aio);
    assert_int_equal(aio_in_flight(aio), 0);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].done_count, 1);
        assert_int_equal(jobs[i].result, 0);
        submit(aio, &jobs[i], AIO_READ, w->fd, &out[i], 8, i * 8);
    }
    aio_wait(aio, &jobs[JOBS - 1].request);
    assert_int_equal(jobs[JOBS - 1].done_count, 1);
    for (unsigned i = 0; i < JOBS; i++)
        aio_wait(aio, &jobs[i].request); /* most are done already */
    assert_int_equal(aio_in_flight(aio), 0);
    assert_memory_equal(in, out, sizeof(in));
    aio_destroy(aio);
}

static void descriptor_tells(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 4, NULL);
    struct job jobs[20];
    unsigned reaped = 0;
    char text[] = "abc";

    assert_false(is_readable(aio, 0));
    for (unsigned i = 0; i < 20; i++)
        submit(aio, &jobs[i], AIO_WRITE, w->fd, text, 3, i * 3);
    aio_flush(aio);
    while (reaped < 20) {
        assert_true(is_readable(aio, 10000)); /* also for those that waited for room */
        reaped += aio_reap(aio);
    }
    aio_reap(aio);
    assert_false(is_readable(aio, 0));
    assert_int_equal(aio_reap(aio), 0);
    aio_destroy(aio);
}

/* Whoever waits for what is done already does not wait for anything else. */
static void waits_for_one(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 4, NULL);
    struct job first, second;
    char text[] = "abc";

    submit(aio, &first, AIO_WRITE, w->fd, text, 3, 0);
    aio_wait(aio, &first.request);
    submit(aio, &second, AIO_WRITE, w->fd, text, 3, 3);
    aio_wait(aio, &first.request);
    assert_int_equal(second.done_count, 0);
    assert_int_equal(aio_in_flight(aio), 1);
    aio_destroy(aio);
    assert_int_equal(second.done_count, 1); /* the end waits for all */
}

struct chain {
    struct job job;
    struct aio *aio;
    unsigned left;
};

static void chain_done(struct aio_request *request, int result)
{
    struct chain *c = request->arg;
    struct job inner;
    char buf[4];

    assert_int_equal(result, 0);
    if (!c->left--)
        return;
    /* waits inside of done, then submits itself again */
    submit(c->aio, &inner, AIO_READ, request->fd, buf, 4, 0);
    aio_wait(c->aio, &inner.request);
    assert_int_equal(inner.result, 0);
    aio_submit(c->aio, request);
}

static void done_may_submit_and_wait(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 2, NULL);
    struct chain chains[5];
    char text[] = "text";

    assert_int_equal(pwrite(w->fd, text, 4, 0), 4);
    for (unsigned i = 0; i < 5; i++) {
        chains[i] = (struct chain){.aio = aio, .left = 30};
        submit(aio, &chains[i].job, AIO_WRITE, w->fd, text, 4, 0);
        chains[i].job.request.done = chain_done;
        chains[i].job.request.arg = &chains[i];
    }
    aio_drain(aio);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(chains[i].left, UINT32_MAX);
    aio_destroy(aio);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(write_and_read),
        BOTH(read_past_the_end),
        BOTH(read_past_the_end_directly),
        BOTH(many_pieces),
        BOTH(write_that_stops_half_way),
        BOTH(zero_and_punch),
        BOTH(zero_by_punching),
        cmocka_unit_test_setup_teardown(zero_by_writing, set_up_now, tear_down),
        BOTH(more_than_depth),
        BOTH(descriptor_tells),
        BOTH(waits_for_one),
        BOTH(done_may_submit_and_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
