/* SPDX-License-Identifier: Apache-2.0 */
#include "control/pool/member_record.h"

#include <stdio.h>

#include "base/addr.h"

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
    r->vm.held = vm.lease; /* until it reports */
    r->vm.wanted = startup > vm.lease ? startup : vm.lease;
    r->acked_lease = r->sent_lease = vm.lease;
    return true;
}

bool record_report(struct record *r, const json_t *report)
{
    uint64_t held, active, wanted, lease;

    if (!take_pages(report, "held", &held) || !take_pages(report, "active", &active) ||
        !take_pages(report, "wanted", &wanted) || !take_pages(report, "lease", &lease))
        return false;
    r->vm.held = held;
    r->vm.active = active;
    r->vm.wanted = wanted;
    r->acked_lease = lease;
    r->acked_seq = (uint64_t)json_integer_value(json_object_get(report, "seq"));
    return true;
}
