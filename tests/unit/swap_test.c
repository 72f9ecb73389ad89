/* SPDX-License-Identifier: Apache-2.0 */
/* The swap store against a model: contents, slots, failures, the file as others see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "forbid.h"
#include "mem/store/swap.h"
#include "store_model.h"

#define NOISE 4096

static char folder[256], path[300];

static int set_up(void **state)
{
    (void)state;
    model_folder(folder, sizeof(folder));
    snprintf(path, sizeof(path), "%s/guest.vswp", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_folder_remove(folder);
    return 0;
}

static struct swap *open_swap(uint64_t slots, uint64_t pages, const struct aio_faults *faults)
{
    struct swap *sw;

    if (swap_open(&sw, path, slots * PAGE_SIZE, pages, faults))
        fail_msg("%s", err_text());
    return sw;
}

static void check(const struct swap *sw)
{
    if (!swap_check(sw))
        fail_msg("%s", err_text());
}

static struct swap_info info(const struct swap *sw)
{
    struct swap_info i;

    swap_get_info(sw, &i);
    return i;
}

static uint32_t put(struct swap *sw, uint64_t index, uint64_t version)
{
    uint64_t page[PAGE_SIZE / 8];
    uint32_t slot;
    enum swap_put got;

    model_fill(page, version, NOISE);
    while ((got = swap_put(sw, index, page, &slot)) == SWAP_BUSY)
        swap_wait_room(sw);
    assert_int_equal(got, SWAP_OK);
    return slot;
}

/* Until nothing is staged. */
static void write_all(struct swap *sw)
{
    for (int i = 0; info(sw).staged && i < 10000; i++) {
        swap_work(sw, SWAP_ALL_NOW);
        swap_wait_room(sw);
        if (!info(sw).in_flight)
            usleep(1000); /* until what has failed is tried again */
    }
    assert_int_equal(info(sw).staged, 0);
    check(sw);
}

/* Until no hole is being punched. */
static void punch_all(struct swap *sw)
{
    struct pollfd p = {.fd = swap_fd(sw), .events = POLLIN};

    swap_work(sw, SWAP_ALL_NOW);
    while (info(sw).in_flight) {
        assert_int_equal(poll(&p, 1, 60000), 1);
        swap_work(sw, SWAP_ALL_NOW);
    }
    check(sw);
}

static void assert_page(struct swap *sw, uint32_t slot, uint64_t version)
{
    uint64_t page[PAGE_SIZE / 8];
    void *pages = page;
    bool ok = false;

    assert_true(swap_get(sw, &slot, &pages, &ok, 1));
    assert_true(ok);
    assert_true(model_is(page, version, NOISE));
}

static uint64_t allocated_bytes(void)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* ---- the plain way ---- */

static void put_write_get_free(void **state)
{
    struct swap *sw = open_swap(256, 256, NULL);
    uint32_t slot[200];
    struct stat st;
    (void)state;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_size, 256 * PAGE_SIZE);
    assert_int_equal(st.st_blocks, 0);
    for (unsigned i = 0; i < 200; i++) {
        slot[i] = put(sw, i, i);
        assert_int_equal(slot[i], i); /* as many slots as pages: each has its own */
        assert_true(swap_is_staged(sw, slot[i]));
    }
    assert_page(sw, slot[7], 7);
    write_all(sw);
    assert_false(swap_is_staged(sw, slot[7]));
    assert_int_equal(info(sw).write_bytes, 200 * PAGE_SIZE);
    for (unsigned i = 0; i < 200; i++)
        assert_page(sw, slot[i], i);
    assert_int_equal(info(sw).used, 200);
    assert_int_equal(info(sw).read_bytes, 200 * PAGE_SIZE);
    assert_true(allocated_bytes() >= 200 * PAGE_SIZE);
    for (unsigned i = 0; i < 200; i++)
        swap_free(sw, slot[i]);
    punch_all(sw);
    assert_int_equal(info(sw).used, 0);
    assert_int_equal(allocated_bytes(), 0);
    swap_close(sw);
    assert_int_not_equal(stat(path, &st), 0);
}

/* ---- anything, against a model ---- */

#define MODEL_PAGES 6000

struct model {
    struct swap *sw;
    uint64_t seed;
    uint32_t slot[MODEL_PAGES];
    uint64_t version[MODEL_PAGES]; /* 0: not there */
};

