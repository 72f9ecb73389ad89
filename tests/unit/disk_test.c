/* SPDX-License-Identifier: Apache-2.0 */
/* Raw images on the host: what is refused and in which words, locks, alignment, short files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/disk.h"

#define IMAGE 65536

struct place {
    char folder[32], path[64];
    struct aio *aio;
};

static void start(struct place *p, const char *under)
{
    snprintf(p->folder, sizeof(p->folder), "%s/umbra-disk-XXXXXX", under);
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof(p->path), "%s/image", p->folder);
    assert_int_equal(aio_create(&p->aio, 8, NULL), ERR_OK);
}

static void stop(struct place *p)
{
    aio_destroy(p->aio);
    unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0);
}

/* Bytes that tell their place. */
static void make_image(const struct place *p, size_t bytes)
{
    uint8_t *image = malloc(bytes + 1);
    int fd = open(p->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    for (size_t i = 0; i < bytes; i++)
        image[i] = (uint8_t)(i * 7 + i / 512);
    assert_true(fd >= 0 && image);
    assert_int_equal(write(fd, image, bytes), bytes);
    close(fd);
    free(image);
}

static void refused(struct place *p, const char *path, bool read_only, const char *words)
{
    struct disk *disk = NULL;

    assert_int_equal(disk_open(&disk, path, read_only, p->aio), ERR_INVAL);
    if (!strstr(err_text(), words) || !strstr(err_text(), path) || strchr(err_text(), '\n'))
        fail_msg("'%s' does not say '%s'", err_text(), words);
}

static struct disk *opened(struct place *p, bool read_only)
{
    struct disk *disk = NULL;

    assert_int_equal(disk_open(&disk, p->path, read_only, p->aio), ERR_OK);
    return disk;
}

static void refuses_in_clear_words(void **state)
{
    struct place p;

    (void)state;
    start(&p, "/tmp");
    refused(&p, p.path, false, "there is no such file");
    refused(&p, "/dev/null/image", false, "there is no such file");
    refused(&p, p.folder, false, "is a folder");
    refused(&p, "/dev/null", false, "neither a file nor a block device");
    make_image(&p, 0);
    refused(&p, p.path, false, "is empty");
    make_image(&p, 1000);
    refused(&p, p.path, true, "not a multiple of 512");
    unlink(p.path);
    assert_int_equal(mkfifo(p.path, 0600), 0);
    refused(&p, p.path, true, "neither a file nor a block device"); /* and does not wait for it */
    stop(&p);
}

/* Root may write to anything, so root becomes somebody else for it. */
static void read_only_needs_to_be_said(void **state)
{
    const uid_t nobody = 65534, me = geteuid();
    struct place p;

    (void)state;
    start(&p, "/tmp");
    make_image(&p, IMAGE);
    assert_int_equal(chmod(p.folder, 0755), 0);
    assert_int_equal(chmod(p.path, me ? 0400 : 0044), 0);
    assert_true(me || !seteuid(nobody));
    refused(&p, p.path, false, ",ro");
    disk_close(opened(&p, true));
    assert_int_equal(seteuid(me), 0);
    assert_int_equal(chmod(p.path, 0000), 0);
    assert_true(me || !seteuid(nobody));
    refused(&p, p.path, true, "cannot be opened");
    assert_int_equal(seteuid(me), 0);
    stop(&p);
}

static void locks_out_others(void **state)
{
    struct place p;
    struct disk *a, *b;

    (void)state;
    start(&p, "/tmp");
    make_image(&p, IMAGE);
    a = opened(&p, false);
    refused(&p, p.path, false, "in use");
    refused(&p, p.path, true, "in use");
    disk_close(a);
    a = opened(&p, true);
    b = opened(&p, true);
    refused(&p, p.path, false, "in use");
    disk_close(a);
    refused(&p, p.path, false, "in use");
    disk_close(b);
    disk_close(opened(&p, false));
    stop(&p);
}

static void check_reads(struct place *p)
{
    struct disk *disk = opened(p, false);
    uint8_t *buf = aligned_alloc(4096, 3 * 4096);
    static const struct {
        size_t skew, bytes;
        uint64_t offset;
    } reads[] = {{0, 4096, 0}, {0, 4096, 8192}, {1, 4096, 0},    {512, 512, 512},
                 {0, 100, 7},  {3, 8192, 4095}, {0, 512, 65024}, {0, 12288, IMAGE - 12288}};

    assert_non_null(buf);
    assert_int_equal(disk_bytes(disk), IMAGE);
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        uint64_t at = reads[i].offset;

        if (reads[i].skew + reads[i].bytes > 3 * 4096)
            continue;
        memset(buf, 0, 3 * 4096);
        assert_int_equal(disk_read_now(disk, at, buf + reads[i].skew, reads[i].bytes), ERR_OK);
        for (size_t k = 0; k < reads[i].bytes; k++)
            assert_int_equal(buf[reads[i].skew + k], (uint8_t)((at + k) * 7 + (at + k) / 512));
    }
    assert_int_equal(disk_read_now(disk, IMAGE, buf, 512), ERR_IO);
    assert_int_equal(disk_read_now(disk, IMAGE - 512, buf, 1024), ERR_IO);
    assert_int_equal(disk_read_now(disk, UINT64_MAX - 511, buf, 512), ERR_IO);
    free(buf);
    disk_close(disk);
}

