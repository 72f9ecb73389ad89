/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/sample.h"

#include <stdio.h>
#include <string.h>

#include "control/memory_json.h"

#define FLOW_ROW(way, name, word, group, key) {TOP_##way, word, group, key},
static const struct {
    enum top_way way;
    const char *word, *group, *key;
} flows[TOP_FLOW_KINDS] = {TOP_FLOWS(FLOW_ROW)};

static const char *const sources[TOP_SOURCES] = {"compressed", "swap", "image", "smart"};

enum top_way top_flow_way(enum top_flow flow)
{
    return flows[flow].way;
}

const char *top_flow_word(enum top_flow flow)
{
    return flows[flow].word;
}

const char *top_source_word(enum top_source source)
{
    return sources[source];
}

/* ---- reading ---- */

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

static uint64_t number_or_unknown(const json_t *object, const char *key)
{
    return json_is_integer(json_object_get(object, key)) ? number(object, key) : TOP_UNKNOWN;
}

static void words(char *buf, size_t buf_bytes, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(buf, buf_bytes, "%s", text ? text : "");
}

static void take_latencies(struct top_sample *out, const json_t *latencies)
{
    for (unsigned s = 0; s < TOP_SOURCES; s++) {
        const json_t *list =
            json_object_get(json_object_get(latencies, sources[s]), "by_power_of_two");

        for (size_t i = 0; i < MEM_LATENCY_BUCKETS; i++) {
            json_int_t count = json_integer_value(json_array_get(list, i));

            out->latency[s][i] = count > 0 ? (uint64_t)count : 0;
        }
    }
}

static void take_memory(struct top_sample *out, const json_t *memory)
{
    const json_t *pages = json_object_get(memory, "pages");
    const json_t *move = json_object_get(memory, "flows");
    const json_t *balloon = json_object_get(memory, "balloon");
    const json_t *policy = json_object_get(memory, "policy");

    out->guest = number(memory, "guest_bytes");
    out->held = number(memory, "process_bytes");
    out->limit = number_or_unknown(policy, "limit_bytes");
    if (out->limit == TOP_UNKNOWN) /* the policy has not decided yet */
        out->limit = number_or_unknown(memory, "limit_bytes");
    out->available = number_or_unknown(json_object_get(balloon, "guest"), "stat-available-memory");
    for (unsigned i = 0; i < PAGE_STATES; i++)
        out->pages[i] = number(pages, page_state_name((enum page_state)i));
    for (unsigned i = 0; i < TOP_FLOW_KINDS; i++)
        out->moved[i] = number(
            strcmp(flows[i].group, "flows") ? json_object_get(balloon, flows[i].group) : move,
            flows[i].key);
    out->stalls = number(move, "stalls");
    out->waited_ns = number(move, "fault_ns");
    out->serviced_ns = number(move, "service_ns");
    words(out->phase, sizeof(out->phase), policy, "phase");
    words(out->rung, sizeof(out->rung), policy, "rung");
    words(out->why, sizeof(out->why), policy, "why");
    words(out->stall, sizeof(out->stall), memory, "stall");
    take_latencies(out, json_object_get(memory, "latencies"));
}

void top_sample_take(struct top_sample *out, const json_t *stat, uint64_t now_ns)
{
    memset(out, 0, sizeof(*out));
    out->at_ns = now_ns;
    out->pid = json_integer_value(json_object_get(stat, "pid"));
    words(out->state, sizeof(out->state), stat, "state");
    words(out->engine, sizeof(out->engine), stat, "engine");
    out->mips = json_number_value(json_object_get(stat, "mips"));
    out->instructions = number(stat, "instructions");
    take_memory(out, json_object_get(stat, "memory"));
}

/* ---- between two ---- */

/* Counters never go back in one run. */
static bool is_later(const struct top_sample *before, const struct top_sample *now)
{
    bool later = now->pid == before->pid && now->at_ns > before->at_ns &&
                 now->instructions >= before->instructions && now->stalls >= before->stalls &&
                 now->waited_ns >= before->waited_ns && now->serviced_ns >= before->serviced_ns;

    for (unsigned i = 0; i < TOP_FLOW_KINDS; i++)
        later &= now->moved[i] >= before->moved[i];
    for (unsigned s = 0; s < TOP_SOURCES; s++)
        for (unsigned i = 0; i < MEM_LATENCY_BUCKETS; i++)
            later &= now->latency[s][i] >= before->latency[s][i];
    return later;
}

static struct top_latency latency_between(const uint64_t *before, const uint64_t *now)
{
    uint64_t buckets[MEM_LATENCY_BUCKETS];
    struct top_latency out = {0};

    for (unsigned i = 0; i < MEM_LATENCY_BUCKETS; i++) {
        buckets[i] = now[i] - before[i];
        out.count += buckets[i];
    }
    out.median_ns = memory_latency_quantile(buckets, 0.5);
    out.p99_ns = memory_latency_quantile(buckets, 0.99);
    return out;
}

/* What is over the whole was counted across the period's ends. */
static double part_of_time(uint64_t ns, double seconds)
{
    double part = (double)ns / 1e9 / seconds;

    return part < 1 ? part : 1;
}

bool top_rates_between(struct top_rates *out, const struct top_sample *before,
                       const struct top_sample *now)
{
    memset(out, 0, sizeof(*out));
    if (!is_later(before, now))
        return false;
    out->seconds = (double)(now->at_ns - before->at_ns) / 1e9;
    out->mips = (double)(now->instructions - before->instructions) / out->seconds / 1e6;
    out->waiting = part_of_time(now->waited_ns - before->waited_ns, out->seconds);
    out->reclaiming = part_of_time(now->serviced_ns - before->serviced_ns, out->seconds);
    out->stalls = now->stalls - before->stalls;
    for (unsigned i = 0; i < TOP_FLOW_KINDS; i++) {
        out->per_second[i] = (double)(now->moved[i] - before->moved[i]) / out->seconds;
        if (flows[i].way == TOP_IN)
            out->in_per_second += out->per_second[i];
        else
            out->out_per_second += out->per_second[i];
    }
    for (unsigned s = 0; s < TOP_SOURCES; s++)
        out->latency[s] = latency_between(before->latency[s], now->latency[s]);
    return true;
}