static void model_get(struct model *m, uint64_t start, unsigned count)
{
    static uint64_t memory[300][PAGE_SIZE / 8];
    uint32_t slots[300];
    uint64_t index[300];
    void *pages[300];
    bool ok[300];
    unsigned n = 0;

    for (uint64_t i = start; i < MODEL_PAGES && n < count; i++) {
        if (!m->version[i])
            continue;
        slots[n] = m->slot[i];
        index[n] = i;
        pages[n] = memory[n];
        n++;
    }
    assert_true(swap_get(m->sw, slots, pages, ok, n));
    for (unsigned i = 0; i < n; i++) {
        assert_true(ok[i]);
        assert_true(model_is(memory[i], m->version[index[i]], NOISE));
    }
}

static void model_step(struct model *m)
{
    uint64_t index = model_below(&m->seed, MODEL_PAGES), page[PAGE_SIZE / 8];
    unsigned what = (unsigned)model_below(&m->seed, 100);
    unsigned run = 1 + (unsigned)model_below(&m->seed, 20);

    if (what < 50) {
        for (uint64_t i = index; i < index + run && i < MODEL_PAGES; i++) {
            uint64_t version = model_next(&m->seed) | 1;
            enum swap_put got;
            if (m->version[i])
                continue;
            model_fill(page, version, NOISE);
            got = swap_put(m->sw, i, page, &m->slot[i]);
            if (got == SWAP_OK)
                m->version[i] = version;
            else if (got == SWAP_BUSY)
                swap_wait_room(m->sw);
            else
                assert_int_equal(info(m->sw).used, info(m->sw).slots);
        }
    } else if (what < 85) {
        for (uint64_t i = index; i < index + run && i < MODEL_PAGES; i++) {
            if (m->version[i])
                swap_free(m->sw, m->slot[i]);
            m->version[i] = 0;
        }
    } else if (what < 90) {
        model_get(m, index, what == 89 ? 300 : run);
    } else {
        swap_work(m->sw, what < 98 ? SWAP_WHEN_DUE : SWAP_ALL_NOW);
    }
}

static void run_model(uint64_t slots, uint64_t seed, unsigned steps)
{
    struct model *m = calloc(1, sizeof(*m));
    uint64_t used = 0;

    assert_non_null(m);
    m->seed = seed;
    m->sw = open_swap(slots, MODEL_PAGES, NULL);
    for (unsigned i = 0; i < steps; i++) {
        model_step(m);
        if (i % 1024 == 0)
            check(m->sw);
        if (i == steps / 2) {
            swap_free_all(m->sw);
            memset(m->version, 0, sizeof(m->version));
            assert_int_equal(info(m->sw).used, 0);
            check(m->sw);
        }
    }
    for (uint64_t i = 0; i < MODEL_PAGES; i++)
        used += m->version[i] != 0;
    assert_int_equal(info(m->sw).used, used);
    for (unsigned i = 0; i < MODEL_PAGES; i += 100)
        model_get(m, i, 300);
    assert_int_equal(info(m->sw).errors, 0);
    assert_int_equal(info(m->sw).checksum_errors, 0);
    write_all(m->sw);
    punch_all(m->sw);
    /* and what the file system needs to say where they are */
    assert_true(allocated_bytes() <= (used + MODEL_PAGES / 50) * PAGE_SIZE);
    swap_close(m->sw);
    free(m);
}

static void model_with_own_slots(void **state)
{
    (void)state;
    run_model(MODEL_PAGES, 1, 10000);
}

static void model_with_fewer_slots(void **state)
{
    (void)state;
    run_model(MODEL_PAGES / 3 + 7, 2, 10000);
}

/* ---- where pages lie ---- */

