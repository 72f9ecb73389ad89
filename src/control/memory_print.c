/* SPDX-License-Identifier: Apache-2.0 */
/* Where a VM's memory went, in sentences and sums. */
#include <inttypes.h>
#include <string.h>

#include "control/memory_json.h"
#include "control/size.h"
#include "mem/reclaim.h"

#define MIB 1048576.0

#define RECLAIM_TEXT(name, text) {#name, text, 0},
static const struct stats_desc flow_texts[] = {MEM_RECLAIM_COUNTERS(RECLAIM_TEXT){NULL, NULL, 0}};

static uint64_t get(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static double mib(uint64_t bytes)
{
    return (double)bytes / MIB;
}

static double mib_of_pages(const json_t *object, const char *key)
{
    return mib(get(object, key) * PAGE_SIZE);
}

/* ---- page states ---- */

static const char *cost_of(enum page_state state)
{
    switch (state) {
    case PAGE_RESIDENT:
    case PAGE_PINNED:
        return "costs its size";
    case PAGE_SHARED:
    case PAGE_COMPRESSED:
        return "costs less";
    case PAGE_SWAPPED:
    case PAGE_SMART:
        return "costs disk space";
    default:
        return "costs nothing";
    }
}

void memory_print_states(const json_t *memory, FILE *out)
{
#define STATE_HELP(name, word, help) help,
    static const char *const helps[PAGE_STATES] = {PAGE_STATE_LIST(STATE_HELP)};
#undef STATE_HELP
    const json_t *pages = json_object_get(memory, "pages");
    uint64_t total = get(memory, "guest_bytes") / PAGE_SIZE, sum = 0;

    fprintf(out, "Where the memory is:\n");
    for (unsigned i = 0; i < PAGE_STATES; i++) {
        uint64_t n = get(pages, page_state_name((enum page_state)i));

        sum += n;
        if (n)
            fprintf(out, "  %10.1f MiB  %10" PRIu64 " pages  %5.1f %%  %s: %s; %s\n",
                    mib(n * PAGE_SIZE), n, total ? 100.0 * (double)n / (double)total : 0.0,
                    page_state_name((enum page_state)i), helps[i], cost_of((enum page_state)i));
    }
    fprintf(out, "  %10.1f MiB  %10" PRIu64 " pages  in all, what the guest believes it has\n",
            mib(sum * PAGE_SIZE), sum);
}

/* ---- what it costs ---- */

static void print_cost(FILE *out, uint64_t bytes, const char *what)
{
    if (bytes)
        fprintf(out, "  %10.1f MiB  %s\n", mib(bytes), what);
}

/* "20.1 MiB of pages, 6.2 times smaller" */
static void describe_compressed(const json_t *memory, char *buf, size_t buf_bytes)
{
    const json_t *stores = json_object_get(memory, "stores");
    uint64_t bytes = get(stores, "compressed_bytes");
    uint64_t pages = get(json_object_get(memory, "pages"), page_state_name(PAGE_COMPRESSED));

    snprintf(buf, buf_bytes,
             "compressed store: holds %.1f MiB of pages, %.1f times smaller; at most %.1f MiB",
             mib(pages * PAGE_SIZE), bytes ? (double)(pages * PAGE_SIZE) / (double)bytes : 0.0,
             mib(get(stores, "compressed_limit_bytes")));
}

static void print_costs(const json_t *memory, FILE *out)
{
    const json_t *stores = json_object_get(memory, "stores");
    uint64_t host = get(memory, "host_bytes"), process = get(memory, "process_bytes");
    uint64_t shadow = get(memory, "shadow_bytes");
    uint64_t own = get(memory, "resident_bytes"), rest;
    uint64_t staging = get(stores, "swap_staging_pages") * PAGE_SIZE;
    uint64_t bridge = get(stores, "smart_staging_pages") * PAGE_SIZE;
    uint64_t copies = get(stores, "shared_copies") * PAGE_SIZE;
    uint64_t compressed = get(stores, "compressed_bytes");
    char text[160];

    if (process < host + shadow) /* pages whose first touch is still to come */
        process = host + shadow;
    rest = process - host - shadow;
    fputs("\nWhat that costs the host:\n", out);
    print_cost(out, own, "pages of their own");
    snprintf(text, sizeof(text), "copies that %.1f MiB of shared pages are read from",
             mib(get(json_object_get(memory, "pages"), page_state_name(PAGE_SHARED)) * PAGE_SIZE));
    print_cost(out, copies, text);
    describe_compressed(memory, text, sizeof(text));
    print_cost(out, compressed, text);
    print_cost(out, staging, "on the way to the swap file");
    print_cost(out, bridge, "on the way to the smart-paging file");
    if (host > own + copies + compressed + staging + bridge)
        print_cost(out, host - own - copies - compressed - staging - bridge,
                   "on the way from files");
    print_cost(out, shadow, "shadow page tables and reverse map");
    print_cost(out, rest, "the machine itself: program, decoded code, page states, devices");
    fprintf(out, "  %10.1f MiB  in all, as the host counts this process\n", mib(process));
}

static void print_limit(const json_t *memory, FILE *out)
{
    const json_t *now = json_object_get(json_object_get(memory, "policy"), "limit_bytes");
    const json_t *limit = json_is_integer(now) ? now : json_object_get(memory, "limit_bytes");
    uint64_t bytes = (uint64_t)json_integer_value(limit), process = get(memory, "process_bytes");

    if (!json_is_integer(limit))
        fputs("No limit is set: it may hold all of its memory.\n", out);
    else if (process <= bytes)
        fprintf(out, "Its limit is %.1f MiB, of which %.1f MiB are left.\n", mib(bytes),
                mib(bytes - process));
    else
        fprintf(out, "Its limit is %.1f MiB; it holds %.1f MiB more just now.\n", mib(bytes),
                mib(process - bytes));
}

/* ---- means ---- */

static void print_smart(const json_t *memory, FILE *out)
{
    const json_t *flows = json_object_get(memory, "flows");
    const char *path =
        json_string_value(json_object_get(json_object_get(memory, "stores"), "smart_file"));

    if (path && path[0])
        fprintf(out, "A restart is bridged by smart paging: %.1f MiB are in %s.\n",
                mib_of_pages(json_object_get(memory, "pages"), page_state_name(PAGE_SMART)), path);
    else if (get(flows, "smart_files"))
        fprintf(out,
                "Restarts bridged by smart paging: %" PRIu64 ", with %.1f MiB; its file was there "
                "for %.1f s in all and is gone.\n",
                get(flows, "smart_files"), mib_of_pages(flows, "evicted_smart"),
                (double)get(flows, "smart_file_ns") / 1e9);
}

static void print_swap(const json_t *memory, FILE *out)
{
    const json_t *stores = json_object_get(memory, "stores");
    const json_t *flows = json_object_get(memory, "flows");

    if (get(stores, "swap_slots"))
        fprintf(out,
                "\nSwap file %s: %.1f of %.1f MiB are used; %.1f MiB were written and %.1f MiB "
                "read so far.\n",
                json_string_value(json_object_get(stores, "swap_file")),
                mib_of_pages(stores, "swap_slots_used"), mib_of_pages(stores, "swap_slots"),
                mib(get(flows, "swap_write_bytes")), mib(get(flows, "swap_read_bytes")));
    else
        fputs("\nThere is no swap file.\n", out);
    print_smart(memory, out);
    if (get(flows, "image_read_bytes"))
        fprintf(out, "%.1f MiB of dropped pages were read back from disk images.\n",
                mib(get(flows, "image_read_bytes")));
    if (get(flows, "io_errors") || get(flows, "checksum_errors"))
        fprintf(out, "%" PRIu64 " errors of files, %" PRIu64 " pages came back damaged.\n",
                get(flows, "io_errors"), get(flows, "checksum_errors"));
}

static void print_balloon(const json_t *memory, FILE *out)
{
    const json_t *balloon = json_object_get(memory, "balloon");
    const json_t *counters = json_object_get(balloon, "counters");
    const json_t *guest = json_object_get(balloon, "guest");

    if (!json_is_true(json_object_get(balloon, "has_driver"))) {
        fputs("\nBalloon: the guest has no driver for it.\n", out);
        return;
    }
    fprintf(out, "\nBalloon: asked for %.1f MiB, has %.1f MiB", mib(get(balloon, "target_bytes")),
            mib(get(balloon, "actual_bytes")));
    if (json_is_true(json_object_get(json_object_get(memory, "policy"), "balloon_stuck")))
        fputs("; it stands still, so other means take over", out);
    fprintf(out, ".\nThe guest reported %.1f MiB free by itself",
            mib_of_pages(counters, "reported"));
    if (json_object_get(guest, "stat-available-memory"))
        fprintf(out, "; it says that it could give %.1f MiB without swapping",
                mib(get(guest, "stat-available-memory")));
    fputs(".\n", out);
}

static void print_diseases(const json_t *memory, FILE *out)
{
    static const struct {
        const char *key, *text;
    } cures[] = {
        {"silent_writes_saved", "were not written to the swap file: a disk image holds them"},
        {"stale_reads_saved", "were not read from it: a disk read overwrote them"},
        {"false_reads_saved", "were not read from it: the CPU overwrote them"},
        {"double_paging_saved", "went from there to the guest's own swap without coming in"},
        {"readahead_used", "were there before they were used: neighbours come in together"},
        {"file_pages_first", "were taken first because they were known to come from a file"},
    };
    const json_t *flows = json_object_get(memory, "flows");
    bool any = false;

    for (size_t i = 0; i < sizeof(cures) / sizeof(cures[0]); i++) {
        if (!get(flows, cures[i].key))
            continue;
        if (!any)
            fputs("\nWork that was saved:\n", out);
        any = true;
        fprintf(out, "  %10.1f MiB  %s\n", mib_of_pages(flows, cures[i].key), cures[i].text);
    }
}

static void print_latencies(const json_t *memory, FILE *out)
{
    static const struct {
        const char *key, *text;
    } from[] = {{"compressed", "the compressed store"},
                {"swap", "the swap file"},
                {"smart", "the smart-paging file"},
                {"image", "a disk image"}};
    const json_t *latencies = json_object_get(memory, "latencies");
    bool any = false;

    for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
        const json_t *one = json_object_get(latencies, from[i].key);

        if (!get(one, "count"))
            continue;
        if (!any)
            fputs("\nHow long the guest waited for a page:\n", out);
        any = true;
        fprintf(out, "  from %s: half of %" PRIu64 " within %.1f us, 99 of 100 within %.1f us\n",
                from[i].text, get(one, "count"), (double)get(one, "median_ns") / 1e3,
                (double)get(one, "p99_ns") / 1e3);
    }
}

