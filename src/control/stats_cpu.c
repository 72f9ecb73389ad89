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

#define PHASE_NAME(name, text) #name,
#define PHASE_TEXT(name, text) text,
static const char *const phases[] = {ENGINE_PHASES(PHASE_NAME)};
static const char *const phase_texts[] = {ENGINE_PHASES(PHASE_TEXT)};

json_t *stats_time_json(struct vm *vm)
{
    uint64_t counts[ENGINE_PHASE_COUNT];
    json_t *object = json_object();

    if (!vm_phases(vm, counts))
        return object;
    for (unsigned i = 0; i < ENGINE_PHASE_COUNT; i++)
        json_object_set_new(object, phases[i], json_integer((json_int_t)counts[i]));
    return object;
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

/* Shares of the time in which there was something to do. */
static void print_time(const json_t *time, FILE *out)
{
    json_int_t all = 0;

    for (unsigned i = 0; i < ENGINE_PHASE_COUNT; i++)
        if (i != ENGINE_halted)
            all += json_integer_value(json_object_get(time, phases[i]));
    if (!all)
        return;
    fputs("\nWhere the time went, of that with something to do (--profile):\n", out);
    for (unsigned i = 0; i < ENGINE_PHASE_COUNT; i++) {
        json_int_t count = json_integer_value(json_object_get(time, phases[i]));

        if (count && i != ENGINE_halted)
            fprintf(out, "  %13.1f%%  %s\n", 100 * (double)count / (double)all, phase_texts[i]);
    }
}

/* What --profile counts in native code: how blocks were reached. */
static void print_reached(const json_t *cpu, FILE *out)
{
    double runs = (double)json_integer_value(json_object_get(cpu, "native_runs"));
    double far_runs = (double)json_integer_value(json_object_get(cpu, "native_far_runs"));
    double entries = (double)json_integer_value(json_object_get(cpu, "native_entries"));
    double by_branch = (double)json_integer_value(json_object_get(cpu, "native_branches_out"));
    double hits = (double)json_integer_value(json_object_get(cpu, "native_guess_hits"));
    double misses = (double)json_integer_value(json_object_get(cpu, "native_guess_misses"));
    double chained = runs - far_runs - entries, other = entries - by_branch;

    if (runs <= 0)
        return;
    fprintf(out, "  %13.2f%%  of direct branches in a page met a joined block\n",
            100 * chained / (chained + by_branch));
    fprintf(out, "  %13.2f%%  or more of all other branches found native code\n",
            100 * far_runs / (far_runs + (other > 0 ? other : 0)));
    if (hits + misses > 0)
        fprintf(out, "  %13.2f%%  of indirect branches with a guess went there\n",
                100 * hits / (hits + misses));
}

void stats_print_cpu(const json_t *stats, FILE *out)
{
    const json_t *cpu = json_object_get(stats, "cpu");

    fputs("CPU (what is zero is left out):\n", out);
    print_counters(cpu, false, out);
    print_time(json_object_get(stats, "time"), out);
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
    print_reached(cpu, out);
    print_callouts(json_object_get(stats, "callouts"), out);
}
