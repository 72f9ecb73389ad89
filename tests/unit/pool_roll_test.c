/* SPDX-License-Identifier: Apache-2.0 */
/* Who was a member of a pool before its manager was restarted. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/pool/roll.h"

#define MINUTE_NS UINT64_C(60000000000)

static char base[64], file[128];

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/umbra-roll.XXXXXX");
    if (!mkdtemp(base))
        return -1;
    snprintf(file, sizeof(file), "%s/umbra/.web.pool", base);
    return setenv("XDG_STATE_HOME", base, 1);
}

static int tear_down(void **state)
{
    char dir[128];

    (void)state;
    unlink(file);
    snprintf(dir, sizeof(dir), "%s/umbra", base);
    rmdir(dir);
    return rmdir(base);
}

static void a_member_of_the_manager_before_restarts_once(void **state)
{
    struct roll roll;
    struct stat st;

    (void)state;
    roll_open(&roll, "web", 0);
    assert_false(roll_enter(&roll, "a", 0));
    assert_false(roll_enter(&roll, "b", 0));
    assert_false(roll_enter(&roll, "a", 0)); /* it died alone: a cold start */
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    roll_close(&roll);

    roll_open(&roll, "web", 0);
    assert_true(roll_enter(&roll, "a", MINUTE_NS));
    assert_false(roll_enter(&roll, "a", MINUTE_NS));
    assert_false(roll_enter(&roll, "c", MINUTE_NS));
    assert_true(roll_enter(&roll, "b", 9 * MINUTE_NS));
    roll_close(&roll);
}

static void a_goodbye_or_ten_minutes_end_it(void **state)
{
    struct roll roll;

    (void)state;
    roll_open(&roll, "web", 0);
    roll_enter(&roll, "a", 0);
    roll_enter(&roll, "b", 0);
    roll_strike(&roll, "a");
    roll_strike(&roll, "nobody");
    roll_close(&roll);

    roll_open(&roll, "web", MINUTE_NS);
    assert_false(roll_enter(&roll, "a", MINUTE_NS));
    assert_false(roll_enter(&roll, "b", 12 * MINUTE_NS));
    roll_close(&roll);
}

static void nobody_leaves_no_file(void **state)
{
    struct roll roll;

    (void)state;
    roll_open(&roll, "web", 0);
    roll_enter(&roll, "a", 0);
    roll_enter(&roll, "b", 0);
    roll_strike(&roll, "a");
    assert_int_equal(access(file, F_OK), 0);
    roll_strike(&roll, "b");
    assert_int_not_equal(access(file, F_OK), 0);
    roll_close(&roll);
}

/* A write that is cut short, as on a full disk: what was there stays, and nothing else. */
static void a_full_disk_keeps_what_is_there(void **state)
{
    struct rlimit old, small;
    struct roll roll;
    char new_file[160];

    (void)state;
    snprintf(new_file, sizeof(new_file), "%s.new", file);
    roll_open(&roll, "web", 0);
    roll_enter(&roll, "a", 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){4, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    roll_enter(&roll, "b", 0);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(roll.is_told);
    roll_close(&roll);
    assert_int_not_equal(access(new_file, F_OK), 0);
    roll_open(&roll, "web", 0);
    assert_true(roll_enter(&roll, "a", 0));
    roll_close(&roll);
}

static void a_file_of_anything_harms_nothing(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[1]",
        "{\"members\": 7}",
        "{\"members\": [7, \"../x\", \"\", null, \"ok\", \"ok\"]}",
    };
    struct roll roll;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        FILE *f;

        roll_open(&roll, "web", 0);
        roll_close(&roll);
        f = fopen(file, "w");
        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
        roll_open(&roll, "web", 0);
        assert_false(roll_enter(&roll, "x", 0));
        assert_int_equal(roll_enter(&roll, "ok", 0), i == 4);
        roll_close(&roll);
    }
}

static void it_remembers_so_many_and_no_more(void **state)
{
    struct roll roll;
    FILE *f;

    (void)state;
    roll_open(&roll, "web", 0);
    roll_close(&roll);
    f = fopen(file, "w");
    assert_non_null(f);
    for (unsigned i = 0; i < ROLL_MAX; i++)
        fprintf(f, "%s\"vm%u\"", i ? ", " : "{\"members\": [", i);
    fputs("]}", f);
    fclose(f);
    roll_open(&roll, "web", 0);
    assert_false(roll_enter(&roll, "new", 0));
    roll_close(&roll);
    roll_open(&roll, "web", 0);
    assert_int_equal(json_array_size(roll.names), ROLL_MAX);
    assert_true(roll_enter(&roll, "vm1", 0));
    assert_true(roll_enter(&roll, "new", 0));
    assert_false(roll_enter(&roll, "vm0", 0));
    roll_close(&roll);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_member_of_the_manager_before_restarts_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_goodbye_or_ten_minutes_end_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_leaves_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_keeps_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_anything_harms_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_remembers_so_many_and_no_more, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
