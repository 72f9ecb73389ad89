/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "control/trace_view.h"

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text ? text : "-";
}

/* What a step found out, in brackets after its time. */
static void print_finding(const json_t *record, const char *step, FILE *out)
{
    bool is_last = json_object_size(json_object_get(record, "steps")) == 2;

    if (!strcmp(step, "enter_handler") && is_last && json_object_get(record, "gfn"))
        fprintf(out, " (it knows: GFN %s, HVA %s, %s)", text_of(record, "gfn"),
                text_of(record, "hva"), text_of(record, "rights"));
    else if (!strcmp(step, "read_cause"))
        fprintf(out, " (error code 0x%02x)",
                (unsigned)json_integer_value(json_object_get(record, "error_code")));
    else if (!strcmp(step, "walk_guest") && json_object_get(record, "gfn"))
        fprintf(out, " (GFN %s by level %d)", text_of(record, "gfn"),
                (int)json_integer_value(json_object_get(record, "level")));
    else if (!strcmp(step, "walk_guest"))
        fprintf(out, " (stops at level %d)",
                (int)json_integer_value(json_object_get(record, "level")));
    else if (!strcmp(step, "find_slot"))
        fprintf(out, json_object_get(record, "hva") ? " (HVA %s)" : " (no slot)",
                text_of(record, "hva"));
    else if (!strcmp(step, "make_resident") && json_object_get(record, "hva"))
        fprintf(out, " (%s -> %s)", text_of(record, "before"), text_of(record, "after"));
    else if (!strcmp(step, "set_entry"))
        fprintf(out,
                json_is_true(json_object_get(record, "set")) ? " (%s)" : " (%s, was so already)",
                text_of(record, "rights"));
}

static void print_steps(const json_t *record, FILE *out)
{
    json_t *steps = json_object_get(record, "steps");
    const char *name, *separator = "                ";
    json_t *ns;

    json_object_foreach(steps, name, ns)
    {
        fprintf(out, "%s%s %" JSON_INTEGER_FORMAT, separator, name, json_integer_value(ns));
        print_finding(record, name, out);
        separator = ", ";
    }
    fprintf(out, "; %" JSON_INTEGER_FORMAT " ns in all\n",
            json_integer_value(json_object_get(record, "ns")));
}

void trace_print(const json_t *record, FILE *out)
{
    json_int_t ns = json_integer_value(json_object_get(record, "t_ns"));

    fprintf(out, "%4" JSON_INTEGER_FORMAT ".%09" JSON_INTEGER_FORMAT "  %-52s", ns / 1000000000,
            ns % 1000000000, text_of(record, "text"));
    if (json_object_get(record, "access"))
        fprintf(out, " %-5s %-8s", text_of(record, "access"), text_of(record, "mode"));
    if (json_object_get(record, "gva"))
        fprintf(out, " %-18s", text_of(record, "gva"));
    if (json_object_get(record, "table_gfn"))
        fprintf(out, " table GFN %s level %d", text_of(record, "table_gfn"),
                (int)json_integer_value(json_object_get(record, "level")));
    if (json_object_get(record, "new_cr3"))
        fprintf(out, " %s -> %s", text_of(record, "old_cr3"), text_of(record, "new_cr3"));
    if (json_object_get(record, "type"))
        fprintf(out, " type %d PCID %d", (int)json_integer_value(json_object_get(record, "type")),
                (int)json_integer_value(json_object_get(record, "of_pcid")));
    if (json_object_get(record, "to_byte"))
        fprintf(out, " bytes %d to %d",
                (int)json_integer_value(json_object_get(record, "from_byte")),
                (int)json_integer_value(json_object_get(record, "to_byte")));
    if (json_object_get(record, "line"))
        fprintf(out, " line %d", (int)json_integer_value(json_object_get(record, "line")));
    if (json_object_get(record, "entry"))
        fprintf(out, " entry %s", text_of(record, "entry"));
    if (json_object_get(record, "entries"))
        fprintf(out, " with %d entries",
                (int)json_integer_value(json_object_get(record, "entries")));
    if (json_object_get(record, "access"))
        fprintf(out, "  CR3 %s", text_of(record, "cr3"));
    fputc('\n', out);
    if (json_object_get(record, "steps"))
        print_steps(record, out);
}
