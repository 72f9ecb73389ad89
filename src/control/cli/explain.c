/* SPDX-License-Identifier: Apache-2.0 */
/* umbra explain NAME: where did my memory go? */
#include <stdio.h>

#include "control/api/qmp_client.h"
#include "control/cli/command.h"
#include "control/memory_json.h"

int command_explain(int count, char *const *words)
{
    struct cli_vm_words given;
    struct qmp_link link;
    json_t *memory = NULL;
    bool want_help;
    enum err err = cli_take_vm(&given, cli_json_options, count, words, &want_help);

    if (err)
        return cli_fail(err);
    if (want_help) {
        puts("umbra explain NAME [--json]\n\nExamples:\n"
             "  umbra explain web1          where its memory went, in sentences and sums\n"
             "  umbra explain web1 --json   the same for programs\n\nOptions:");
        options_print(cli_json_options, stdout);
        return STATUS_OK;
    }
    err = qmp_link_open(&link, given.name, QMP_LINK_PATIENT_S);
    if (!err) {
        err = qmp_link_call(&link, "x-umbra-memory", &memory);
        qmp_link_close(&link);
    }
    if (err)
        return cli_fail(err);
    if (given.json) {
        json_dumpf(memory, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        memory_print(given.name, memory, stdout);
    }
    json_decref(memory);
    return STATUS_OK;
}
