/* SPDX-License-Identifier: Apache-2.0 */
/* One owner of a name at a time: who listens there, who died there, and who hangs there. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/listen.h"

static char folder[64], path[128];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/umbra-listen.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/name", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void one_owner_at_a_time(void **state)
{
    struct listener first, second;
    struct stat st;

    (void)state;
    assert_int_equal(listener_open(&first, path), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(listener_open(&second, path), ERR_BUSY);
    assert_int_equal(access(path, F_OK), 0);
    close(first.fd); /* it dies */
    assert_int_equal(listener_open(&second, path), ERR_OK);
    assert_true(second.replaced);
    listener_close(&second);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* An owner that takes nobody any more, with a full queue of those who wait, holds nobody up. */
static void an_owner_that_hangs_is_one(void **state)
{
    struct listener first, second;
    int waiting[200];
    size_t count = 0;

    (void)state;
    assert_int_equal(listener_open(&first, path), ERR_OK);
    while (count < 200 && (waiting[count] = listener_reach(path, SOCK_NONBLOCK)) >= 0)
        count++;
    assert_in_range(count, 1, 199);
    alarm(60);
    assert_int_equal(listener_open(&second, path), ERR_BUSY);
    alarm(0);
    while (count)
        close(waiting[--count]);
    listener_close(&first);
}

/* Who connects where there is no descriptor for it is sent away: it does not wait for ever. */
static void without_descriptors_nobody_waits(void **state)
{
    struct listener l;
    struct pollfd poll_it = {.events = POLLIN};
    struct rlimit before, few;
    int guest, taken[64];
    size_t count = 0;
    char byte;

    (void)state;
    assert_int_equal(listener_open(&l, path), ERR_OK);
    guest = listener_reach(path, 0);
    assert_true(guest >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < 64 && (taken[count] = dup(guest)) >= 0)
        count++;
    assert_in_range(count, 1, 63);
    assert_int_equal(listener_accept(&l), -1);
    poll_it.fd = l.fd;
    assert_int_equal(poll(&poll_it, 1, 0), 0);
    assert_int_equal(read(guest, &byte, 1), 0);
    close(guest);
    while (count)
        close(taken[--count]);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    guest = listener_reach(path, 0);
    poll_it.fd = listener_accept(&l);
    assert_true(poll_it.fd >= 0);
    close(poll_it.fd);
    close(guest);
    listener_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_owner_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_owner_that_hangs_is_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_descriptors_nobody_waits, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
