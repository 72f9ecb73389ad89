/* SPDX-License-Identifier: Apache-2.0 */
/* File I/O on a host that fails, interrupts, or has no io_uring. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "aio_fixture.h"
#include "forbid.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(faults_by_number),
        BOTH(signals_lose_nothing),
        BOTH(thread_that_leaves),
        cmocka_unit_test_setup_teardown(falls_back, set_up_now, tear_down),
        cmocka_unit_test_setup_teardown(no_descriptors, set_up_now, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
