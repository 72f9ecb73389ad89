/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_memory.h"

#include <string.h>

#include "control/memory_json.h"
#include "control/size.h"

/* Less than this no guest can do a single thing with. */
#define RESIDENT_MIN (UINT64_C(4) << 20)

#define WITHIN_MS_MAX 86400000

const char *const qmp_swap_arguments[] = {"resident", "within-ms", NULL};
const char *const qmp_limit_arguments[] = {"bytes", NULL};

json_t *qmp_memory_run(struct qmp_call *call)
{
    json_t *memory;

    vm_hold(call->vm);
    memory = memory_json(call->vm);
    vm_release(call->vm);
    if (memory)
        json_object_set_new(memory, "name", json_string(vm_get_config(call->vm)->name));
    return memory ? memory : qmp_fail(call, QMP_GENERIC, "no memory for the answer");
}

/* False: the error is set. */
static bool take_resident(struct qmp_call *call, uint64_t *bytes)
{
    const json_t *value = json_object_get(call->arguments, "resident");
    uint64_t guest = vm_get_config(call->vm)->memory_bytes;
    char least[16], size[16];

    if (json_is_string(value) && !strcmp(json_string_value(value), "all")) {
        *bytes = VM_ANY;
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        qmp_fail(call, QMP_GENERIC, "Parameter 'resident' is a number of bytes, or \"all\"");
        return false;
    }
    *bytes = (uint64_t)json_integer_value(value);
    if (*bytes >= RESIDENT_MIN && *bytes < guest)
        return true;
    qmp_fail(
        call, QMP_GENERIC, "the guest has %s: ask for %s or more and less than that, or \"all\"",
        size_format(size, sizeof(size), guest), size_format(least, sizeof(least), RESIDENT_MIN));
    return false;
}

json_t *qmp_swap_run(struct qmp_call *call)
{
    const json_t *within = json_object_get(call->arguments, "within-ms");
    uint64_t bytes;

    if (!take_resident(call, &bytes))
        return NULL;
    if (within && (!json_is_integer(within) || json_integer_value(within) < 1 ||
                   json_integer_value(within) > WITHIN_MS_MAX))
        return qmp_fail(call, QMP_GENERIC, "Parameter 'within-ms' is 1 to %d", WITHIN_MS_MAX);
    vm_want_resident(call->vm, bytes, (uint64_t)json_integer_value(within) * 1000000);
    return json_object();
}

json_t *qmp_limit_run(struct qmp_call *call)
{
    const json_t *value = json_object_get(call->arguments, "bytes");
    const struct vm_config *config = vm_get_config(call->vm);
    uint64_t least = vm_least_limit(config->memory_bytes);
    char size[16];

    if (config->counts_ages)
        return qmp_fail(call, QMP_GENERIC, "the VM is in a pool, which sets its limit");
    if (json_is_string(value) && !strcmp(json_string_value(value), "none")) {
        vm_set_limit(call->vm, VM_ANY);
        return json_object();
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return qmp_fail(call, QMP_GENERIC, "Parameter 'bytes' is a number of bytes, or \"none\"");
    if ((uint64_t)json_integer_value(value) < least)
        return qmp_fail(call, QMP_GENERIC, "the guest and the machine around it need %s",
                        size_format(size, sizeof(size), least));
    vm_set_limit(call->vm, (uint64_t)json_integer_value(value));
    return json_object();
}