/* How many descriptors of `path` we have, and how many of them hold a lock (proc(5), fdinfo). */
static void count_locks(const char *path, unsigned *open_files, unsigned *locks)
{
    char link[64], target[128], line[128];

    *open_files = *locks = 0;
    for (int fd = 0; fd < 256; fd++) {
        ssize_t n;
        FILE *info;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, target, sizeof(target) - 1);
        if (n < 0 || (target[n] = '\0', strcmp(target, path)))
            continue;
        ++*open_files;
        snprintf(link, sizeof(link), "/proc/self/fdinfo/%d", fd);
        info = fopen(link, "r");
        assert_non_null(info);
        while (fgets(line, sizeof(line), info))
            *locks += strstr(line, "OFDLCK") != NULL;
        fclose(info);
    }
}

/* So that what a killed VM began by one of them is over before another VM has the image. */
static void each_descriptor_holds_a_lock(void **state)
{
    struct place p;
    unsigned open_files, locks;

    (void)state;
    start(&p, "/tmp");
    make_image(&p, IMAGE);
    for (unsigned read_only = 0; read_only < 2; read_only++) {
        struct disk *disk = opened(&p, read_only);

        count_locks(p.path, &open_files, &locks);
        assert_true(open_files > 0);
        assert_int_equal(locks, open_files);
        disk_close(disk);
    }
    stop(&p);
}

static void reads_at_any_alignment(void **state)
{
    struct place p;
    unsigned alignment;
    struct disk *disk;

    (void)state;
    start(&p, "/tmp");
    make_image(&p, IMAGE);
    disk = opened(&p, true);
    alignment = disk_alignment(disk);
    assert_true(alignment == 0 || alignment == 512 || alignment == 4096);
    disk_close(disk);
    check_reads(&p);
    stop(&p);
}

/* tmpfs has no transfers past the page cache. */
static void works_in_shared_memory(void **state)
{
    struct place p;

    (void)state;
    if (access("/dev/shm", W_OK))
        skip();
    start(&p, "/dev/shm");
    make_image(&p, IMAGE);
    check_reads(&p);
    stop(&p);
}

static void notices_that_it_became_short(void **state)
{
    struct place p;
    struct disk *disk;
    uint8_t buf[512];

    (void)state;
    start(&p, "/tmp");
    make_image(&p, IMAGE);
    disk = opened(&p, false);
    assert_true(disk_is_whole(disk));
    assert_int_equal(truncate(p.path, 8192), 0);
    assert_false(disk_is_whole(disk));
    assert_non_null(strstr(err_text(), "shorter"));
    assert_int_equal(disk_read_now(disk, 0, buf, 512), ERR_OK);
    assert_int_equal(disk_read_now(disk, 8192, buf, 512), ERR_IO);
    assert_int_equal(truncate(p.path, IMAGE), 0);
    assert_true(disk_is_whole(disk));
    disk_close(disk);
    stop(&p);
}

/* A loop device on the image, which goes with its last user; -1: not allowed here. */
static int make_loop(const struct place *p, char *name, size_t name_bytes)
{
    struct loop_info64 info = {.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR), image = open(p->path, O_RDWR);
    int number = control >= 0 ? ioctl(control, LOOP_CTL_GET_FREE) : -1;
    int loop = -1;

    snprintf(name, name_bytes, "/dev/loop%d", number);
    if (number >= 0)
        loop = open(name, O_RDWR);
    if (loop >= 0 && (ioctl(loop, LOOP_SET_FD, image) || ioctl(loop, LOOP_SET_STATUS64, &info))) {
        close(loop);
        loop = -1;
    }
    if (control >= 0)
        close(control);
    close(image);
    return loop;
}

static void opens_block_devices(void **state)
{
    struct place p;
    struct disk *disk = NULL;
    char name[32];
    uint8_t buf[512];
    int loop;

    (void)state;
    start(&p, "/tmp");
    make_image(&p, IMAGE);
    loop = make_loop(&p, name, sizeof(name));
    if (loop < 0) {
        stop(&p);
        print_message("SKIP: no loop devices here\n");
        skip();
    }
    assert_int_equal(disk_open(&disk, name, false, p.aio), ERR_OK);
    assert_int_equal(disk_bytes(disk), IMAGE);
    assert_true(disk_is_whole(disk));
    assert_int_equal(disk_read_now(disk, 512, buf, 512), ERR_OK);
    assert_int_equal(buf[1], (uint8_t)(513 * 7 + 1));
    refused(&p, name, false, "in use");
    disk_close(disk);
    close(loop);
    stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_in_clear_words),
        cmocka_unit_test(read_only_needs_to_be_said),
        cmocka_unit_test(locks_out_others),
        cmocka_unit_test(each_descriptor_holds_a_lock),
        cmocka_unit_test(reads_at_any_alignment),
        cmocka_unit_test(works_in_shared_memory),
        cmocka_unit_test(notices_that_it_became_short),
        cmocka_unit_test(opens_block_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
