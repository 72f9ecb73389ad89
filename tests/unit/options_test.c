/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/cli/run_options.h"
#include "control/paths.h"

#define HOST_BYTES (UINT64_C(8) << 30)

static struct run_options parsed;
static bool want_help;

/* Splits `line` at blanks; a '' word is empty. */
static enum err parse(const char *line)
{
    static char copy[512];
    char *words[32];
    int count = 0;

    strcpy(copy, line);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
        words[count++] = strcmp(w, "''") ? w : w + 2;
    return run_options_parse(&parsed, count, words, HOST_BYTES, &want_help);
}

static void refuses(const char *line, enum err err, const char *says)
{
    assert_int_equal(parse(line), err);
    if (!strstr(err_text(), says))
        fail_msg("'%s' is answered with '%s', not '%s'", line, err_text(), says);
}

static void defaults_are_the_contracts(void **state)
{
    (void)state;
    assert_int_equal(parse(""), ERR_OK);
    assert_true(parsed.vm.memory_bytes == UINT64_C(512) << 20);
    assert_int_equal(parsed.vm.cpus, 1);
    assert_string_equal(parsed.vm.engine, "auto");
    assert_int_equal(parsed.vm.clock, CLOCK_HOST);
    assert_int_equal(parsed.vm.reboot, VM_REBOOT_RESTARTS);
    assert_false(parsed.vm.debug_exit);
    assert_false(parsed.has_kernel);
    assert_int_equal(strncmp(parsed.vm.name, "vm-", 3), 0);
}

static void takes_all_served_options(void **state)
{
    (void)state;
    assert_int_equal(
        parse(
            "--kernel K --initrd=I --append=a=b --memory 1G --name web.1 --cpus 1 --engine interp "
            "--shadow lazy --clock instructions --no-reboot --debug-exit --stats S --audit "
            "--oracle"),
        ERR_OK);
    assert_string_equal(parsed.vm.kernel, "K");
    assert_string_equal(parsed.vm.initrd, "I");
    assert_string_equal(parsed.vm.append, "a=b");
    assert_true(parsed.vm.memory_bytes == UINT64_C(1) << 30);
    assert_string_equal(parsed.vm.name, "web.1");
    assert_int_equal(parsed.vm.clock, CLOCK_INSTRUCTIONS);
    assert_int_equal(parsed.vm.reboot, VM_REBOOT_ENDS);
    assert_true(parsed.vm.debug_exit && parsed.vm.audit && parsed.vm.mmu_oracle);
    assert_string_equal(parsed.stats_path, "S");
}

static void a_value_may_have_dashes(void **state)
{
    (void)state;
    assert_int_equal(parse("--append --verbose --stats=--no-reboot"), ERR_OK);
    assert_string_equal(parsed.vm.append, "--verbose");
    assert_string_equal(parsed.stats_path, "--no-reboot");
}

static void help_wins(void **state)
{
    (void)state;
    assert_int_equal(parse("--memory 1G --help --nonsense"), ERR_OK);
    assert_true(want_help);
    assert_int_equal(parse("-h"), ERR_OK);
    assert_true(want_help);
}

static void refuses_with_one_clear_line(void **state)
{
    (void)state;
    refuses("--nonsense", ERR_INVAL, "unknown option '--nonsense'");
    refuses("--apend x", ERR_INVAL, "did you mean '--append'");
    refuses("--kernle x", ERR_INVAL, "did you mean '--kernel'");
    refuses("--kernel", ERR_INVAL, "--kernel needs a value");
    refuses("--stats --no-reboot", ERR_INVAL, "--stats needs a value");
    refuses("--kernel --append=a", ERR_INVAL, "--kernel needs a value");
    refuses("--audit=1", ERR_INVAL, "takes no value");
    refuses("-k x", ERR_INVAL, "unknown option '-k'");
    refuses("word", ERR_INVAL, "unexpected word 'word'");
    refuses("-- --audit", ERR_INVAL, "unexpected word '--audit'");
    refuses("--memory 9G", ERR_INVAL, "this host has 8G");
    refuses("--memory 2047K", ERR_INVAL, "the least is 2M");
    refuses("--memory 512", ERR_INVAL, "did you mean --memory 512M");
    refuses("--memory ''", ERR_INVAL, "not a size");
    refuses("--pool p --limit 256M", ERR_INVAL, "exclude each other");
    refuses("--shares 5", ERR_INVAL, "need --pool NAME");
    refuses("--pool p --shares 0", ERR_INVAL, "no number from 1");
    refuses("--engine kvm", ERR_UNSUPPORTED, "not built yet");
    refuses("--engine tcg", ERR_INVAL, "use auto, interp or translate");
    refuses("--shadow eager", ERR_INVAL, "use lazy, trace or adaptive");
    refuses("--clock moon", ERR_INVAL, "use host or instructions");
    refuses("--cpus 4", ERR_UNSUPPORTED, "not built yet");
    refuses("--cpus 1x", ERR_INVAL, "not a number");
}

