/* SPDX-License-Identifier: Apache-2.0 */
/* File I/O that completes later, in both kinds; each test runs with io_uring and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "base/aio.h"
#include "forbid.h"
#include "store_model.h"

struct world {
    bool wants_ring;
    int fd;
    char folder[256];
};

static struct world the_world;

static int set_up(struct world *w, bool wants_ring)
{
    char path[300];

    w->wants_ring = wants_ring;
    model_folder(w->folder, sizeof(w->folder));
    snprintf(path, sizeof(path), "%s/file", w->folder);
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return w->fd < 0 ? -1 : 0;
}

static int set_up_ring(void **state)
{
    *state = &the_world;
    return set_up(&the_world, true);
}

static int set_up_now(void **state)
{
    *state = &the_world;
    return set_up(&the_world, false);
}

static int tear_down(void **state)
{
    struct world *w = *state;

    close(w->fd);
    model_folder_remove(w->folder);
    return 0;
}

static struct aio *make(const struct world *w, unsigned depth, const struct aio_faults *faults)
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

static void on_done(struct aio_request *request, int result)
{
    struct job *job = request->arg;

    job->result = result;
    job->done_count++;
}

static void submit(struct aio *aio, struct job *job, enum aio_op op, int fd, void *buf,
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

static int run(struct aio *aio, enum aio_op op, int fd, void *buf, uint64_t bytes, uint64_t offset)
{
    struct job job;

    submit(aio, &job, op, fd, buf, bytes, offset);
    aio_wait(aio, &job.request);
    assert_int_equal(job.done_count, 1);
    assert_int_equal(aio_in_flight(aio), 0);
    return job.result;
}

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

static bool is_all(const uint8_t *p, size_t bytes, uint8_t what)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != what)
            return false;
    return true;
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
    aio_wait(aio, &jobs[0].request); /* perhaps done already: returns all the same */
    aio_drain(aio);
    assert_memory_equal(in, out, sizeof(in));
    aio_destroy(aio);
}

