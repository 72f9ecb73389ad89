/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pool/member_record.h"

#include <stdio.h>
#include <string.h>

#include "base/addr.h"

static const char *const phase_names[PHASES] = {"starting", "running", "restarting"};

/* A size in bytes as whole pages. */
static bool take_pages(const json_t *object, const char *key, uint64_t *pages)
{
    const json_t *value = json_object_get(object, key);
    json_int_t bytes = json_integer_value(value);

    if (!json_is_integer(value) || bytes < 0)
        return false;
    *pages = (uint64_t)bytes / PAGE_SIZE;
    return true;
}

bool record_join(struct record *r, const json_t *join)
{
    const char *name = json_string_value(json_object_get(join, "name"));
    json_int_t shares = json_integer_value(json_object_get(join, "shares"));
    struct pool_vm vm = {.shares = (uint64_t)shares};
    uint64_t startup;

    if (!name || paths_check_name(name) || shares < 1 || shares > UINT32_MAX ||
        !take_pages(join, "minimum", &vm.minimum) || !take_pages(join, "maximum", &vm.maximum) ||
        !take_pages(join, "startup", &startup) || !take_pages(join, "lease", &vm.lease) ||
        vm.minimum > vm.maximum || !vm.maximum)
        return false;
    snprintf(r->name, sizeof(r->name), "%s", name);
    r->pid = json_integer_value(json_object_get(join, "pid"));
    r->vm = vm;
    r->vm.startup = startup < vm.maximum ? startup : vm.maximum;
    r->vm.held = vm.lease; /* until it reports */
    r->vm.wanted = r->vm.startup > vm.lease ? r->vm.startup : vm.lease;
    r->acked_lease = r->sent_lease = vm.lease;
    return true;
}

static bool take_phase(const json_t *object, enum record_phase *phase)
{
    const char *name = json_string_value(json_object_get(object, "phase"));

    for (unsigned p = 0; name && p < PHASES; p++) {
        if (strcmp(name, phase_names[p]))
            continue;
        *phase = (enum record_phase)p;
        return true;
    }
    return false;
}

bool record_report(struct record *r, const json_t *report)
{
    uint64_t held, active, wanted, lease, reclaimable, smart;
    enum record_phase phase;

    if (!take_pages(report, "held", &held) || !take_pages(report, "active", &active) ||
        !take_pages(report, "wanted", &wanted) || !take_pages(report, "lease", &lease) ||
        !take_pages(report, "reclaimable", &reclaimable) || !take_pages(report, "smart", &smart) ||
        !take_phase(report, &phase))
        return false;
    r->phase = phase;
    r->vm.held = held;
    r->vm.active = active;
    r->vm.wanted = phase != PHASE_RUNNING && wanted < r->vm.startup ? r->vm.startup : wanted;
    r->vm.reclaimable = reclaimable;
    r->smart = smart;
    r->acked_lease = lease;
    r->acked_seq = (uint64_t)json_integer_value(json_object_get(report, "seq"));
    return true;
}

void record_restarts(struct record *r)
{
    r->is_restart = true;
    r->phase = PHASE_RESTARTING;
}

static json_int_t bytes_of(uint64_t pages)
{
    return (json_int_t)(pages * PAGE_SIZE);
}

json_t *record_to_json(const struct record *r)
{
    const struct pool_vm *vm = &r->vm;

    return json_pack(
        "{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "name",
        r->name, "pid", (json_int_t)r->pid, "phase", phase_names[r->phase], "shares",
        (json_int_t)vm->shares, "minimum", bytes_of(vm->minimum), "maximum", bytes_of(vm->maximum),
        "startup", bytes_of(r->vm.startup), "held", bytes_of(vm->held), "active",
        bytes_of(vm->active < vm->held ? vm->active : vm->held), "wanted", bytes_of(vm->wanted),
        "lease", bytes_of(r->sent_lease), "entitled", bytes_of(vm->entitled), "reclaimable",
        bytes_of(r->vm.reclaimable), "smart", bytes_of(r->smart), "smart_allowed",
        bytes_of(r->smart_allowed), "why", r->why);
}