static void neighbours_lie_together(void **state)
{
    struct swap *sw = open_swap(1000, 4000, NULL);
    uint64_t seed = 5, order[64];
    uint32_t slot[64];
    (void)state;

    for (unsigned i = 0; i < 64; i++)
        order[i] = i;
    for (unsigned i = 63; i > 0; i--) {
        uint64_t k = model_below(&seed, i + 1), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    (void)put(sw, 3999, 1);
    (void)put(sw, 0, 2);
    for (unsigned i = 0; i < 64; i++)
        slot[order[i]] = put(sw, 1280 + order[i], 100 + order[i]);
    for (unsigned i = 1; i < 64; i++)
        assert_int_equal(slot[i], slot[i - 1] + 1);
    write_all(sw);

    uint64_t memory[64][PAGE_SIZE / 8];
    void *pages[64];
    uint32_t wanted[64];
    bool ok[64];
    for (unsigned i = 0; i < 64; i++) { /* asked for in any order */
        pages[i] = memory[i];
        wanted[i] = slot[order[i]];
    }
    assert_true(swap_get(sw, wanted, pages, ok, 64));
    for (unsigned i = 0; i < 64; i++)
        assert_true(ok[i] && model_is(memory[i], 100 + order[i], NOISE));
    assert_int_equal(info(sw).sequential_reads, 1);
    assert_int_equal(info(sw).read_bytes, 64 * PAGE_SIZE);
    swap_close(sw);
}

static void full_and_busy(void **state)
{
    uint64_t page[PAGE_SIZE / 8];
    struct swap *sw = open_swap(3, 5000, NULL);
    uint32_t slot[3], none;
    (void)state;

    model_fill(page, 1, NOISE);
    for (unsigned i = 0; i < 3; i++)
        slot[i] = put(sw, i * 1000, i);
    assert_int_equal(swap_put(sw, 7, page, &none), SWAP_FULL);
    assert_int_equal(none, SWAP_NO_SLOT);
    swap_free(sw, slot[1]);
    slot[1] = put(sw, 7, 77);
    assert_page(sw, slot[1], 77);
    check(sw);
    swap_close(sw);

    sw = open_swap(5000, 5000, NULL);
    for (unsigned i = 0; i < SWAP_STAGING_PAGES; i++)
        assert_int_equal(swap_put(sw, i, page, &none), SWAP_OK);
    assert_int_equal(swap_put(sw, 4999, page, &none), SWAP_BUSY);
    assert_int_equal(info(sw).used, SWAP_STAGING_PAGES);
    swap_wait_room(sw);
    assert_int_equal(swap_put(sw, 4999, page, &none), SWAP_OK);
    check(sw);
    swap_close(sw);
}

static void freed_while_written(void **state)
{
    struct swap *sw = open_swap(512, 512, NULL);
    uint32_t slot[512];
    (void)state;

    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 512; i++)
            slot[i] = put(sw, i, round * 1000 + i);
        swap_work(sw, SWAP_ALL_NOW); /* on their way */
        for (unsigned i = round % 3; i < 512; i += 3)
            swap_free(sw, slot[i]);
        check(sw);
        for (unsigned i = round % 3; i < 512; i += 6)
            slot[i] = put(sw, i, round * 1000 + i + 7777);
        swap_work(sw, SWAP_ALL_NOW);
        write_all(sw);
        for (unsigned i = 0; i < 512; i++) {
            bool freed = i >= round % 3 && (i - round % 3) % 3 == 0;
            bool again = freed && (i - round % 3) % 6 == 0;
            if (freed && !again)
                continue;
            assert_page(sw, slot[i], round * 1000 + i + (again ? 7777 : 0));
            swap_free(sw, slot[i]);
        }
        assert_int_equal(info(sw).used, 0);
        punch_all(sw);
    }
    assert_true(allocated_bytes() <= 4 * PAGE_SIZE);
    swap_close(sw);
}

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
    while (!swap_trouble(sw))
        swap_wait_room(sw);
    assert_non_null(strstr(swap_trouble(sw), "no space left on device while writing /"));
    assert_non_null(strstr(swap_trouble(sw), path));
    assert_true(info(sw).errors >= 1);
    check(sw);
    for (unsigned i = 0; i < 640; i++)
        assert_page(sw, slot[i], i); /* from the file or from staging */
    swap_free(sw, slot[0]);
    slot[0] = put(sw, 0, 0);
    for (int i = 0; swap_trouble(sw) && i < 1000; i++) {
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
    assert_non_null(strstr(swap_trouble(sw), "input/output error while writing"));
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
    patch_file(slot[3] * PAGE_SIZE + 1234, "x", 1);
    /* a page of ours, but another one: the cipher knows the place */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, cipher, PAGE_SIZE, (off_t)(slot[5] * PAGE_SIZE)), PAGE_SIZE);
    close(fd);
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
        for (int i = 0; i < 30; i++) {
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
    for (int i = 0; i < 500 && info(sw).staged; i++) {
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

static void size_limit(void **state)
{
    (void)state;
    assert_int_equal(forbid_run(hit_size_limit, NULL), 0);
}

static int run_synchronously(void *arg)
{
    (void)arg;
    if (forbid_call(FORBID_IO_URING, EPERM))
        return FORBID_SKIP;
    run_model(MODEL_PAGES, 3, 3000);
    run_model(MODEL_PAGES / 3, 4, 3000);
    return 0;
}

static void without_io_uring(void **state)
{
    int got = forbid_run(run_synchronously, NULL);
    (void)state;

    if (got == FORBID_SKIP)
        skip();
    assert_int_equal(got, 0);
}

/* ---- the file as others see it ---- */

static void expect_refusal(enum err want, const char *word)
{
    struct swap *sw;

    assert_int_equal(swap_open(&sw, path, 64 * PAGE_SIZE, 64, NULL), want);
    assert_null(sw);
    assert_non_null(strstr(err_text(), word));
    assert_non_null(strstr(err_text(), folder)); /* names the file */
}

static void what_is_in_the_way(void **state)
{
    struct swap *sw;
    struct stat st;
    char other[300];
    (void)state;

    /* an old file goes */
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    assert_int_equal(write(fd, "old", 3), 3);
    close(fd);
    sw = open_swap(64, 64, NULL);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 64 * PAGE_SIZE);
    /* one in use does not, neither does it suffer */
    (void)put(sw, 1, 11);
    write_all(sw);
    expect_refusal(ERR_BUSY, "of a VM that runs");
    assert_page(sw, 1, 11);
    swap_close(sw);
    assert_int_not_equal(stat(path, &st), 0);

    /* nothing but a regular file is touched */
    snprintf(other, sizeof(other), "%s/other", folder);
    fd = open(other, O_RDWR | O_CREAT, 0644);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_int_equal(symlink(other, path), 0);
    expect_refusal(ERR_IO, "in the way");
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_size, 8);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_refusal(ERR_INVAL, "no regular file");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refusal(ERR_IO, "in the way");
    rmdir(path);
    snprintf(path, sizeof(path), "%s/none/guest.vswp", folder);
    expect_refusal(ERR_IO, "--swap-dir");
}

