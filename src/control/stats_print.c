/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shadow MMU's counters in words, grouped. A new counter needs no line here: its name's
 * beginning decides.
 */
#include <string.h>

#include "control/stats.h"
#include "mmu/mmu.h"

#define MMU_TEXT(name, text) {#name, text, 0},
static const struct stats_desc texts[] = {MMU_COUNTERS(MMU_TEXT){NULL, NULL, 0}};

/*
 * begins:     how the names of the group begin
 * is_shared:  its counters are parts of one whole, so their share is shown
 */
struct group {
    const char *title;
    const char *begins[8];
    bool is_shared;
};

static const struct group groups[] = {
    {"The seven steps of an access", {"step"}, false},
    {"True faults: the guest's own, it gets its #PF", {"true_"}, true},
    {"Hidden faults: ours, the guest never knows", {"hidden_"}, true},
    {"Accesses to devices", {"device_"}, false},
    {"Shadow tables", {"shadow_", "zaps_"}, false},
    {"Address spaces and flushes", {"root_", "flush_"}, false},
    {"Following the guest's tables",
     {"table_", "tables_", "interventions", "sync_", "unsync", "prefetch"},
     false},
    {"Shadow oracle", {"oracle_"}, false},
    {"Others", {""}, false},
};

#define GROUPS (sizeof(groups) / sizeof(groups[0]))

/* Quotients that are shown when both counters exist. */
static const struct {
    const char *name, *of, *text;
} ratios[] = {
    {"interventions", "table_writes", "interventions per write to a guest table"},
    {"sync_changes", "sync_reads", "sync yield: changes found per entry read again"},
    {"prefetch_used", "prefetched", "prefetch yield: entries used per entry set ahead"},
    {"hidden_spurious", "step3_causes", "spurious faults per fault"},
    {"root_hits", "root_switches", "CR3 loads that find their root in the cache"},
    {"step2_shadow_hits", "step1_exits", "exits that the shadow table answers at once"},
};

static const struct group *group_of(const char *name)
{
    for (size_t g = 0; g < GROUPS; g++) {
        for (const char *const *b = groups[g].begins; *b; b++) {
            if (!strncmp(name, *b, strlen(*b)))
                return &groups[g];
        }
    }
    return &groups[GROUPS - 1];
}

static json_int_t value_of(const json_t *mmu, const char *name)
{
    return json_integer_value(json_object_get(mmu, name));
}

static json_int_t sum_of(const json_t *mmu, const struct group *group)
{
    json_int_t sum = 0;

    for (const struct stats_desc *t = texts; t->name; t++) {
        if (group_of(t->name) == group)
            sum += value_of(mmu, t->name);
    }
    return sum;
}

static void print_group(const json_t *mmu, const struct group *group, FILE *out)
{
    json_int_t sum = sum_of(mmu, group);

    if (!sum)
        return;
    fprintf(out, "  %s\n", group->title);
    for (const struct stats_desc *t = texts; t->name; t++) {
        json_int_t value = value_of(mmu, t->name);
        const char *text = strstr(t->text, ": ");

        if (!value || group_of(t->name) != group)
            continue;
        fprintf(out, "  %14" JSON_INTEGER_FORMAT "  ", value);
        if (group->is_shared)
            fprintf(out, "%5.1f %%  %s\n", 100.0 * (double)value / (double)sum,
                    text ? text + 2 : t->text);
        else
            fprintf(out, "%s\n", t->text);
    }
    if (group->is_shared)
        fprintf(out, "  %14" JSON_INTEGER_FORMAT "  in all\n", sum);
    fputc('\n', out);
}

void stats_print_mmu(const json_t *mmu, FILE *out)
{
    fputs("Shadow MMU (what is zero is left out):\n\n", out);
    for (size_t g = 0; g < GROUPS; g++)
        print_group(mmu, &groups[g], out);
    fputs("  Seen together\n", out);
    for (size_t i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
        json_int_t of = value_of(mmu, ratios[i].of);

        if (of)
            fprintf(out, "  %14.4f  %s\n", (double)value_of(mmu, ratios[i].name) / (double)of,
                    ratios[i].text);
    }
    if (json_object_get(mmu, "longest_reverse_chain"))
        fprintf(out,
                "  %14" JSON_INTEGER_FORMAT
                "  longest chain of the reverse map: shadow entries of one frame (GFN 0x%llx)\n"
                "  %14" JSON_INTEGER_FORMAT "  bytes of shadow per MiB of guest memory\n",
                value_of(mmu, "longest_reverse_chain"),
                (unsigned long long)value_of(mmu, "longest_reverse_chain_gfn"),
                value_of(mmu, "shadow_bytes_per_guest_mib"));
}