static void print_ages(const json_t *memory, FILE *out)
{
    static const unsigned seconds[] = {1, 10, 60};
    const json_t *ages = json_object_get(memory, "pages_by_idle_seconds");
    uint64_t total = 0, younger[3] = {0};
    size_t age;
    json_t *pages;

    json_array_foreach(ages, age, pages)
    {
        uint64_t n = (uint64_t)json_integer_value(pages);

        total += n;
        for (unsigned i = 0; i < 3; i++)
            younger[i] += age < seconds[i] ? n : 0;
    }
    if (total)
        fprintf(out,
                "\nOf the pages in host memory %.1f MiB were used within the last second, %.1f "
                "MiB within ten, %.1f MiB within a minute.\n",
                mib(younger[0] * PAGE_SIZE), mib(younger[1] * PAGE_SIZE),
                mib(younger[2] * PAGE_SIZE));
}

static void print_disks(const json_t *memory, FILE *out)
{
    size_t index;
    json_t *disk;

    json_array_foreach(json_object_get(memory, "disks"), index, disk)
    {
        const json_t *counters = json_object_get(disk, "counters");

        fprintf(out, "%sDisk %s: %.1f MiB read, %.1f MiB written, %" PRIu64 " errors.\n",
                index ? "" : "\n", json_string_value(json_object_get(disk, "path")),
                mib(get(counters, "read_bytes")), mib(get(counters, "write_bytes")),
                get(counters, "errors"));
    }
}

