/* SPDX-License-Identifier: Apache-2.0 */
#include "control/memory_json.h"

#include <string.h>

#include "mem/balloon.h"
#include "mem/reclaim.h"

#define RECLAIM_ROW(name, text) {#name, text, offsetof(struct mem_reclaim_stats, name)},
#define BALLOON_ROW(name, text) {#name, text, offsetof(struct mem_balloon_stats, name)},
#define BLK_ROW(name, text)     {#name, text, offsetof(struct blk_stats, name)},

static const struct stats_desc reclaim_rows[] = {MEM_RECLAIM_COUNTERS(RECLAIM_ROW){NULL, NULL, 0}};
static const struct stats_desc balloon_rows[] = {MEM_BALLOON_COUNTERS(BALLOON_ROW){NULL, NULL, 0}};
static const struct stats_desc blk_rows[] = {BLK_COUNTERS(BLK_ROW){NULL, NULL, 0}};

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* null: none was given */
static json_t *size_or_null(uint64_t bytes)
{
    return bytes == VM_ANY ? json_null() : number(bytes);
}

json_t *memory_rows_json(const struct stats_desc *rows, const void *values)
{
    json_t *object = json_object();

    for (; rows->name; rows++) {
        uint64_t value;

        memcpy(&value, (const char *)values + rows->offset, sizeof(value));
        json_object_set_new(object, rows->name, number(value));
    }
    return object;
}

static json_t *pages_json(const struct mem_ledger *ledger)
{
    json_t *pages = json_object();

    for (unsigned i = 0; i < PAGE_STATES; i++)
        json_object_set_new(pages, page_state_name(i), number(ledger->pages[i]));
    return pages;
}

static json_t *stores_json(struct vm *vm)
{
    struct mem_store_info info;

    mem_store_info(vm_mem(vm), &info);
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:s}", "compressed_bytes",
        number(info.compressed_bytes), "compressed_limit_bytes",
        number(info.compressed_limit_bytes), "shared_copies", number(info.shared_copies),
        "swap_slots", number(info.swap_slots), "swap_slots_used", number(info.swap_slots_used),
        "swap_staging_pages", number(info.swap_staging_pages), "swap_file", vm_swap_path(vm),
        "smart_staging_pages", number(info.smart_staging_pages), "smart_file", vm_smart_path(vm));
}

uint64_t memory_latency_quantile(const uint64_t *buckets, double quantile)
{
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < MEM_LATENCY_BUCKETS; i++)
        total += buckets[i];
    for (unsigned i = 0; i < MEM_LATENCY_BUCKETS; i++) {
        seen += buckets[i];
        if (buckets[i] && (double)seen >= quantile * (double)total)
            return UINT64_C(2) << i;
    }
    return 0;
}

static json_t *latency_json(const uint64_t *buckets)
{
    json_t *list = json_array();
    uint64_t total = 0;

    for (unsigned i = 0; i < MEM_LATENCY_BUCKETS; i++) {
        total += buckets[i];
        json_array_append_new(list, number(buckets[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "count", number(total), "median_ns",
                     number(memory_latency_quantile(buckets, 0.5)), "p99_ns",
                     number(memory_latency_quantile(buckets, 0.99)), "by_power_of_two", list);
}

static json_t *latencies_json(const struct guest_mem *mem)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "compressed",
                     latency_json(mem_latency(mem, MEM_LATENCY_COMPRESSED)), "swap",
                     latency_json(mem_latency(mem, MEM_LATENCY_SWAP)), "smart",
                     latency_json(mem_latency(mem, MEM_LATENCY_SMART)), "image",
                     latency_json(mem_latency(mem, MEM_LATENCY_IMAGE)));
}

static json_t *ages_json(const struct guest_mem *mem)
{
    uint64_t pages[MEM_AGES];
    json_t *list = json_array();

    mem_age_histogram(mem, pages);
    for (unsigned i = 0; i < MEM_AGES; i++)
        json_array_append_new(list, number(pages[i]));
    return list;
}

static json_t *balloon_json(struct vm *vm)
{
    struct balloon_info info;
    json_t *guest = json_object();

    board_balloon_info(vm_board(vm), &info);
#define GUEST_ROW(index, name, word, text)                                                         \
    if (info.stats.updates && info.stats.value[index] != UINT64_MAX)                               \
        json_object_set_new(guest, word, number(info.stats.value[index]));
    BALLOON_GUEST_STATS(GUEST_ROW)
#undef GUEST_ROW
    return json_pack("{s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:o}", "has_driver", info.has_driver,
                     "has_statistics", info.has_stats, "has_reporting", info.has_reporting,
                     "has_hinting", info.has_hinting, "target_bytes",
                     number(info.target_pages * PAGE_SIZE), "actual_bytes",
                     number(info.actual_pages * PAGE_SIZE), "counters",
                     memory_rows_json(balloon_rows, mem_balloon_stats(vm_mem(vm))), "guest", guest);
}

static json_t *disks_json(struct vm *vm)
{
    json_t *list = json_array();
    const struct blk_stats *stats;

    for (unsigned i = 0; (stats = board_disk_stats(vm_board(vm), i)); i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:o}", "path", board_disk_path(vm_board(vm), i),
                                        "counters", memory_rows_json(blk_rows, stats)));
    return list;
}

static json_t *policy_json(struct vm *vm)
{
    struct vm_decision d = vm_decision(vm);

    return json_pack(
        "{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "phase", vm_phase_name(vm_phase(vm)),
        "rung", policy_rung_name(d.decided.rung), "why", d.decided.why, "balloon_stuck",
        d.decided.balloon_stuck, "limit_bytes",
        d.saw.now_ns ? size_or_null(d.saw.limit) : json_null(), "room_bytes",
        d.saw.now_ns ? size_or_null(d.decided.orders.limit_bytes) : json_null(),
        "smart_allowed_bytes", number(d.decided.orders.smart_limit_bytes), "asked_resident_bytes",
        d.saw.now_ns ? size_or_null(d.saw.user_target) : json_null(), "asked_balloon_bytes",
        d.saw.now_ns ? size_or_null(d.saw.user_balloon) : json_null());
}

json_t *memory_json(struct vm *vm)
{
    const struct guest_mem *mem = vm_mem(vm);
    const struct vm_config *config = vm_get_config(vm);
    struct mem_ledger ledger = mem_ledger(mem);
    uint64_t own = ledger.pages[PAGE_RESIDENT] + ledger.pages[PAGE_PINNED];
    struct vm_stall stall = vm_stall(vm);
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "guest_bytes", number(mem_size_bytes(mem)),
        "resident_bytes", number(own * PAGE_SIZE), "shadow_bytes",
        number(mmu_stats(vm_mmu(vm))->shadow_bytes), "host_bytes", number(mem_host_bytes(mem)),
        "process_bytes", number(vm_process_bytes(vm)), "limit_bytes", size_or_null(vm_limit(vm)),
        "reservation_bytes", number(config->reservation_bytes), "stall", stall.why);

    json_object_set_new(object, "pages", pages_json(&ledger));
    json_object_set_new(object, "stores", stores_json(vm));
    json_object_set_new(object, "flows", memory_rows_json(reclaim_rows, mem_reclaim_stats(mem)));
    json_object_set_new(object, "latencies", latencies_json(mem));
    json_object_set_new(object, "pages_by_idle_seconds", ages_json(mem));
    json_object_set_new(object, "balloon", balloon_json(vm));
    json_object_set_new(object, "policy", policy_json(vm));
    json_object_set_new(object, "disks", disks_json(vm));
    return object;
}