static void memory_options_are_taken(void **state)
{
    (void)state;
    assert_int_equal(parse("--memory 1G --limit 256M --reservation 64M --swap-dir D --compress off "
                           "--inject swap-write=ENOSPC@100-200,disk-read=EIO@5-"),
                     ERR_OK);
    assert_true(parsed.vm.limit_bytes == UINT64_C(256) << 20);
    assert_true(parsed.vm.reservation_bytes == UINT64_C(64) << 20);
    assert_true(parsed.vm.compress_bytes == 0);
    assert_string_equal(parsed.vm.swap_dir, "D");
    assert_int_equal(parsed.vm.inject.swap.count, 1);
    assert_int_equal(parsed.vm.inject.disk.count, 1);
    assert_int_equal(parse("--means report,share --cures off"), ERR_OK);
    assert_int_equal(parsed.vm.forbidden_means,
                     MEM_MEANS_SWAP | MEM_MEANS_COMPRESS | POLICY_MEANS_BALLOON);
    assert_true(parsed.vm.without_cures);
    assert_int_equal(parse("--means none"), ERR_OK);
    assert_int_equal(parsed.vm.forbidden_means, POLICY_MEANS_ALL);
    assert_int_equal(parse("--means all --cures on"), ERR_OK);
    assert_int_equal(parsed.vm.forbidden_means, 0);
    assert_false(parsed.vm.without_cures);
    assert_int_equal(parse(""), ERR_OK);
    assert_true(parsed.vm.limit_bytes == VM_ANY && parsed.vm.compress_bytes == VM_ANY);
    assert_true(parsed.vm.reservation_bytes == 0 && !parsed.vm.swap_dir && !parsed.vm.disk_count);
}

static void bad_memory_options_are_refused(void **state)
{
    (void)state;
    refuses("--limit 20M", ERR_INVAL, "need 72M");
    refuses("--limit 0", ERR_INVAL, "too little");
    refuses("--limit lots", ERR_INVAL, "not a size");
    refuses("--limit 18446744073709551615", ERR_INVAL, "larger than any address");
    refuses("--reservation 513M", ERR_INVAL, "at most 512M");
    refuses("--reservation 1000", ERR_INVAL, "pages of 4K");
    refuses("--reservation 256M --limit 128M", ERR_INVAL, "more than --limit");
    refuses("--compress some", ERR_INVAL, "not a size");
    refuses("--means swap,", ERR_INVAL, "name some of report");
    refuses("--means magic", ERR_INVAL, "'magic' is none");
    refuses("--cures maybe", ERR_INVAL, "use on or off");
    refuses("--inject nonsense", ERR_INVAL, "swap-write=ENOSPC@100-200");
    assert_int_equal(parse("--memory 9G --limit 1G"), ERR_OK);
    /* the order of options does not matter */
    assert_int_equal(parse("--reservation 1G --memory 2G"), ERR_OK);
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "-a", "a b", "\xc3\xa4", "a\n"};
    char longest[NAME_MAX_BYTES + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(paths_check_name(bad[i]), ERR_INVAL);
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(paths_check_name(longest), ERR_INVAL);
    longest[NAME_MAX_BYTES] = '\0';
    assert_int_equal(paths_check_name(longest), ERR_OK);
    assert_int_equal(paths_check_name("web-1.test_2"), ERR_OK);
}

static void distances_count_edits(void **state)
{
    (void)state;
    assert_int_equal(options_distance("stat", "stat"), 0);
    assert_int_equal(options_distance("stta", "stat"), 1);
    assert_int_equal(options_distance("sta", "stat"), 1);
    assert_int_equal(options_distance("kitten", "sitting"), 3);
    assert_int_equal(options_distance("", "abc"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_contracts),
        cmocka_unit_test(takes_all_served_options),
        cmocka_unit_test(memory_options_are_taken),
        cmocka_unit_test(bad_memory_options_are_refused),
        cmocka_unit_test(a_value_may_have_dashes),
        cmocka_unit_test(help_wins),
        cmocka_unit_test(refuses_with_one_clear_line),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(distances_count_edits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
