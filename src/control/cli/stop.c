/* SPDX-License-Identifier: Apache-2.0 */
/* umbra stop N: ends a running VM at once, as pulling its plug would. */
#include <stdio.h>

#include "control/api/qmp_client.h"
#include "control/cli/command.h"

/* A host with slow disks takes its time to remove a large swap file. */
#define STOP_SECONDS 60

static const struct option_spec no_options[] = {{NULL, NULL, NULL}};

int command_stop(int count, char *const *words)
{
    struct cli_vm_words given;
    struct qmp_link link;
    json_t *result = NULL;
    bool want_help, ended = false;
    enum err err = cli_take_vm(&given, no_options, count, words, &want_help);

    if (err)
        return cli_fail(err);
    if (want_help) {
        puts("umbra stop NAME\n\nExample:\n  umbra stop web1     end the VM web1 at once\n\n"
             "The guest is not asked: it ends as if its plug were pulled. To end it gently, power "
             "off in the\n"
             "guest. Returns when the VM is gone.\n\nOptions:");
        options_print(no_options, stdout);
        return STATUS_OK;
    }
    err = qmp_link_open(&link, given.name, QMP_LINK_PATIENT_S);
    if (!err) {
        err = qmp_link_call(&link, "quit", &result);
        json_decref(result);
        if (!err)
            ended = qmp_link_wait_end(&link, STOP_SECONDS);
        qmp_link_close(&link);
        if (!err && !ended)
            err = err_new(ERR_IO,
                          "VM '%s' was told to end and has not within %d seconds: the host may be "
                          "slow; umbra ps shows when it is gone",
                          given.name, STOP_SECONDS);
    }
    return err ? cli_fail(err) : STATUS_OK;
}
