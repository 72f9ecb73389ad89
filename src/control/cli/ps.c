/* SPDX-License-Identifier: Apache-2.0 */
/* umbra ps: the running VMs of this user. */
#include <stdio.h>

#include "control/api/qmp_client.h"
#include "control/cli/command.h"
#include "control/paths.h"
#include "control/size.h"
#include "control/top/sample.h"
#include "control/vm_folder.h"

/*
 * One VM's counters; for one that does not answer only its name and a state that says so. NULL: not
 * there.
 */
static json_t *ask(const char *name)
{
    struct qmp_link link;
    json_t *stats = NULL;
    enum err err = qmp_link_open(&link, name, QMP_LINK_BRIEF_S);

    if (!err) {
        err = qmp_link_call(&link, "x-umbra-stat", &stats);
        qmp_link_close(&link);
    }
    if (err == ERR_NOTFOUND)
        return NULL;
    return err ? json_pack("{s:s, s:s}", "name", name, "state", "not answering") : stats;
}

static void collect(void *list, const char *name)
{
    json_t *stats = ask(name);

    if (stats)
        json_array_append_new(list, stats);
}

static const char *size_or_dash(char *buf, size_t buf_bytes, uint64_t bytes)
{
    return bytes == TOP_UNKNOWN ? "-" : size_format(buf, buf_bytes, bytes);
}

static void print_table(const json_t *list)
{
    size_t index;
    json_t *vm;

    printf("%-20s %8s %-13s %-10s %8s %8s %8s %8s %8s\n", "NAME", "PID", "STATE", "ENGINE",
           "MEMORY", "HELD", "LIMIT", "SECONDS", "MIPS");
    json_array_foreach(list, index, vm)
    {
        const char *name = json_string_value(json_object_get(vm, "name"));
        struct top_sample s;
        char memory[16], held[16], limit[16];

        top_sample_take(&s, vm, 0);
        if (!s.pid) {
            printf("%-20s %8s %s\n", name, "-", s.state);
            continue;
        }
        printf("%-20s %8lld %-13s %-10s %8s %8s %8s %8.0f %8.1f\n", name, (long long)s.pid, s.state,
               s.engine, size_or_dash(memory, sizeof(memory), s.guest),
               size_or_dash(held, sizeof(held), s.held),
               size_or_dash(limit, sizeof(limit), s.limit),
               json_real_value(json_object_get(vm, "wall_seconds")), s.mips);
    }
}

static enum err set_json(void *arg, const struct option_spec *spec, const char *value)
{
    (void)spec;
    (void)value;
    *(bool *)arg = true;
    return ERR_OK;
}

int command_ps(int count, char *const *words)
{
    bool json = false, want_help;
    const struct option_sink sink = {.arg = &json, .set = set_json};
    enum err err = options_parse(cli_json_options, count, words, &sink, &want_help);
    json_t *list;

    if (err)
        return cli_fail(err);
    if (want_help) {
        puts("umbra ps [--json]\n\nExamples:\n  umbra ps           the running VMs, one a line\n"
             "  umbra ps --json    the same with all counters, for programs\n\nOptions:");
        options_print(cli_json_options, stdout);
        return STATUS_OK;
    }
    list = json_array();
    err = paths_each_socket(".sock", collect, list);
    vm_folder_sweep();
    if (!err && json) {
        json_dumpf(list, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    } else if (!err) {
        print_table(list);
    }
    json_decref(list);
    return err ? cli_fail(err) : STATUS_OK;
}
