/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/memory_json.h"
#include "control/vm_folder.h"
#include "mem/reclaim.h"

static char base[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/umbra-folder.XXXXXX");
    return mkdtemp(base) ? setenv("XDG_STATE_HOME", base, 1) : -1;
}

static int tear_down(void **state)
{
    char dir[128];

    (void)state;
    snprintf(dir, sizeof(dir), "%s/umbra", base);
    rmdir(dir);
    return rmdir(base);
}

/* The swap file as a VM would make it; answers its descriptor, which holds the lock. */
static int make_file(const struct vm_folder *folder)
{
    int fd = open(folder->swap_file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    return fd;
}

static void makes_a_folder_closed_to_others(void **state)
{
    struct vm_folder folder;
    struct stat st;
    char expect[128];

    (void)state;
    assert_int_equal(vm_folder_open(&folder, "web1", NULL), ERR_OK);
    snprintf(expect, sizeof(expect), "%s/umbra/web1/web1.vswp", base);
    assert_string_equal(folder.swap_file, expect);
    assert_int_equal(stat(folder.dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    vm_folder_close(&folder);
    snprintf(expect, sizeof(expect), "%s/umbra/web1", base);
    assert_int_not_equal(stat(expect, &st), 0);
}

static void a_running_vm_keeps_its_file(void **state)
{
    struct vm_folder first, second;
    int fd;

    (void)state;
    assert_int_equal(vm_folder_open(&first, "web1", NULL), ERR_OK);
    fd = make_file(&first);
    vm_folder_settle(&first);
    assert_int_equal(vm_folder_open(&second, "web1", NULL), ERR_BUSY);
    vm_folder_close(&second);
    vm_folder_sweep();
    assert_int_equal(access(first.swap_file, F_OK), 0);
    close(fd); /* as when it is killed */
    vm_folder_sweep();
    assert_int_not_equal(access(first.swap_file, F_OK), 0);
    assert_int_not_equal(access(first.dir, F_OK), 0);
    vm_folder_close(&first);
}

/*
 * What a VM began of I/O when it was killed keeps its file locked for a while. Here a child that
 * has the same descriptor is that I/O: it ends as soon as it is told, when others ask already.
 */
static void one_that_was_killed_is_waited_for(void **state)
{
    struct vm_folder first, second;
    int told[2], fd;
    pid_t child;

    (void)state;
    assert_int_equal(vm_folder_open(&first, "web1", NULL), ERR_OK);
    fd = make_file(&first);
    vm_folder_settle(&first);
    assert_int_equal(pipe(told), 0);
    child = fork();
    if (!child) {
        struct timespec pause = {.tv_nsec = 100000000};
        char c;

        (void)!read(told[0], &c, 1);
        nanosleep(&pause, NULL);
        _exit(0);
    }
    assert_true(child > 0);
    close(fd);
    assert_int_equal(write(told[1], "x", 1), 1);
    assert_int_equal(vm_folder_open(&second, "web1", NULL), ERR_OK);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(told[0]);
    close(told[1]);
    vm_folder_settle(&second);
    vm_folder_sweep();
    vm_folder_close(&second);
    vm_folder_close(&first);
}

static void a_smart_paging_file_lies_beside_or_elsewhere(void **state)
{
    struct vm_folder folder;
    char expect[160];

    (void)state;
    assert_int_equal(vm_folder_open(&folder, "web1", NULL), ERR_OK);
    assert_int_equal(vm_folder_smart(&folder, "web1", "/nonexistent"), ERR_INVAL);
    assert_non_null(strstr(err_text(), "--smart-paging-dir"));
    assert_int_equal(vm_folder_smart(&folder, "web1", "/dev/null"), ERR_INVAL);
    assert_int_equal(vm_folder_smart(&folder, "web1", ""), ERR_INVAL);
    assert_int_equal(vm_folder_smart(&folder, "web1", base), ERR_OK);
    snprintf(expect, sizeof(expect), "%s/web1.smart", base);
    assert_string_equal(folder.smart_file, expect);
    assert_int_equal(vm_folder_smart(&folder, "web1", NULL), ERR_OK);
    snprintf(expect, sizeof(expect), "%s/umbra/web1/web1.smart", base);
    assert_string_equal(folder.smart_file, expect);

    /* A VM all of whose memory is reserved has this file only. */
    int fd = open(folder.smart_file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    vm_folder_settle(&folder);
    vm_folder_sweep();
    assert_int_equal(access(expect, F_OK), 0);
    close(fd); /* as when it is killed */
    vm_folder_sweep();
    assert_int_not_equal(access(expect, F_OK), 0);
    assert_int_not_equal(access(folder.dir, F_OK), 0);
    vm_folder_close(&folder);
}

static void what_is_not_ours_stays(void **state)
{
    char dir[160], file[200];
    int fd;

    (void)state;
    snprintf(dir, sizeof(dir), "%s/umbra", base);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(dir, sizeof(dir), "%s/umbra/web1", base);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(file, sizeof(file), "%s/notes", dir);
    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    vm_folder_sweep();
    assert_int_equal(access(file, F_OK), 0);
    unlink(file);
    vm_folder_sweep();
    assert_int_not_equal(access(dir, F_OK), 0);
}

static void bad_places_are_refused(void **state)
{
    struct vm_folder folder;

    (void)state;
    assert_int_equal(vm_folder_open(&folder, "web1", ""), ERR_INVAL);
    assert_int_equal(vm_folder_open(&folder, "web1", "/nonexistent"), ERR_INVAL);
    assert_int_equal(vm_folder_open(&folder, "web1", "/dev/null"), ERR_INVAL);
    setenv("XDG_STATE_HOME", "/dev/null", 1);
    assert_int_equal(vm_folder_open(&folder, "web1", NULL), ERR_IO);
    assert_non_null(strstr(err_text(), "--swap-dir"));
    assert_non_null(strstr(err_text(), "--reservation"));
    vm_folder_sweep();
}

static void quantiles_are_upper_bounds(void **state)
{
    uint64_t buckets[MEM_LATENCY_BUCKETS] = {0};

    (void)state;
    assert_true(memory_latency_quantile(buckets, 0.5) == 0);
    buckets[10] = 98;
    buckets[20] = 2;
    assert_true(memory_latency_quantile(buckets, 0.5) == UINT64_C(2) << 10);
    assert_true(memory_latency_quantile(buckets, 0.98) == UINT64_C(2) << 10);
    assert_true(memory_latency_quantile(buckets, 0.99) == UINT64_C(2) << 20);
    buckets[MEM_LATENCY_BUCKETS - 1] = 1000;
    assert_true(memory_latency_quantile(buckets, 1) == UINT64_C(2) << (MEM_LATENCY_BUCKETS - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_a_folder_closed_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_running_vm_keeps_its_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_killed_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_smart_paging_file_lies_beside_or_elsewhere, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_ours_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_places_are_refused, set_up, tear_down),
        cmocka_unit_test(quantiles_are_upper_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
