/* SPDX-License-Identifier: Apache-2.0 */
/* The swap file as others see it: who may have it, what it shows, what becomes of it. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "forbid.h"
#include "swap_fixture.h"

/* ---- the file as others see it ---- */

static void expect_refusal(enum err want, const char *word)
{
    struct swap *sw;

    assert_int_equal(swap_open(&sw, SWAP_FOR_SWAPPING, path, 64 * PAGE_SIZE, 64, NULL), want);
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

    assert_int_equal(swap_open(&sw, SWAP_FOR_SWAPPING, path, 0, 64, NULL), ERR_INVAL);
    assert_int_equal(swap_open(&sw, SWAP_FOR_SWAPPING, path, 4095, 64, NULL), ERR_INVAL);
    assert_int_equal(swap_open(&sw, SWAP_FOR_SWAPPING, path, PAGE_SIZE, 0, NULL), ERR_INVAL);
    assert_int_equal(swap_open(&sw, SWAP_FOR_SWAPPING, path, UINT64_C(1) << 44, 64, NULL),
                     ERR_INVAL);
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

/* By itself, when a cluster has been quiet; what is still there stays. */
static void shrinks_by_itself(void **state)
{
    struct swap *sw = open_swap(256, 256, NULL);
    (void)state;

    for (unsigned i = 0; i < 256; i++)
        (void)put(sw, i, i);
    write_all(sw);
    assert_true(allocated_bytes() >= 256 * PAGE_SIZE);
    for (uint32_t i = 0; i < 256; i++)
        if (i % 32)
            swap_free(sw, i);
    for (int i = 0; i < 6000 && allocated_bytes() > 16 * PAGE_SIZE; i++) {
        usleep(10000);
        swap_work(sw, SWAP_WHEN_DUE);
    }
    assert_true(allocated_bytes() <= 16 * PAGE_SIZE);
    for (uint32_t i = 0; i < 256; i += 32)
        assert_page(sw, i, i);
    check(sw);
    swap_close(sw);
}

/* When the large hole is there the small ones are not yet: they are due half a minute later. */
static void small_holes_wait(void **state)
{
    struct swap *sw = open_swap(256, 256, NULL);
    (void)state;

    for (unsigned i = 0; i < 256; i++)
        (void)put(sw, i, i);
    write_all(sw);
    for (uint32_t i = 0; i < 256; i++)
        if (i < 128 || i % 8)
            swap_free(sw, i);
    for (int i = 0; i < 6000 && allocated_bytes() > 132 * PAGE_SIZE; i++) {
        usleep(10000);
        swap_work(sw, SWAP_WHEN_DUE);
    }
    assert_true(allocated_bytes() >= 128 * PAGE_SIZE);
    swap_punch(sw);
    for (int i = 0; i < 6000 && allocated_bytes() > 20 * PAGE_SIZE; i++) {
        usleep(10000);
        swap_work(sw, SWAP_WHEN_DUE);
    }
    assert_true(allocated_bytes() <= 20 * PAGE_SIZE);
    for (uint32_t i = 128; i < 256; i += 8)
        assert_page(sw, i, i);
    check(sw);
    swap_close(sw);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_in_the_way),
        TEST(sizes),
        TEST(mode_whatever_the_umask),
        TEST(shrinks_by_itself),
        TEST(small_holes_wait),
        TEST(removes_only_its_own),
        TEST(no_plaintext),
        TEST(killed),
        TEST(past_the_page_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
