/* SPDX-License-Identifier: Apache-2.0 */
/* The swap store on a host that fails: nothing is lost, nothing wrong is returned. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "forbid.h"
#include "swap_fixture.h"

/* ---- failures ---- */

static void failed_writes_lose_nothing(void **state)
{
    const struct aio_fault list[] = {{AIO_WRITE, 3, 6, ENOSPC}};
    const struct aio_faults faults = {list, 1};
    struct swap *sw = open_swap(1024, 1024, &faults);
    uint32_t slot[640];
    (void)state;

    assert_null(swap_trouble(sw));
    for (unsigned i = 0; i < 640; i++)
        slot[i] = put(sw, i, i);
    swap_work(sw, SWAP_ALL_NOW);
    while (!swap_trouble(sw) && info(sw).errors < 4)
        swap_wait_room(sw);
    /* A later write that succeeds may have ended the trouble already. */
    if (swap_trouble(sw)) {
        assert_non_null(strstr(swap_trouble(sw), "no space left on device while writing /"));
        assert_non_null(strstr(swap_trouble(sw), path));
    }
    assert_true(info(sw).errors >= 1);
    check(sw);
    for (unsigned i = 0; i < 640; i++)
        assert_page(sw, slot[i], i); /* from the file or from staging */
    swap_free(sw, slot[0]);
    slot[0] = put(sw, 0, 0);
    for (int i = 0; swap_trouble(sw) && i < 6000; i++) {
        usleep(10000);
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw);
    }
    assert_null(swap_trouble(sw));
    write_all(sw);
    for (unsigned i = 0; i < 640; i++)
        assert_page(sw, slot[i], i);
    assert_int_equal(info(sw).errors, 4);
    swap_close(sw);
}

/* Not before 100 ms, however often it is asked to. */
static void failed_writes_are_not_hurried(void **state)
{
    const struct aio_fault list[] = {{AIO_WRITE, 1, UINT64_MAX, EIO}};
    const struct aio_faults faults = {list, 1};
    struct swap *sw = open_swap(64, 64, &faults);
    struct timespec begin, end;
    uint32_t slot;
    (void)state;

    slot = put(sw, 5, 55);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 1000; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw); /* returns all the same */
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t ms =
        (uint64_t)((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
    assert_true(info(sw).errors <= 2 + ms / 100);
    assert_non_null(strstr(swap_trouble(sw), "input/output error while writing /"));
    assert_non_null(strstr(swap_trouble(sw), path));
    assert_page(sw, slot, 55);
    swap_free(sw, slot);
    assert_null(swap_trouble(sw)); /* nothing is left that could not be written */
    swap_close(sw);
}

static void read_errors(void **state)
{
    /* the run, then its pages one by one; the second run: only once */
    const struct aio_fault list[] = {{AIO_READ, 1, 9, EIO}, {AIO_READ, 10, 10, EIO}};
    const struct aio_faults faults = {list, 2};
    struct swap *sw = open_swap(64, 64, &faults);
    uint64_t memory[8][PAGE_SIZE / 8];
    uint32_t slot[8];
    void *pages[8];
    bool ok[8];
    (void)state;

    for (unsigned i = 0; i < 8; i++) {
        slot[i] = put(sw, i, i);
        pages[i] = memory[i];
    }
    write_all(sw);
    assert_false(swap_get(sw, slot, pages, ok, 8));
    for (unsigned i = 0; i < 8; i++)
        assert_false(ok[i]);
    assert_non_null(strstr(err_text(), "input/output error while reading /"));
    assert_non_null(strstr(swap_trouble(sw), path));
    assert_int_equal(info(sw).errors, 9);
    assert_true(swap_get(sw, slot, pages, ok, 8));
    for (unsigned i = 0; i < 8; i++)
        assert_true(ok[i] && model_is(memory[i], i, NOISE));
    assert_null(swap_trouble(sw));
    assert_int_equal(info(sw).checksum_errors, 0);
    assert_true(swap_get(sw, slot, pages, ok, 0));
    swap_close(sw);
}

static void read_file(uint64_t offset, void *bytes, size_t count)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_int_equal(pread(fd, bytes, count, (off_t)offset), count);
    close(fd);
}

static void patch_file(uint64_t offset, const void *bytes, size_t count)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, count, (off_t)offset), count);
    assert_int_equal(fsync(fd), 0);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void damaged_pages(void **state)
{
    struct swap *sw = open_swap(64, 64, NULL);
    uint64_t memory[8][PAGE_SIZE / 8];
    uint8_t cipher[PAGE_SIZE];
    uint32_t slot[8];
    void *pages[8];
    bool ok[8];
    (void)state;

    for (unsigned i = 0; i < 8; i++) {
        slot[i] = put(sw, i, i);
        pages[i] = memory[i];
    }
    write_all(sw);
    read_file(slot[3] * PAGE_SIZE, cipher, PAGE_SIZE);
    cipher[1234] ^= 1;
    patch_file(slot[3] * PAGE_SIZE, cipher, PAGE_SIZE);
    /* a page of ours, but another one: the cipher knows the place */
    read_file(slot[5] * PAGE_SIZE, cipher, PAGE_SIZE);
    patch_file(slot[6] * PAGE_SIZE, cipher, PAGE_SIZE);

    assert_true(swap_get(sw, slot, pages, ok, 8));
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(ok[i], i != 3 && i != 6);
        if (ok[i])
            assert_true(model_is(memory[i], i, NOISE));
    }
    assert_int_equal(info(sw).checksum_errors, 2);
    assert_int_equal(info(sw).used, 8);
    assert_null(swap_trouble(sw)); /* the host could read */

    /* a file that somebody made short */
    assert_int_equal(truncate(path, 0), 0);
    assert_false(swap_get(sw, slot, pages, ok, 8));
    assert_non_null(swap_trouble(sw));
    swap_close(sw);
}

