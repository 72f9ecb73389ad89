/* SPDX-License-Identifier: Apache-2.0 */
/* umbra stat N: the counters of a running VM. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/api/qmp_client.h"
#include "control/cli/command.h"
#include "control/memory_json.h"
#include "control/stats.h"

static const char *string_of(const json_t *stats, const char *key)
{
    const char *text = json_string_value(json_object_get(stats, key));

    return text ? text : "?";
}

static void print_text(const json_t *stats)
{
    printf("%s: %s, engine %s, shadow %s, clock %s, boot %s, pid %" JSON_INTEGER_FORMAT "\n",
           string_of(stats, "name"), string_of(stats, "state"), string_of(stats, "engine"),
           string_of(stats, "shadow"), string_of(stats, "clock"), string_of(stats, "boot_protocol"),
           json_integer_value(json_object_get(stats, "pid")));
    printf("%.1f s of wall time, %.1f s of guest time, %.1f MIPS\n\n",
           json_real_value(json_object_get(stats, "wall_seconds")),
           json_real_value(json_object_get(stats, "guest_seconds")),
           json_real_value(json_object_get(stats, "mips")));
    stats_print_memory(stats, stdout);
    puts("\nMemory on the move (what is zero is left out):");
    memory_print_flows(json_object_get(stats, "memory"), stdout);
    putchar('\n');
    stats_print_cpu(stats, stdout);
    putchar('\n');
    stats_print_mmu(json_object_get(stats, "mmu"), stdout);
}

static const struct option_spec stat_options[] = {
    {"json", NULL, "print JSON for programs"},
    {"audit", NULL, "check memory and shadow tables of the running VM against each other"},
    {"file", "FILE", "instead of a running VM: a file that run --stats wrote"},
    {NULL, NULL, NULL},
};

static enum err from_file(const char *path, json_t **stats)
{
    json_error_t error;

    *stats = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!*stats)
        return err_new(ERR_INVAL, "%s: %s", path, error.text);
    if (json_is_object(json_object_get(*stats, "memory")))
        return ERR_OK;
    json_decref(*stats);
    return err_new(ERR_INVAL, "%s holds no counters of a VM; run --stats writes such a file", path);
}

static enum err from_vm(const char *name, json_t **stats)
{
    struct qmp_link link;
    enum err err = qmp_link_open(&link, name, QMP_LINK_PATIENT_S);

    if (err)
        return err;
    err = qmp_link_call(&link, "x-umbra-stat", stats);
    qmp_link_close(&link);
    return err;
}

/* The guest stands still while everything is compared. */
static int audit(const struct cli_vm_words *given)
{
    struct qmp_link link;
    json_t *result = NULL;
    bool agree;
    enum err err = qmp_link_open(&link, given->name, QMP_LINK_PATIENT_S);

    if (!err) {
        err = qmp_link_call(&link, "x-umbra-audit", &result);
        qmp_link_close(&link);
    }
    if (err)
        return cli_fail(err);
    agree = json_is_true(json_object_get(result, "agree"));
    if (given->json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        printf("audit: %s\n", string_of(result, "text"));
        printf("looked at: %" JSON_INTEGER_FORMAT " shadow pages, %" JSON_INTEGER_FORMAT
               " guest pages, in %.1f ms\n",
               json_integer_value(json_object_get(json_object_get(result, "mmu"), "shadow_pages")),
               json_integer_value(json_object_get(result, "guest_pages")),
               json_real_value(json_object_get(result, "ms")));
    }
    json_decref(result);
    return agree ? STATUS_OK : STATUS_HOST;
}

int command_stat(int count, char *const *words)
{
    struct cli_vm_words given;
    json_t *stats = NULL;
    bool want_help;
    enum err err = cli_take_vm(&given, stat_options, count, words, &want_help);

    if (err)
        return cli_fail(err);
    if (want_help) {
        puts("umbra stat NAME [--audit] | --file F.json [--json]\n\nExamples:\n"
             "  umbra stat web1           counters of the VM web1, in words\n"
             "  umbra stat web1 --json    the same for programs\n"
             "  umbra stat web1 --audit   check its memory and shadow tables now; status 4 if they "
             "disagree\n"
             "  umbra stat --file F.json  counters that an ended VM left (run --stats "
             "F.json)\n\nOptions:");
        options_print(stat_options, stdout);
        return STATUS_OK;
    }
    if (given.audit && given.file)
        return cli_fail(
            err_new(ERR_INVAL, "--audit looks at a running VM; it goes with no --file"));
    if (given.audit)
        return audit(&given);
    err = given.file ? from_file(given.file, &stats) : from_vm(given.name, &stats);
    if (err)
        return cli_fail(err);
    if (given.json) {
        json_dumpf(stats, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    } else {
        print_text(stats);
    }
    json_decref(stats);
    return STATUS_OK;
}
