/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/api/qmp_balloon.h"
#include "control/api/qmp_memory.h"
#include "control/api/qmp_trace.h"
#include "control/stats.h"
#include "control/walk.h"

/* takes: names of the arguments it knows, ends with NULL; NULL: none */
struct qmp_command {
    const char *name;
    json_t *(*run)(struct qmp_call *call);
    const char *const *takes;
};

json_t *qmp_fail(struct qmp_call *call, const char *class, const char *fmt, ...)
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
    bool stalled = vm_stall(call->vm).why[0];

    return json_pack("{s:s, s:b, s:b}", "status",
                     ended     ? "shutdown"
                     : paused  ? "paused"
                     : stalled ? "io-error"
                               : "running",
                     "singlestep", 0, "running", !ended && !paused && !stalled);
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
    return qmp_fail(call, QMP_GENERIC,
                    "this machine has no power button; use quit, or power off in the guest");
}

static json_t *run_stat(struct qmp_call *call)
{
    json_t *stats;

    vm_hold(call->vm);
    stats = stats_make(call->vm);
    vm_release(call->vm);
    return stats ? stats : qmp_fail(call, QMP_GENERIC, "no memory for the counters");
}

/* An audit is an answer also when something disagrees. */
static json_t *run_audit(struct qmp_call *call)
{
    uint64_t ns;
    json_t *result;
    enum err err;

    vm_hold(call->vm);
    ns = host_ns();
    err = vm_audit(call->vm);
    ns = host_ns() - ns;
    result = json_pack("{s:b, s:s, s:f, s:I, s:o}", "agree", !err, "text",
                       err ? err_text() : "memory and shadow tables agree", "ms", (double)ns / 1e6,
                       "guest_pages", (json_int_t)(mem_size_bytes(vm_mem(call->vm)) / PAGE_SIZE),
                       "mmu", stats_mmu_json(call->vm));
    vm_release(call->vm);
    return result;
}

/* An address as "0x..." or a JSON number; for a GVA also the name of a register that holds one. */
static bool take_address(struct qmp_call *call, const char *key, const struct x86_state *state,
                         uint64_t *out)
{
    const json_t *value = json_object_get(call->arguments, key);
    const char *text = json_string_value(value);
    char *end;

    if (json_is_integer(value)) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    if (state && text && !strcmp(text, "rip"))
        return *out = state->rip + (state->efer & EFER_LMA ? 0 : state->seg[SEG_CS].base), true;
    if (state && text && !strcmp(text, "rsp"))
        return *out = state->gpr[4] + (state->efer & EFER_LMA ? 0 : state->seg[SEG_SS].base), true;
    if (state && text && !strcmp(text, "cr2"))
        return *out = state->cr2, true;
    errno = 0;
    *out = text ? strtoull(text, &end, 0) : 0;
    if (text && *text && *text != '-' && !*end && !errno)
        return true;
    qmp_fail(call, QMP_GENERIC,
             "'%s' is not an address: use 0x..., or rip, rsp or cr2 where a GVA is asked for", key);
    return false;
}

static json_t *run_walk(struct qmp_call *call)
{
    bool has_cr3 = json_object_get(call->arguments, "cr3") != NULL;
    struct x86_state state;
    struct mmu_explain walk;
    uint64_t gva, cr3 = 0;
    json_t *result = NULL;

    vm_hold(call->vm);
    vm_cpu_state(call->vm, &state);
    if (take_address(call, "gva", &state, &gva) &&
        (!has_cr3 || take_address(call, "cr3", NULL, &cr3))) {
        mmu_explain(vm_mmu(call->vm), gva_make(gva), has_cr3 ? &cr3 : NULL, &walk);
        result = walk_json(&walk);
        json_object_set_new(result, "name", json_string(vm_get_config(call->vm)->name));
        json_object_set_new(result, "vcpu",
                            json_pack("{s:i, s:o, s:i}", "index", 0, "rip",
                                      json_sprintf("0x%" PRIx64, state.rip), "cpl",
                                      (int)(state.seg[SEG_SS].attr >> 5 & 3)));
    }
    vm_release(call->vm);
    return result;
}

static json_t *run_roots(struct qmp_call *call)
{
    json_t *roots;

    vm_hold(call->vm);
    roots = walk_roots_json(vm_mmu(call->vm));
    vm_release(call->vm);
    return roots;
}

static json_t *query_commands(struct qmp_call *call);

static const char *const walk_arguments[] = {"gva", "cr3", NULL};

static const char *const balloon_arguments[] = {"value", NULL};
static const char *const qom_get_arguments[] = {"path", "property", NULL};
static const char *const qom_set_arguments[] = {"path", "property", "value", NULL};

static const struct qmp_command commands[] = {
    {"balloon", qmp_balloon_set, balloon_arguments},
    {"cont", run_cont, NULL},
    {"qom-get", qmp_balloon_qom_get, qom_get_arguments},
    {"qom-set", qmp_balloon_qom_set, qom_set_arguments},
    {"query-balloon", qmp_balloon_query, NULL},
    {"query-commands", query_commands, NULL},
    {"query-cpus-fast", query_cpus_fast, NULL},
    {"query-kvm", query_kvm, NULL},
    {"query-memory-size-summary", query_memory, NULL},
    {"query-name", query_name, NULL},
    {"query-status", query_status, NULL},
    {"query-uuid", query_uuid, NULL},
    {"query-version", query_version, NULL},
    {"quit", run_quit, NULL},
    {"stop", run_stop, NULL},
    {"system_powerdown", run_powerdown, NULL},
    {"system_reset", run_reset, NULL},
    {"x-umbra-audit", run_audit, NULL},
    {"x-umbra-balloon", qmp_balloon_state, NULL},
    {"x-umbra-balloon-hint", qmp_balloon_hint, NULL},
    {"x-umbra-limit", qmp_limit_run, qmp_limit_arguments},
    {"x-umbra-memory", qmp_memory_run, NULL},
    {"x-umbra-roots", run_roots, NULL},
    {"x-umbra-stat", run_stat, NULL},
    {"x-umbra-swap", qmp_swap_run, qmp_swap_arguments},
    {"x-umbra-walk", run_walk, walk_arguments},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static json_t *query_commands(struct qmp_call *call)
{
    json_t *list = json_array();

    (void)call;
    json_array_append_new(list, json_pack("{s:s}", "name", "qmp_capabilities"));
    json_array_append_new(list, json_pack("{s:s}", "name", QMP_TRACE_START));
    json_array_append_new(list, json_pack("{s:s}", "name", QMP_TRACE_STOP));
    for (size_t i = 0; i < COMMANDS; i++)
        json_array_append_new(list, json_pack("{s:s}", "name", commands[i].name));
    return list;
}

static bool takes(const struct qmp_command *command, const char *key)
{
    for (const char *const *name = command->takes; name && *name; name++) {
        if (!strcmp(*name, key))
            return true;
    }
    return false;
}

json_t *qmp_command_run(const char *name, struct qmp_call *call)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *key;
        json_t *value;

        if (strcmp(commands[i].name, name))
            continue;
        /* Refuse before any effect. */
        json_object_foreach((json_t *)call->arguments, key, value)
        {
            (void)value;
            if (!takes(&commands[i], key))
                return qmp_fail(call, QMP_GENERIC, "Parameter '%.60s' is unexpected", key);
        }
        return commands[i].run(call);
    }
    return qmp_fail(call, QMP_NOT_FOUND, "The command %.100s has not been found", name);
}
