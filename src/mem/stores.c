/* SPDX-License-Identifier: Apache-2.0 */
/* The places where pages go: opening and closing them, and all figures. */
#include <stdlib.h>
#include <string.h>

#include "mem/internal.h"

#define COMPACT_PAGES 512 /* about a tenth of a millisecond */

enum err mem_stores_open(struct guest_mem *mem, const struct mem_store_config *config)
{
    enum err err = share_create(&mem->share);

    mem->compress_limit_bytes = config->compress_bytes;
    if (!err && config->compress_bytes)
        err = zstore_create(&mem->zstore, config->compress_bytes);
    if (!err && config->smart_path) {
        mem->smart.faults = config->smart_faults;
        mem->smart.path = strdup(config->smart_path);
        err = mem->smart.path ? swap_remove_leftover(SWAP_FOR_SMART_PAGING, config->smart_path)
                              : err_errno(ERR_NOMEM, "guest memory");
    }
    if (!err && config->path)
        err = swap_open(&mem->swap, SWAP_FOR_SWAPPING, config->path, config->bytes,
                        mem->total_pages, config->faults);
    if (err)
        stores_close(mem);
    return err;
}

void stores_close(struct guest_mem *mem)
{
    if (mem->share)
        share_destroy(mem->share);
    if (mem->zstore)
        zstore_destroy(mem->zstore);
    if (mem->swap)
        swap_close(mem->swap);
    mem->share = NULL;
    mem->zstore = NULL;
    mem->swap = NULL;
    smart_close(mem);
    free(mem->smart.path);
    mem->smart = (struct smart){0};
    victims_fini(&mem->victims);
    victims_fini(&mem->oldest);
    free(mem->tickets.ticket);
    mem->tickets = (struct ticket_book){0};
}

void stores_reset(struct guest_mem *mem)
{
    mem->shares_left.count = 0;
    if (mem->share)
        share_drop_all(mem->share);
    if (mem->zstore)
        zstore_free_all(mem->zstore);
    if (mem->swap)
        swap_free_all(mem->swap);
    smart_close(mem);
    mem->smart.is_refused = false;
    mem->victims.made = mem->oldest.made = false;
    mem->looks_in_vain = 0;
    mem->stall.kind = STALL_NONE;
    memset(mem->ahead, 0, sizeof mem->ahead);
}

static void note_moved(void *arg, uint32_t owner, zstore_id id)
{
    struct guest_mem *mem = arg;

    invariant(mem->state[owner] == PAGE_COMPRESSED);
    mem->place[owner] = id;
}

void stores_compact(struct guest_mem *mem)
{
    if (mem->zstore)
        mem->stats.compressed_moved += zstore_compact(mem->zstore, COMPACT_PAGES, note_moved, mem);
}

int mem_io_fd(const struct guest_mem *mem)
{
    return mem->swap ? swap_fd(mem->swap) : -1;
}

static void swap_figures(const struct guest_mem *mem, struct swap_info *out)
{
    *out = (struct swap_info){0};
    if (mem->swap)
        swap_get_info(mem->swap, out);
}

uint64_t stores_staged_pages(const struct guest_mem *mem)
{
    struct swap_info swap, smart;

    swap_figures(mem, &swap);
    smart_info(mem, &smart);
    return swap.staged + smart.staged;
}

uint64_t stores_held_bytes(const struct guest_mem *mem)
{
    uint64_t pages = mem_own_pages(mem);

    if (mem->share)
        pages += share_copies(mem->share);
    return (pages << PAGE_SHIFT) + (mem->zstore ? zstore_bytes(mem->zstore) : 0);
}

uint64_t mem_host_bytes(const struct guest_mem *mem)
{
    return stores_held_bytes(mem) + ((stores_staged_pages(mem) + mem->discard.pages) << PAGE_SHIFT);
}

void stores_sync_stats(struct guest_mem *mem)
{
    struct swap_info info, smart;

    swap_figures(mem, &info);
    smart_info(mem, &smart);
    mem->stats.swap_read_bytes = info.read_bytes;
    mem->stats.swap_write_bytes = info.write_bytes;
    mem->stats.smart_read_bytes = smart.read_bytes;
    mem->stats.smart_write_bytes = smart.write_bytes;
    mem->stats.checksum_errors = info.checksum_errors + smart.checksum_errors;
    mem->stats.sequential_reads = info.sequential_reads + smart.sequential_reads;
    mem->stats.io_errors = info.errors + smart.errors + mem->io_errors;
}

const struct mem_reclaim_stats *mem_reclaim_stats(const struct guest_mem *mem)
{
    return &mem->stats;
}

void mem_store_info(const struct guest_mem *mem, struct mem_store_info *out)
{
    struct swap_info info, smart;

    swap_figures(mem, &info);
    smart_info(mem, &smart);
    *out = (struct mem_store_info){
        .compressed_bytes = mem->zstore ? zstore_bytes(mem->zstore) : 0,
        .compressed_limit_bytes = mem->compress_limit_bytes,
        .shared_copies = mem->share ? share_copies(mem->share) : 0,
        .swap_slots = info.slots,
        .swap_slots_used = info.used,
        .swap_staging_pages = info.staged,
        .smart_staging_pages = smart.staged,
        .has_smart_file = mem->smart.file,
        .smart_failed = mem->smart.is_refused,
    };
}

const uint64_t *mem_latency(const struct guest_mem *mem, enum mem_latency which)
{
    return mem->latency[which];
}
