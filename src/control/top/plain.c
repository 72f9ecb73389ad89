/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/plain.h"

#include <string.h>

#include "control/size.h"
#include "control/top/describe.h"
#include "control/top/format.h"

static void print_line(void *out, const char *label, const char *text)
{
    fprintf(out, "  %-8s %s\n", label, text);
}

static void print_vm(const struct top_model *model, const struct top_row *row, FILE *out)
{
    const struct top_sample *s = &row->now;

    fprintf(out, "%s: %s", row->name, top_row_state(row));
    if (row->has_now)
        fprintf(out, ", engine %s, %.1f MIPS, pid %lld", s->engine,
                row->has_rates ? row->rates.mips : s->mips, (long long)s->pid);
    fputc('\n', out);
    top_describe_vm(model, row, print_line, out);
}

void top_plain_print(const struct top_model *model, FILE *out)
{
    char text[TOP_LINE_BYTES];

    top_describe_sums(model, text, sizeof(text));
    fprintf(out, "%s\n", text);
    for (size_t i = 0; i < model->pool_count; i++) {
        top_describe_pool(&model->pools[i], text, sizeof(text));
        fprintf(out, "%s\n", text);
    }
    for (size_t i = 0; i < model->count; i++)
        print_vm(model, &model->rows[model->order[i]], out);
    fputc('\n', out);
}

/* ---- JSON ---- */

static json_t *number(uint64_t value)
{
    return value == TOP_UNKNOWN ? json_null() : json_integer((json_int_t)value);
}

static json_t *flows_json(const struct top_rates *rates, enum top_way way)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < TOP_FLOW_KINDS; i++) {
        if (top_flow_way(i) == way)
            json_object_set_new(object, top_flow_word(i), json_real(rates->per_second[i]));
    }
    return object;
}

static json_t *latencies_json(const struct top_rates *rates)
{
    json_t *object = json_object();

    for (unsigned s = 0; s < TOP_SOURCES; s++) {
        const struct top_latency *l = &rates->latency[s];

        json_object_set_new(object, top_source_word(s),
                            json_pack("{s:o, s:o, s:o}", "count", number(l->count), "median_ns",
                                      number(l->median_ns), "p99_ns", number(l->p99_ns)));
    }
    return object;
}

static json_t *period_json(const struct top_rates *rates)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "seconds",
                     rates->seconds, "mips", rates->mips, "in_pages_per_second",
                     rates->in_per_second, "out_pages_per_second", rates->out_per_second, "waiting",
                     rates->waiting, "reclaiming", rates->reclaiming, "stalls",
                     number(rates->stalls), "in", flows_json(rates, TOP_IN), "out",
                     flows_json(rates, TOP_OUT), "latencies", latencies_json(rates));
}

static json_t *vm_json(const struct top_model *model, const struct top_row *row)
{
    const struct top_sample *s = &row->now;
    const struct top_pool *pool = NULL;
    json_t *object = json_pack("{s:s, s:s}", "name", row->name, "state", top_row_state(row));
    json_t *pages = json_object();

    for (unsigned i = 0; i < PAGE_STATES; i++)
        json_object_set_new(pages, page_state_name(i), number(s->pages[i]));
    if (row->has_now)
        json_object_update_new(
            object,
            json_pack("{s:I, s:s, s:s, s:f, s:o, s:o, s:o, s:o, s:O, s:o, s:s, s:s, s:s}", "pid",
                      (json_int_t)s->pid, "phase", s->phase, "engine", s->engine, "mips", s->mips,
                      "guest_bytes", number(s->guest), "process_bytes", number(s->held),
                      "limit_bytes", number(s->limit), "guest_available_bytes",
                      number(s->available), "pages", pages, "stalls", number(s->stalls), "rung",
                      s->rung, "why", s->why, "stall", s->stall));
    json_decref(pages);
    json_object_set_new(object, "period", row->has_rates ? period_json(&row->rates) : json_null());
    if (top_model_member(model, row->name, &pool))
        json_object_set_new(object, "pool", json_string(pool->name));
    return object;
}

static json_t *pool_json(const struct top_pool *pool)
{
    const char *name;
    json_t *members = json_array(), *member;

    json_object_foreach(pool->members, name, member) json_array_append(members, member);
    return json_pack("{s:s, s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "name", pool->name, "answers",
                     !pool->is_silent, "state", pool->state, "bytes", number(pool->bytes), "free",
                     number(pool->free), "shortage", number(pool->shortage), "asked",
                     number(pool->asked), "members", members);
}

json_t *top_plain_json(const struct top_model *model)
{
    json_t *vms = json_array(), *pools = json_array();

    for (size_t i = 0; i < model->count; i++)
        json_array_append_new(vms, vm_json(model, &model->rows[model->order[i]]));
    for (size_t i = 0; i < model->pool_count; i++)
        json_array_append_new(pools, pool_json(&model->pools[i]));
    return json_pack("{s:o, s:o}", "vms", vms, "pools", pools);
}