static void print_policy(const json_t *memory, FILE *out)
{
    const json_t *policy = json_object_get(memory, "policy");
    const char *why = json_string_value(json_object_get(policy, "why"));
    const char *stall = json_string_value(json_object_get(memory, "stall"));
    const json_t *asked = json_object_get(policy, "asked_resident_bytes");

    if (why && why[0])
        fprintf(out, "\nWhat is being done about it: %s (%s).\n",
                json_string_value(json_object_get(policy, "rung")), why);
    if (json_is_integer(asked))
        fprintf(out, "You asked for at most %.1f MiB of it in host memory (umbra swap).\n",
                mib((uint64_t)json_integer_value(asked)));
    if (stall && stall[0])
        fprintf(out, "The guest waits: %s\n", stall);
}

void memory_print(const char *name, const json_t *memory, FILE *out)
{
    fprintf(out, "%s believes it has %.1f MiB; the host gives %.1f MiB for it and its machine.\n",
            name, mib(get(memory, "guest_bytes")), mib(get(memory, "process_bytes")));
    print_limit(memory, out);
    fputc('\n', out);
    memory_print_states(memory, out);
    print_costs(memory, out);
    print_swap(memory, out);
    print_balloon(memory, out);
    print_policy(memory, out);
    print_diseases(memory, out);
    print_latencies(memory, out);
    print_ages(memory, out);
    print_disks(memory, out);
}

void memory_print_flows(const json_t *memory, FILE *out)
{
    const json_t *flows = json_object_get(memory, "flows");

    for (const struct stats_desc *t = flow_texts; t->name; t++) {
        uint64_t value = get(flows, t->name);
        size_t length = strlen(t->name);
        bool is_time = length > 3 && !strcmp(t->name + length - 3, "_ns");

        if (value)
            fprintf(out, "  %14" PRIu64 "  %s%s\n", value, t->text, is_time ? ", in ns" : "");
    }
    print_latencies(memory, out);
}
