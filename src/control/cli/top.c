/* SPDX-License-Identifier: Apache-2.0 */
/* umbra top: all running VMs, as they change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/command.h"
#include "control/duration.h"
#include "control/top/top.h"

#define PERIOD_MIN_NS UINT64_C(100000000)

static const struct option_spec specs[] = {
    {"d", "SECONDS", "time between two looks (default 1; also 500ms, 2m)"},
    {"n", "COUNT", "end after so many; 0: never (default: 1 without a terminal, else 0)"},
    {"plain", NULL, "text, a block each time; so it is when standard output is no terminal"},
    {"json", NULL, "one JSON object a line, for programs"},
    {NULL, NULL, NULL},
};

struct words {
    struct top_config config;
    bool has_count;
};

static enum err set_count(const char *value, uint64_t *count)
{
    char *end;

    *count = strtoull(value, &end, 10);
    if (!*value || *end || *value == '-' || *value == '+' || *count > 1000000000)
        return err_new(ERR_INVAL, "-n: '%.40s' is not a number from 0 to 1000000000", value);
    return ERR_OK;
}

static enum err set_period(const char *value, uint64_t *ns)
{
    enum err err = duration_parse(value, ns);

    if (!err && *ns < PERIOD_MIN_NS)
        err = err_new(ERR_INVAL, "-d: '%.40s' is less than 100ms", value);
    return err;
}

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct words *words = arg;

    if (!strcmp(spec->name, "d"))
        return set_period(value, &words->config.period_ns);
    if (!strcmp(spec->name, "n")) {
        words->has_count = true;
        return set_count(value, &words->config.count);
    }
    if (!strcmp(spec->name, "json"))
        words->config.form = TOP_FORM_JSON;
    else if (words->config.form == TOP_FORM_SCREEN)
        words->config.form = TOP_FORM_TEXT;
    return ERR_OK;
}

static void print_help(void)
{
    puts("umbra top [-d SECONDS] [-n COUNT] [--plain | --json]\n\nExamples:\n"
         "  umbra top                      all VMs, live; h explains keys, colours and columns\n"
         "  umbra top -d 5 --plain -n 12   a minute as text\n"
         "  umbra top --json -n 0 | jq .   for programs, until Ctrl-C\n\nOptions:");
    options_print(specs, stdout);
}

int command_top(int count, char *const *words)
{
    struct words given = {.config = {.form = TOP_FORM_SCREEN, .period_ns = 1000000000}};
    const struct option_sink sink = {.arg = &given, .set = set_option};
    bool want_help;
    enum err err = options_parse(specs, count, words, &sink, &want_help);

    if (err)
        return cli_fail(err);
    if (want_help) {
        print_help();
        return STATUS_OK;
    }
    if (given.config.form == TOP_FORM_SCREEN && !isatty(STDOUT_FILENO))
        given.config.form = TOP_FORM_TEXT;
    if (given.config.form != TOP_FORM_SCREEN && !given.has_count)
        given.config.count = 1;
    err = top_run(&given.config);
    return err ? cli_fail(err) : STATUS_OK;
}