static void sizes(void **state)
{
    struct swap *sw;
    (void)state;

    assert_int_equal(swap_open(&sw, path, 0, 64, NULL), ERR_INVAL);
    assert_int_equal(swap_open(&sw, path, 4095, 64, NULL), ERR_INVAL);
    assert_int_equal(swap_open(&sw, path, PAGE_SIZE, 0, NULL), ERR_INVAL);
    assert_int_equal(swap_open(&sw, path, UINT64_C(1) << 44, 64, NULL), ERR_INVAL);
    /* a file of a size that no file system here has: refused with a word */
    assert_int_not_equal(access(path, F_OK), 0);
    sw = open_swap(1, 1, NULL);
    assert_page(sw, put(sw, 0, 5), 5);
    write_all(sw);
    assert_page(sw, 0, 5);
    swap_close(sw);
}

static void mode_whatever_the_umask(void **state)
{
    mode_t masks[] = {0, 077, 0777};
    struct stat st;
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        mode_t old = umask(masks[i]);
        struct swap *sw = open_swap(8, 8, NULL);
        umask(old);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        swap_close(sw);
    }
}

static void removes_only_its_own(void **state)
{
    struct swap *sw = open_swap(8, 8, NULL);
    char moved[300];
    (void)state;

    snprintf(moved, sizeof(moved), "%s/moved", folder);
    assert_int_equal(rename(path, moved), 0);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_page(sw, put(sw, 1, 1), 1);
    write_all(sw);
    assert_page(sw, 1, 1);
    swap_close(sw);
    assert_int_equal(access(path, F_OK), 0);
}

static void *read_file(size_t *bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *all;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *bytes = (size_t)st.st_size;
    all = malloc(*bytes);
    assert_non_null(all);
    assert_int_equal(read(fd, all, *bytes), *bytes);
    close(fd);
    return all;
}

#define SECRET_BYTES 8 /* so much of a secret is found anywhere, at any alignment */

static bool shows(const uint8_t *file, size_t bytes)
{
    return memmem(file, bytes, "TopSecret", SECRET_BYTES) != NULL;
}

static void fill_secret(char *page)
{
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        page[i] = "TopSecret! "[i % 11];
}

