/* SPDX-License-Identifier: Apache-2.0 */
/* umbra restart N: resets a running VM, as its reset button would, and waits until it is done. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "control/api/qmp_client.h"
#include "control/cli/command.h"

#define RESTART_SECONDS 120

static const struct option_spec no_options[] = {{NULL, NULL, NULL}};

static int64_t now_ms(void)
{
    return (int64_t)(host_ns() / 1000000);
}

static bool is_event(const json_t *message, const char *name)
{
    const char *event = json_string_value(json_object_get(message, "event"));

    return event && !strcmp(event, name);
}

/* Ours, not one that the guest made by itself just before. */
static bool is_our_reset(const json_t *message)
{
    const char *reason =
        json_string_value(json_object_get(json_object_get(message, "data"), "reason"));

    return is_event(message, "RESET") && reason && !strcmp(reason, "host-qmp-system-reset");
}

static enum err wait_for_reset(struct qmp_link *link, const char *name)
{
    int64_t end = now_ms() + RESTART_SECONDS * 1000;
    json_t *message = NULL;
    bool was_reset = false, has_ended = false;
    enum err err = ERR_OK;

    while (!was_reset && !has_ended) {
        struct pollfd fd = {.fd = link->fd, .events = POLLIN};
        int64_t left = end - now_ms();

        err = qmp_link_take(link, &message);
        if (err)
            return err;
        if (message) {
            was_reset = is_our_reset(message);
            has_ended = is_event(message, "SHUTDOWN");
            json_decref(message);
        } else if (left <= 0) {
            return err_new(ERR_IO, "VM '%s' was not reset within %d seconds", name,
                           RESTART_SECONDS);
        } else {
            poll(&fd, 1, (int)left);
        }
    }
    if (has_ended)
        return err_new(
            ERR_IO,
            "VM '%s' has ended instead: with --no-reboot a reset ends it; start it again "
            "with umbra run",
            name);
    printf("%s was reset and starts again\n", name);
    return ERR_OK;
}

int command_restart(int count, char *const *words)
{
    struct cli_vm_words given;
    struct qmp_link link;
    json_t *result = NULL;
    bool want_help;
    enum err err = cli_take_vm(&given, no_options, count, words, &want_help);

    if (err)
        return cli_fail(err);
    if (want_help) {
        puts("umbra restart NAME\n\nExample:\n  umbra restart web1     reset the VM web1\n\n"
             "The guest is not asked: it starts again as if its reset button were pressed. To "
             "restart it gently,\n"
             "reboot in the guest. Returns when it has been reset and begins to boot.\n\n"
             "In a pool without free memory a restart is bridged by smart paging; see umbra "
             "run --help.\n\nOptions:");
        options_print(no_options, stdout);
        return STATUS_OK;
    }
    err = qmp_link_open(&link, given.name, QMP_LINK_PATIENT_S);
    if (!err) {
        err = qmp_link_call(&link, "system_reset", &result);
        json_decref(result);
        if (!err)
            err = wait_for_reset(&link, given.name);
        qmp_link_close(&link);
    }
    return err ? cli_fail(err) : STATUS_OK;
}