static void holes_that_cannot_be(void **state)
{
    const struct aio_fault once[] = {{AIO_PUNCH, 1, 1, EIO}};
    const struct aio_fault never[] = {{AIO_PUNCH, 1, UINT64_MAX, EOPNOTSUPP}};
    const struct aio_faults faults[] = {{once, 1}, {never, 1}};
    (void)state;

    for (unsigned k = 0; k < 2; k++) {
        struct swap *sw = open_swap(64, 64, &faults[k]);
        for (unsigned i = 0; i < 64; i++)
            (void)put(sw, i, i);
        write_all(sw);
        for (unsigned i = 0; i < 64; i++)
            swap_free(sw, i);
        /* until they are there, or long enough for all that cannot be */
        for (int i = 0; i < (k == 0 ? 6000 : 30) && allocated_bytes(); i++) {
            punch_all(sw);
            usleep(10000);
        }
        assert_null(swap_trouble(sw));
        assert_int_equal(info(sw).errors, k == 0);
        assert_true(k == 0 ? !allocated_bytes() : allocated_bytes() >= 64 * PAGE_SIZE);
        assert_page(sw, put(sw, 9, 99), 99);
        write_all(sw);
        assert_page(sw, 9, 99);
        swap_close(sw);
    }
}

/* ---- a file system that is really full: in a mount of its own, where the host allows one ---- */

static bool mount_small(const char *size)
{
    char options[64];

    snprintf(options, sizeof(options), "size=%s", size);
    if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return false;
    return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("small", folder, "tmpfs", 0, options);
}

static int fill_small(void *arg)
{
    struct swap *sw;
    uint32_t slot[300];
    (void)arg;

    if (!mount_small("400k"))
        return FORBID_SKIP;
    log_set_level(LOG_ERROR);
    sw = open_swap(300, 300, NULL);
    for (unsigned i = 0; i < 300; i++)
        slot[i] = put(sw, i, i);
    for (int i = 0; i < 100 && !swap_trouble(sw); i++) {
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw);
    }
    if (!swap_trouble(sw) || !strstr(swap_trouble(sw), "no space left"))
        return 1;
    for (unsigned i = 0; i < 300; i++)
        assert_page(sw, slot[i], i);
    /* what comes back makes room for what waits */
    for (unsigned i = 0; i < 100; i++)
        swap_free(sw, slot[i]);
    for (int i = 0; i < 50; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        usleep(10000);
    }
    check(sw);
    for (unsigned i = 100; i < 300; i++)
        assert_page(sw, slot[i], i);
    if (mount(NULL, folder, NULL, MS_REMOUNT, "size=4m"))
        return 2;
    for (int i = 0; i < 6000 && info(sw).staged; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        usleep(10000);
    }
    if (info(sw).staged || swap_trouble(sw))
        return 3;
    for (unsigned i = 100; i < 300; i++)
        assert_page(sw, slot[i], i);
    swap_close(sw);
    return 0;
}

static void full_file_system(void **state)
{
    int got = forbid_run(fill_small, NULL);
    (void)state;

    if (got == FORBID_SKIP) {
        print_message("no mounts of one's own on this host\n");
        skip();
    }
    assert_int_equal(got, 0);
}

/* The same by a limit of the process, which needs no rights. */
static int hit_size_limit(void *arg)
{
    struct rlimit small, old;
    struct swap *sw;
    uint32_t slot[300];
    (void)arg;

    signal(SIGXFSZ, SIG_IGN);
    sw = open_swap(300, 300, NULL);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){100 * PAGE_SIZE, old.rlim_max};
    for (unsigned i = 0; i < 300; i++)
        slot[i] = put(sw, i, i);
    if (setrlimit(RLIMIT_FSIZE, &small))
        return 1;
    for (int i = 0; i < 100; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw);
    }
    if (!swap_trouble(sw) || info(sw).staged < 200)
        return 2;
    for (unsigned i = 0; i < 300; i++)
        assert_page(sw, slot[i], i);
    setrlimit(RLIMIT_FSIZE, &old);
    usleep(110000);
    write_all(sw);
    for (unsigned i = 0; i < 300; i++)
        assert_page(sw, slot[i], i);
    swap_close(sw);
    return 0;
}

/* The host refuses a file of this size: one line, and no file is left. */
static int be_refused(void *arg)
{
    struct rlimit small = {PAGE_SIZE, PAGE_SIZE};
    struct swap *sw;
    (void)arg;

    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &small))
        return 1;
    if (swap_open(&sw, SWAP_FOR_SWAPPING, path, 64 * PAGE_SIZE, 64, NULL) != ERR_IO || sw)
        return 2;
    if (!strstr(err_text(), path) || !strstr(err_text(), "--reservation"))
        return 3;
    return access(path, F_OK) ? 0 : 4;
}

static void refused_size(void **state)
{
    (void)state;
    assert_int_equal(forbid_run(be_refused, NULL), 0);
}

static void size_limit(void **state)
{
    (void)state;
    assert_int_equal(forbid_run(hit_size_limit, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failed_writes_lose_nothing),
        TEST(failed_writes_are_not_hurried),
        TEST(read_errors),
        TEST(damaged_pages),
        TEST(holes_that_cannot_be),
        TEST(full_file_system),
        TEST(size_limit),
        TEST(refused_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