static void no_plaintext(void **state)
{
    struct swap *sw = open_swap(256, 256, NULL);
    char page[PAGE_SIZE];
    uint32_t slot;
    size_t bytes;
    (void)state;

    fill_secret(page);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(swap_put(sw, i, page, &slot), SWAP_OK);
    write_all(sw);
    uint8_t *file = read_file(&bytes);
    assert_int_equal(bytes, 256 * PAGE_SIZE);
    assert_true(shows((uint8_t *)page, PAGE_SIZE)); /* the test can see one */
    assert_false(shows(file, bytes));
    for (unsigned i = 1; i < 200; i++) /* equal pages do not look equal */
        assert_int_not_equal(memcmp(file, file + i * PAGE_SIZE, 16), 0);
    /* no two blocks of 16 bytes in the file are equal */
    unsigned equal = 0;
    for (unsigned i = 16; i < 200 * PAGE_SIZE; i += 16)
        equal += !memcmp(file + i, file + i - 16, 16);
    assert_int_equal(equal, 0);
    free(file);
    swap_close(sw);

    /* another life, another key */
    uint8_t first[2][16];
    for (unsigned k = 0; k < 2; k++) {
        sw = open_swap(8, 8, NULL);
        assert_int_equal(swap_put(sw, 0, page, &slot), SWAP_OK);
        write_all(sw);
        file = read_file(&bytes);
        memcpy(first[k], file, 16);
        free(file);
        swap_close(sw);
    }
    assert_int_not_equal(memcmp(first[0], first[1], 16), 0);
}

static int swap_and_die(void *arg)
{
    struct swap *sw = open_swap(2048, 2048, NULL);
    char page[PAGE_SIZE];
    uint64_t seed = *(uint64_t *)arg;
    uint32_t slot;

    fill_secret(page);
    for (unsigned i = 0; i < 2048; i++) {
        while (swap_put(sw, i, page, &slot) == SWAP_BUSY)
            swap_wait_room(sw);
        if (i >= 64 && model_below(&seed, 1500) == 0)
            kill(getpid(), SIGKILL);
        if (i % 64 == 0)
            swap_work(sw, SWAP_ALL_NOW);
    }
    write_all(sw);
    kill(getpid(), SIGKILL);
    return 0;
}

static void killed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        size_t bytes;
        assert_int_equal(forbid_run(swap_and_die, &seed), 128 + SIGKILL);
        uint8_t *file = read_file(&bytes);
        assert_false(shows(file, bytes));
        free(file);
    }
    /* and the next one takes the place */
    struct swap *sw = open_swap(8, 8, NULL);
    assert_int_equal(allocated_bytes(), 0);
    swap_close(sw);
}

/* The page cache does not grow by what is swapped. */
static void past_the_page_cache(void **state)
{
    struct swap *sw = open_swap(4096, 4096, NULL);
    uint8_t in_cache[4096];
    unsigned cached = 0;
    (void)state;

    for (unsigned i = 0; i < 4096; i++)
        (void)put(sw, i, i);
    write_all(sw);
    for (uint32_t i = 0; i < 4096; i++)
        assert_page(sw, i, i);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = mmap(NULL, 4096 * PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mincore(map, 4096 * PAGE_SIZE, in_cache), 0);
    for (unsigned i = 0; i < 4096; i++)
        cached += in_cache[i] & 1;
    munmap(map, 4096 * PAGE_SIZE);
    close(fd);
    /* nothing, or the window of a file system that cannot do without */
    assert_true(cached <= (8 << 20) / PAGE_SIZE);
    swap_close(sw);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_write_get_free),
        TEST(neighbours_lie_together),
        TEST(full_and_busy),
        TEST(freed_while_written),
        TEST(failed_writes_lose_nothing),
        TEST(failed_writes_are_not_hurried),
        TEST(read_errors),
        TEST(damaged_pages),
        TEST(holes_that_cannot_be),
        TEST(full_file_system),
        TEST(size_limit),
        TEST(without_io_uring),
        TEST(what_is_in_the_way),
        TEST(sizes),
        TEST(mode_whatever_the_umask),
        TEST(removes_only_its_own),
        TEST(no_plaintext),
        TEST(killed),
        TEST(past_the_page_cache),
        TEST(model_with_own_slots),
        TEST(model_with_fewer_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
