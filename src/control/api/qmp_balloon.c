/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api/qmp_balloon.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "mem/balloon.h"
#include "mem/reclaim.h"

#define SECOND_NS UINT64_C(1000000000)

/* Where QEMU's users find the device, and by which shorter name. */
#define DEVICE_PATH "/machine/peripheral/balloon0"
#define DEVICE_NAME "balloon0"

#define INTERVAL "guest-stats-polling-interval"

/* The guest's size as it is after what is in the balloon. */
static uint64_t actual_bytes(struct vm *vm, const struct balloon_info *info)
{
    return mem_size_bytes(vm_mem(vm)) - info->actual_pages * PAGE_SIZE;
}

/* ---- timers and the event ---- */

enum err qmp_balloon_init(struct qmp_balloon *balloon)
{
    *balloon = (struct qmp_balloon){0};
    balloon->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (balloon->timer_fd < 0)
        return err_errno(ERR_IO, "cannot make a timerfd");
    return ERR_OK;
}

void qmp_balloon_fini(struct qmp_balloon *balloon)
{
    if (balloon->timer_fd >= 0)
        close(balloon->timer_fd);
}

static void arm(struct qmp_balloon *balloon)
{
    struct itimerspec spec = {0};
    uint64_t due = balloon->poll_s ? balloon->next_poll_ns : UINT64_MAX;

    if (balloon->event_waits && balloon->quiet_until_ns < due)
        due = balloon->quiet_until_ns;
    if (due != UINT64_MAX) {
        spec.it_value.tv_sec = (time_t)(due / SECOND_NS);
        spec.it_value.tv_nsec = (long)(due % SECOND_NS);
    }
    timerfd_settime(balloon->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void poll_guest(struct qmp_balloon *balloon, struct vm *vm, uint64_t now)
{
    if (!balloon->poll_s || now < balloon->next_poll_ns)
        return;
    board_balloon_ask_stats(vm_board(vm));
    balloon->next_poll_ns = now + balloon->poll_s * SECOND_NS;
    arm(balloon);
}

bool qmp_balloon_due(struct qmp_balloon *balloon, struct vm *vm, json_t **data)
{
    unsigned changes = vm_balloon_changes(vm);
    struct balloon_info info;
    uint64_t now, expirations;
    ssize_t n = read(balloon->timer_fd, &expirations, sizeof(expirations));

    (void)n; /* only so that it is not readable any more */
    if (!balloon->poll_s && !balloon->event_waits && changes == balloon->changes_seen)
        return false;
    now = host_ns();
    poll_guest(balloon, vm, now);
    balloon->event_waits |= changes != balloon->changes_seen;
    balloon->changes_seen = changes;
    if (!balloon->event_waits)
        return false;
    if (now < balloon->quiet_until_ns) {
        arm(balloon);
        return false;
    }
    balloon->event_waits = false;
    balloon->quiet_until_ns = now + SECOND_NS;
    board_balloon_info(vm_board(vm), &info);
    *data = json_pack("{s:I}", "actual", (json_int_t)actual_bytes(vm, &info));
    return true;
}

/* ---- target ---- */

static json_t *missing(struct qmp_call *call, const char *name)
{
    return qmp_fail(call, QMP_GENERIC, "Parameter '%s' is missing", name);
}

static json_t *wrong_type(struct qmp_call *call, const char *name, const char *type)
{
    return qmp_fail(call, QMP_GENERIC, "Invalid parameter type for '%.60s', expected: %s", name,
                    type);
}

json_t *qmp_balloon_set(struct qmp_call *call)
{
    const json_t *value = json_object_get(call->arguments, "value");
    uint64_t memory = mem_size_bytes(vm_mem(call->vm));
    uint64_t bytes;

    if (!value)
        return missing(call, "value");
    if (!json_is_integer(value))
        return wrong_type(call, "value", "integer");
    if (json_integer_value(value) <= 0)
        return qmp_fail(call, QMP_GENERIC, "Parameter '%s' expects a size", "target");
    bytes = (uint64_t)json_integer_value(value);
    vm_want_balloon(call->vm, bytes < memory ? bytes : memory);
    return json_object();
}

json_t *qmp_balloon_query(struct qmp_call *call)
{
    struct balloon_info info;

    board_balloon_info(vm_board(call->vm), &info);
    return json_pack("{s:I}", "actual", (json_int_t)actual_bytes(call->vm, &info));
}

json_t *qmp_balloon_hint(struct qmp_call *call)
{
    if (!board_balloon_start_hinting(vm_board(call->vm)))
        return qmp_fail(call, "DeviceNotActive",
                        "No driver in the guest can tell which pages are %s", "free");
    return json_object();
}

/* ---- the guest's figures ---- */

#define STAT_NAME(tag, name, text, help) [tag] = text,
static const char *const stat_names[] = {BALLOON_GUEST_STATS(STAT_NAME)};
#define STATS (sizeof(stat_names) / sizeof(stat_names[0]))

/* Seconds of the day's clock; 0 before the guest has told anything. */
static int64_t last_update(const struct balloon_guest_stats *stats)
{
    struct timespec ts;

    if (!stats->updates)
        return 0;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec - (int64_t)((host_ns() - stats->updated_ns) / SECOND_NS);
}

/*
 * As QEMU: a figure that the guest does not tell is 2^64 - 1, which the JSON library has no integer
 * for, so the text is made here.
 */
static json_t *guest_stats(struct qmp_call *call)
{
    struct balloon_info info;
    size_t size;
    FILE *out = open_memstream(&call->raw, &size);

    if (!out)
        return qmp_fail(call, QMP_GENERIC, "no memory for %s", "guest-stats");
    board_balloon_info(vm_board(call->vm), &info);
    fputs("{\"stats\": {", out);
    for (size_t i = 0; i < STATS; i++)
        fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", stat_names[i], info.stats.value[i]);
    fprintf(out, "}, \"last-update\": %" PRId64 "}", last_update(&info.stats));
    if (fclose(out)) {
        free(call->raw);
        call->raw = NULL;
        return qmp_fail(call, QMP_GENERIC, "no memory for %s", "guest-stats");
    }
    return json_null();
}

/* Path and property of a qom command. False: the error is set. */
static bool take_property(struct qmp_call *call, const char **property)
{
    const json_t *path = json_object_get(call->arguments, "path");
    const json_t *name = json_object_get(call->arguments, "property");

    *property = json_string_value(name);
    if (!path || !name) {
        missing(call, path ? "property" : "path");
    } else if (!json_is_string(path) || !json_is_string(name)) {
        wrong_type(call, json_is_string(path) ? "property" : "path", "string");
    } else if (strcmp(json_string_value(path), DEVICE_PATH) &&
               strcmp(json_string_value(path), DEVICE_NAME)) {
        qmp_fail(call, "DeviceNotFound", "Device '%.100s' not found", json_string_value(path));
    } else if (strcmp(*property, "guest-stats") && strcmp(*property, INTERVAL) &&
               strcmp(*property, "type")) {
        qmp_fail(call, QMP_GENERIC, "Property 'virtio-balloon-pci.%.100s' not found", *property);
    } else {
        return true;
    }
    return false;
}

json_t *qmp_balloon_qom_get(struct qmp_call *call)
{
    const char *property;

    if (!take_property(call, &property))
        return NULL;
    if (!strcmp(property, "type"))
        return json_string("virtio-balloon-pci");
    if (!strcmp(property, INTERVAL))
        return json_integer((json_int_t)call->balloon->poll_s);
    return guest_stats(call);
}

json_t *qmp_balloon_qom_set(struct qmp_call *call)
{
    const json_t *value = json_object_get(call->arguments, "value");
    const char *property;
    json_int_t seconds;

    if (!take_property(call, &property))
        return NULL;
    if (!value)
        return missing(call, "value");
    if (strcmp(property, INTERVAL))
        return qmp_fail(call, QMP_GENERIC, "Property 'virtio-balloon-device.%s' is not writable",
                        property);
    if (!json_is_integer(value))
        return wrong_type(call, INTERVAL, "integer");
    seconds = json_integer_value(value);
    if (seconds < 0 || seconds > UINT32_MAX)
        return qmp_fail(call, QMP_GENERIC, "timer value %s",
                        seconds < 0 ? "must be greater than zero" : "is too big");
    call->balloon->poll_s = (uint64_t)seconds;
    call->balloon->next_poll_ns = host_ns();
    poll_guest(call->balloon, call->vm, call->balloon->next_poll_ns);
    arm(call->balloon);
    return json_object();
}

/* ---- all that is known ---- */

#define COUNTER_ROW(name, text) {#name, text, offsetof(struct mem_balloon_stats, name)},
static const struct stats_desc counters[] = {MEM_BALLOON_COUNTERS(COUNTER_ROW){NULL, NULL, 0}};

static json_t *counters_json(const struct mem_balloon_stats *stats)
{
    json_t *object = json_object();

    for (const struct stats_desc *row = counters; row->name; row++) {
        uint64_t value;

        memcpy(&value, (const char *)stats + row->offset, sizeof(value));
        json_object_set_new(object, row->name, json_integer((json_int_t)value));
    }
    return object;
}

/* A guest's figure; null when it does not tell it. */
static json_t *figure(const struct balloon_guest_stats *stats, unsigned tag)
{
    uint64_t value = stats->value[tag];

    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

/* Also asks the guest for its figures: they are fresh the next time. */
json_t *qmp_balloon_state(struct qmp_call *call)
{
    struct vm *vm = call->vm;
    uint64_t memory = mem_size_bytes(vm_mem(vm)), now = host_ns();
    struct balloon_info info;
    struct vm_decision decision = vm_decision(vm);
    uint64_t in_balloon, host;
    json_t *result;

    board_balloon_ask_stats(vm_board(vm));
    board_balloon_info(vm_board(vm), &info);
    vm_hold(vm);
    in_balloon = mem_ledger(vm_mem(vm)).pages[PAGE_BALLOONED] * PAGE_SIZE;
    host = mem_host_bytes(vm_mem(vm));
    result = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b}", "name", vm_get_config(vm)->name,
                       "driver", info.has_driver, "reporting", info.has_reporting, "hinting",
                       info.has_hinting, "hinting_now", info.is_hinting, "paused", vm_is_paused(vm),
                       "stalled", vm_stall(vm).why[0] != '\0');
    if (result)
        json_object_set_new(result, "counters", counters_json(mem_balloon_stats(vm_mem(vm))));
    vm_release(vm);
    json_object_update_new(
        result,
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "guest_bytes",
                  (json_int_t)memory, "target_bytes",
                  (json_int_t)(memory - info.target_pages * PAGE_SIZE), "actual_bytes",
                  (json_int_t)actual_bytes(vm, &info), "ballooned_bytes", (json_int_t)in_balloon,
                  "host_bytes", (json_int_t)host, "still_ns",
                  (json_int_t)(info.moved_ns ? now - info.moved_ns : 0), "resident_wish_bytes",
                  decision.saw.now_ns && decision.saw.user_target != VM_ANY
                      ? json_integer((json_int_t)decision.saw.user_target)
                      : json_null(),
                  "guest_free_bytes", figure(&info.stats, 4), "guest_available_bytes",
                  figure(&info.stats, 6), "told_ns_ago",
                  info.stats.updates ? json_integer((json_int_t)(now - info.stats.updated_ns))
                                     : json_null()));
    return result;
}