static bool is_readable(const struct aio *aio, int ms)
{
    struct pollfd p = {.fd = aio_fd(aio), .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static void descriptor_tells(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 4, NULL);
    struct job jobs[20];
    unsigned reaped = 0;

    assert_false(is_readable(aio, 0));
    for (unsigned i = 0; i < 20; i++)
        submit(aio, &jobs[i], AIO_WRITE, w->fd, (char[]){"abc"}, 3, i * 3);
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

/* ---- trouble ---- */

static void faults_by_number(void **state)
{
    const struct aio_fault list[] = {{AIO_WRITE, 2, 3, ENOSPC},
                                     {AIO_READ, 1, 1, EIO},
                                     {AIO_SYNC, 1, UINT64_MAX, EDQUOT},
                                     {AIO_PUNCH, 1, 1, EOPNOTSUPP},
                                     {AIO_ZERO, 2, 2, EIO}};
    const struct aio_faults faults = {list, sizeof(list) / sizeof(list[0])};
    struct world *w = *state;
    struct aio *aio = make(w, 4, &faults);
    char buf[8] = "1234567";
    struct job job;
    struct stat st;

    assert_int_equal(run(aio, AIO_WRITE, w->fd, buf, 4, 0), 0);
    assert_int_equal(run(aio, AIO_WRITE, w->fd, buf, 8, 4096), -ENOSPC);
    assert_int_equal(run(aio, AIO_WRITE, w->fd, buf, 8, 4096), -ENOSPC);
    assert_int_equal(fstat(w->fd, &st), 0);
    assert_int_equal(st.st_size, 4); /* it was not tried */
    assert_int_equal(run(aio, AIO_WRITE, w->fd, buf, 8, 4096), 0);
    assert_int_equal(run(aio, AIO_READ, w->fd, buf, 8, 4096), -EIO);
    assert_int_equal(run(aio, AIO_READ, w->fd, buf, 8, 4096), 0);
    assert_int_equal(run(aio, AIO_SYNC, w->fd, NULL, 0, 0), -EDQUOT);
    assert_int_equal(run(aio, AIO_SYNC, w->fd, NULL, 0, 0), -EDQUOT);
    assert_int_equal(run(aio, AIO_PUNCH, w->fd, NULL, 8, 0), -EOPNOTSUPP);
    assert_int_equal(run(aio, AIO_PUNCH, w->fd, NULL, 8, 0), 0);
    assert_int_equal(run(aio, AIO_ZERO, w->fd, NULL, 8, 0), 0);
    submit(aio, &job, AIO_ZERO, w->fd, NULL, 8, 0);
    aio_flush(aio);
    assert_true(is_readable(aio, 10000)); /* made-up ends are told of as well */
    aio_drain(aio);
    assert_int_equal(job.result, -EIO);
    aio_destroy(aio);
}

static void on_alarm(int number)
{
    (void)number;
}

static void signals_lose_nothing(void **state)
{
    enum { JOBS = 32, BYTES = 1 << 16 };
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    static struct job jobs[JOBS], sync;
    uint8_t *memory = malloc(JOBS * BYTES);

    assert_non_null(memory);
    memset(memory, 'm', JOBS * BYTES);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < JOBS; i++)
            submit(aio, &jobs[i], AIO_WRITE, w->fd, memory + i * BYTES, BYTES, i * BYTES);
        submit(aio, &sync, AIO_SYNC, w->fd, NULL, 0, 0);
        aio_wait(aio, &sync.request);
        assert_int_equal(sync.result, 0);
        aio_drain(aio);
        for (unsigned i = 0; i < JOBS; i++)
            assert_int_equal(jobs[i].result, 0);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    free(memory);
    aio_destroy(aio);
}

struct leaver {
    struct aio *aio;
    struct job *jobs;
    int fd;
    uint8_t *memory;
};

#define LEAVER_JOBS  16
#define LEAVER_BYTES (1 << 18)

static void *submit_and_leave(void *arg)
{
    struct leaver *l = arg;

    for (unsigned i = 0; i < LEAVER_JOBS; i++)
        submit(l->aio, &l->jobs[i], AIO_READ, l->fd, l->memory + i * LEAVER_BYTES, LEAVER_BYTES,
               i * LEAVER_BYTES);
    aio_flush(l->aio);
    return NULL;
}

/* The kernel cancels what a thread that ends has begun; whoever waits begins it again. */
static void thread_that_leaves(void **state)
{
    struct world *w = *state;
    struct aio *aio = make(w, 8, NULL);
    static struct job jobs[LEAVER_JOBS];
    struct leaver l = {aio, jobs, w->fd, malloc(LEAVER_JOBS * LEAVER_BYTES)};
    pthread_t thread;

    assert_non_null(l.memory);
    memset(l.memory, 'q', LEAVER_JOBS * LEAVER_BYTES);
    assert_int_equal(pwrite(w->fd, l.memory, LEAVER_JOBS * LEAVER_BYTES, 0),
                     LEAVER_JOBS * LEAVER_BYTES);
    assert_int_equal(fsync(w->fd), 0);
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
    memset(l.memory, 0, LEAVER_JOBS * LEAVER_BYTES);
    assert_int_equal(pthread_create(&thread, NULL, submit_and_leave, &l), 0);
    pthread_join(thread, NULL);
    aio_drain(aio);
    for (unsigned i = 0; i < LEAVER_JOBS; i++)
        assert_int_equal(jobs[i].result, 0);
    assert_true(is_all(l.memory, LEAVER_JOBS * LEAVER_BYTES, 'q'));
    free(l.memory);
    aio_destroy(aio);
}

/* ---- hosts without io_uring ---- */

static int create_forbidden(void *arg)
{
    struct aio *aio;
    char buf[4] = "abc";

    if (forbid_call(FORBID_IO_URING, *(int *)arg))
        return FORBID_SKIP;
    if (aio_create(&aio, 8, NULL))
        return 1;
    if (strcmp(aio_kind(aio), "synchronous") != 0)
        return 2;
    if (run(aio, AIO_WRITE, the_world.fd, buf, 4, 0) || run(aio, AIO_READ, the_world.fd, buf, 4, 0))
        return 3;
    aio_destroy(aio);
    return 0;
}

static void falls_back(void **state)
{
    int errors[] = {ENOSYS, EPERM, ENOMEM};
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        int got = forbid_run(create_forbidden, &errors[i]);
        if (got == FORBID_SKIP)
            skip();
        assert_int_equal(got, 0);
    }
}

static int create_without_descriptors(void *arg)
{
    struct rlimit none = {0, 0};
    struct aio *aio;
    (void)arg;

    if (setrlimit(RLIMIT_NOFILE, &none))
        return 1;
    return aio_create(&aio, 8, NULL) == ERR_IO && !aio && strstr(err_text(), "descriptor") ? 0 : 2;
}

static void no_descriptors(void **state)
{
    (void)state;
    assert_int_equal(forbid_run(create_without_descriptors, NULL), 0);
}

#define BOTH(test)                                                                                 \
    {#test " (io_uring)", test, set_up_ring, tear_down, NULL},                                     \
    {                                                                                              \
#test " (synchronous)", test, set_up_now, tear_down, NULL                                  \
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
        BOTH(done_may_submit_and_wait),
        BOTH(faults_by_number),
        BOTH(signals_lose_nothing),
        BOTH(thread_that_leaves),
        cmocka_unit_test_setup_teardown(falls_back, set_up_now, tear_down),
        cmocka_unit_test_setup_teardown(no_descriptors, set_up_now, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
