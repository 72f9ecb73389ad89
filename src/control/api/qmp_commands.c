/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/stats.h"

struct qmp_command {
    const char *name;
    json_t *(*run)(struct qmp_call *call);
};

__attribute__((format(printf, 3, 4))) static json_t *fail(struct qmp_call *call, const char *class,
                                                          const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(call->error_text, sizeof(call->error_text), fmt, args);
    va_end(args);
    call->error_class = class;
    return NULL;
}

json_t *qmp_version(void)
{
    int major = 0, minor = 0, micro = 0;

    sscanf(UMBRA_VERSION, "%d.%d.%d", &major, &minor, &micro);
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", micro, "minor", minor, "major",
                     major, "package", "Umbra " UMBRA_VERSION);
}

static json_t *query_version(struct qmp_call *call)
{
    (void)call;
    return qmp_version();
}

static json_t *query_name(struct qmp_call *call)
{
    return json_pack("{s:s}", "name", vm_get_config(call->vm)->name);
}

static json_t *query_uuid(struct qmp_call *call)
{
    return json_pack("{s:s}", "UUID", vm_uuid(call->vm));
}

static json_t *query_status(struct qmp_call *call)
{
    bool ended = vm_end(call->vm).kind != VM_END_NONE;
    bool paused = vm_is_paused(call->vm);

    return json_pack("{s:s, s:b, s:b}", "status",
                     ended    ? "shutdown"
                     : paused ? "paused"
                              : "running",
                     "singlestep", 0, "running", !ended && !paused);
}

static json_t *query_kvm(struct qmp_call *call)
{
    (void)call;
    return json_pack("{s:b, s:b}", "enabled", 0, "present", access("/dev/kvm", F_OK) == 0);
}

static json_t *query_memory(struct qmp_call *call)
{
    return json_pack("{s:I}", "base-memory", (json_int_t)mem_size_bytes(vm_mem(call->vm)));
}

static json_t *query_cpus_fast(struct qmp_call *call)
{
    return json_pack("[{s:i, s:s, s:i, s:s, s:{s:i, s:i, s:i}}]", "cpu-index", 0, "qom-path",
                     "/machine/unattached/device[0]", "thread-id", vm_thread_id(call->vm), "target",
                     "x86_64", "props", "socket-id", 0, "core-id", 0, "thread-id", 0);
}

/* Waits until the vCPU has really parked, so that the reply tells the truth. */
static json_t *run_stop(struct qmp_call *call)
{
    if (!vm_is_paused(call->vm)) {
        vm_pause(call->vm);
        vm_hold(call->vm);
        vm_release(call->vm);
        call->event = "STOP";
    }
    return json_object();
}

static json_t *run_cont(struct qmp_call *call)
{
    if (vm_is_paused(call->vm)) {
        vm_resume(call->vm);
        call->event = "RESUME";
    }
    return json_object();
}

static json_t *run_reset(struct qmp_call *call)
{
    vm_reset(call->vm);
    call->host_reset = true;
    return json_object();
}

static json_t *run_quit(struct qmp_call *call)
{
    call->host_quit = true;
    return json_object();
}

static json_t *run_powerdown(struct qmp_call *call)
{
    return fail(call, QMP_GENERIC,
                "this machine has no power button; use quit, or power off in the guest");
}

static json_t *run_stat(struct qmp_call *call)
{
    json_t *stats;

    vm_hold(call->vm);
    stats = stats_make(call->vm);
    vm_release(call->vm);
    return stats ? stats : fail(call, QMP_GENERIC, "no memory for the counters");
}

static json_t *query_commands(struct qmp_call *call);

static const struct qmp_command commands[] = {
    {"cont", run_cont},
    {"query-commands", query_commands},
    {"query-cpus-fast", query_cpus_fast},
    {"query-kvm", query_kvm},
    {"query-memory-size-summary", query_memory},
    {"query-name", query_name},
    {"query-status", query_status},
    {"query-uuid", query_uuid},
    {"query-version", query_version},
    {"quit", run_quit},
    {"stop", run_stop},
    {"system_powerdown", run_powerdown},
    {"system_reset", run_reset},
    {"x-umbra-stat", run_stat},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static json_t *query_commands(struct qmp_call *call)
{
    json_t *list = json_array();

    (void)call;
    json_array_append_new(list, json_pack("{s:s}", "name", "qmp_capabilities"));
    for (size_t i = 0; i < COMMANDS; i++)
        json_array_append_new(list, json_pack("{s:s}", "name", commands[i].name));
    return list;
}

json_t *qmp_command_run(const char *name, struct qmp_call *call)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *key;
        json_t *value;

        if (strcmp(commands[i].name, name))
            continue;
        /* No command takes arguments yet; refuse before any effect. */
        json_object_foreach((json_t *)call->arguments, key, value)
        {
            (void)value;
            return fail(call, QMP_GENERIC, "Parameter '%.60s' is unexpected", key);
        }
        return commands[i].run(call);
    }
    return fail(call, QMP_NOT_FOUND, "The command %.100s has not been found", name);
}
