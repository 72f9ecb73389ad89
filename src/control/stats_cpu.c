/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU's counters: why native code calls its handlers, as JSON; all of them in words. */
#include <string.h>

#include "control/stats.h"

#define CALLOUTS_SHOWN 16
#define NATIVE         "native_"

#define CPU_TEXT(name, text) {#name, text, 0},
static const struct stats_desc texts[] = {CPU_COUNTERS(CPU_TEXT){NULL, NULL, 0}};

json_t *stats_callouts_json(struct vm *vm)
{
    struct engine_callout top[CALLOUTS_SHOWN];
    unsigned count = vm_callouts(vm, top, CALLOUTS_SHOWN);
    json_t *array = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(array, json_pack("{s:s, s:s, s:I}", "instruction", top[i].instruction,
                                               "reason", top[i].reason, "count",
                                               (json_int_t)top[i].count));
    return array;
}

static void print_counters(const json_t *cpu, bool native, FILE *out)
{
    for (const struct stats_desc *t = texts; t->name; t++) {
        json_int_t value = json_integer_value(json_object_get(cpu, t->name));

        if (value && native == !strncmp(t->name, NATIVE, strlen(NATIVE)))
            fprintf(out, "  %14" JSON_INTEGER_FORMAT "  %s\n", value, t->text);
    }
}

static double quotient(const json_t *cpu, const char *a, const char *b)
{
    json_int_t of = json_integer_value(json_object_get(cpu, b));

    return of ? (double)json_integer_value(json_object_get(cpu, a)) / (double)of : 0;
}

static void print_callouts(const json_t *callouts, FILE *out)
{
    const json_t *one;
    size_t i;

    if (!json_array_size(callouts))
        return;
    fputs("\n  The most frequent of the instructions left to their handlers\n", out);
    json_array_foreach(callouts, i, one)
    {
        fprintf(out, "  %14" JSON_INTEGER_FORMAT "  %s: %s\n",
                json_integer_value(json_object_get(one, "count")),
                json_string_value(json_object_get(one, "instruction")),
                json_string_value(json_object_get(one, "reason")));
    }
}

void stats_print_cpu(const json_t *stats, FILE *out)
{
    const json_t *cpu = json_object_get(stats, "cpu");

    fputs("CPU (what is zero is left out):\n", out);
    print_counters(cpu, false, out);
    if (!json_integer_value(json_object_get(cpu, "native_blocks")))
        return;
    fputs("\nTranslated code (what is zero is left out):\n", out);
    print_counters(cpu, true, out);
    fprintf(out, "  %14.2f  bytes of native code per byte of guest code\n",
            quotient(cpu, "native_bytes", "native_guest_bytes"));
    fprintf(out, "  %14.1f  instructions retired per entry into native code\n",
            quotient(cpu, "instructions", "native_entries"));
    fprintf(out, "  %14.1f  instructions retired per one left to its handler\n",
            quotient(cpu, "instructions", "native_callouts"));
    print_callouts(json_object_get(stats, "callouts"), out);
}
