/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking host memory back from a VM without its help: mechanism only. Somebody else decides how
 * much and by which means (policy.h); this file finds the idlest pages and moves them to the
 * lightest place allowed:
 *
 *   equal to a disk block -> dropped     zeros -> nothing     equal to another page -> shared
 *   compresses well -> compressed store  else -> swap file, or the smart-paging file of a restart
 *
 * All work is done in slices by mem_service, on the vCPU's thread between two instructions (M5).
 */
#ifndef UMBRA_MEM_RECLAIM_H
#define UMBRA_MEM_RECLAIM_H

#include "base/stats.h"
#include "mem/mem.h"

/* What may be done with a victim (bits). Dropping image and zero pages is always allowed. */
enum mem_means {
    MEM_MEANS_SHARE = 1,
    MEM_MEANS_COMPRESS = 2,
    MEM_MEANS_SWAP = 4,
    MEM_MEANS_ALL = 7,
};

/*
 * path:           the swap file, made now with mode 0600 (created new: an old one is removed
 * first);
 *                 NULL: none
 * bytes:          its size: guest memory less the reservation; sparse
 * compress_bytes: the most host memory the compressed store may take; 0: none
 * smart_path:     the smart-paging file, made when orders allow and a page goes there, removed when
 *                 it is empty and orders allow no more; what a killed VM left is removed now; NULL:
 * none
 */
struct mem_store_config {
    const char *path, *smart_path;
    uint64_t bytes;
    uint64_t compress_bytes;
    const struct aio_faults *faults, *smart_faults; /* tests only: base/aio.h; NULL */
};

/* Once, before the guest runs. ERR_IO, ERR_NOMEM: err_text() names the file and says what to do. */
enum err mem_stores_open(struct guest_mem *mem, const struct mem_store_config *config) MUST_USE;

/* Readable when I/O of the swap file has completed: call mem_service soon. -1: none. */
int mem_io_fd(const struct guest_mem *mem);

/*
 * limit_bytes:     the guest's pages and stores may take so much host memory; UINT64_MAX: any
 * target_bytes:    reclaim down to this and stay there until told otherwise; UINT64_MAX: no wish
 * means:           MEM_MEANS_*
 * share_scan_pages_per_s: pace of the scan for equal pages; 0: none
 * without_cures:   for comparison: swap as a hypervisor does that knows nothing of disks and
 *                  overwriting (docs/memory.md): no page is dropped for its disk block, or chosen
 *                  for it; what is overwritten is brought in first, as is what a device reads;
 *                  nothing is read ahead
 * smart_limit_bytes: so much may lie in the smart-paging file, which is taken before the swap file;
 *                  what is there beyond is drained
 */
struct mem_orders {
    uint64_t limit_bytes;
    uint64_t target_bytes;
    unsigned means;
    uint64_t share_scan_pages_per_s;
    bool without_cures;
    uint64_t smart_limit_bytes;
};
void mem_set_orders(struct guest_mem *mem, const struct mem_orders *orders);

/* The limit of the orders alone, just before service; answers whether service has work to do. */
bool mem_set_limit(struct guest_mem *mem, uint64_t limit_bytes) MUST_USE;

/* Called (on the vCPU's thread, inside an instruction) when the limit is passed: service soon. */
void mem_set_pressure_hook(struct guest_mem *mem, void (*hook)(void *arg), void *arg);

/*
 * One slice of work of about budget_ns: completed I/O, reclaim down to limit and target (the limit
 * without regard to the budget, unless it stalls), ageing once a second, share scan.
 * now_ns: host monotonic. Answers when it wants to be called next (host monotonic; UINT64_MAX:
 * never). After it mem_stall() says whether the guest may run.
 */
uint64_t mem_service(struct guest_mem *mem, uint64_t now_ns, uint64_t budget_ns);

/*
 * Somebody waits for the vCPU's thread: service that is keeping the limit, perhaps for many seconds
 * on a slow disk, returns soon, and wants to be called again before the guest runs. Until as many
 * mem_hurry_over; for a guest that will not run again there need not be one. By any thread.
 */
void mem_hurry(struct guest_mem *mem);
void mem_hurry_over(struct guest_mem *mem);

/*
 * Host memory that the guest's pages and stores hold now: resident, pinned, shared copies,
 * compressed store, pages on their way to or from files.
 */
uint64_t mem_host_bytes(const struct guest_mem *mem);

/* Frames by idle age: [0] used within the last period, [k] not for k periods, last: longer. */
#define MEM_AGE_PERIOD_NS UINT64_C(1000000000)
#define MEM_AGES          64
void mem_age_histogram(const struct guest_mem *mem, uint64_t pages[MEM_AGES]);

/* clang-format off */
#define MEM_RECLAIM_COUNTERS(X)                                                                    \
    X(evicted_image,        "pages dropped because a disk image holds them")                       \
    X(evicted_zero,         "pages dropped because they were zeros")                               \
    X(evicted_shared,       "pages dropped because an equal page was held")                        \
    X(evicted_compressed,   "pages compressed")                                                    \
    X(evicted_swapped,      "pages written to the swap file")                                      \
    X(evicted_smart,        "pages written to the smart-paging file")                              \
    X(compressed_to_swap,   "of both, from the compressed store")                                  \
    X(compressed_settled,   "of these, because such hardly come back")                             \
    X(compressed_moved,     "compressed pages moved together")                                     \
    X(refused_compress,     "pages that did not compress well enough")                             \
    X(refused_full,         "pages not compressed because the store was full")                     \
    X(came_from_shared,     "shared pages written to: broken")                                     \
    X(came_from_compressed, "pages expanded")                                                      \
    X(came_from_swap,       "pages read from the swap file because they were used")                \
    X(came_from_smart,      "pages read from the smart-paging file because they were used")        \
    X(smart_drained,        "pages that left the smart-paging file without being used")            \
    X(smart_files,          "smart-paging files made")                                             \
    X(smart_failures,       "of these and of those that could not be made, failed by the host")    \
    X(smart_file_ns,        "time that smart-paging files were there, from first page to removal") \
    X(came_from_staging,    "pages used again before they were written")                           \
    X(came_from_image,      "pages read from a disk image because they were used")                 \
    X(readahead,            "pages read from the swap file or an image ahead of their use")        \
    X(readahead_used,       "of these, used")                                                      \
    X(silent_writes_saved,  "VSwapper 1: swap writes saved, a disk image holds the page")          \
    X(stale_reads_saved,    "VSwapper 2: swap reads saved, a disk read overwrote the page")        \
    X(false_reads_saved,    "VSwapper 3: swap reads saved, the CPU overwrote the page")            \
    X(sequential_reads,     "VSwapper 4: reads of the swap file that brought neighbours")          \
    X(file_pages_first,     "VSwapper 5: victims taken because they were known as file pages")     \
    X(double_paging_saved,  "guest writes of swapped pages served without bringing them in")       \
    X(swap_read_bytes,      "bytes read from the swap file")                                       \
    X(swap_write_bytes,     "bytes written to the swap file")                                      \
    X(smart_read_bytes,     "bytes read from smart-paging files")                                  \
    X(smart_write_bytes,    "bytes written to smart-paging files")                                 \
    X(image_read_bytes,     "bytes read from disk images to bring pages back")                     \
    X(io_errors,            "errors of the swap file and of disk images; each was tried again")    \
    X(checksum_errors,      "pages of the swap file that were not what was written")               \
    X(stalls,               "times that the guest had to wait for space or a read")                \
    X(host_pages_moved,     "host pages handed from a page that left to one that came in")         \
    X(scan_pages,           "pages looked at by the scan for equal pages")                         \
    X(scan_shared,          "of these, shared")                                                    \
    X(age_scans,            "times that all pages grew older")                                     \
    X(fault_ns,             "time spent bringing pages in")                                        \
    X(service_ns,           "time spent reclaiming")
/* clang-format on */

struct mem_reclaim_stats {
    MEM_RECLAIM_COUNTERS(STATS_FIELD)
};
const struct mem_reclaim_stats *mem_reclaim_stats(const struct guest_mem *mem);

/*
 * compressed_bytes: what the compressed store takes;  shared_copies: pages held for shared ones
 * swap_slots:       pages the swap file has room for;  staging_pages: on their way there
 * has_smart_file:   it is there now;  smart_failed: the host fails it, the swap file takes over
 */
struct mem_store_info {
    uint64_t compressed_bytes, compressed_limit_bytes;
    uint64_t shared_copies;
    uint64_t swap_slots, swap_slots_used, swap_staging_pages;
    uint64_t smart_staging_pages;
    bool has_smart_file, smart_failed;
};
void mem_store_info(const struct guest_mem *mem, struct mem_store_info *out);

/* Latencies of bringing one page in, as counts by power of two: [k] took 2^k .. 2^(k+1) ns. */
#define MEM_LATENCY_BUCKETS 40
enum mem_latency {
    MEM_LATENCY_COMPRESSED,
    MEM_LATENCY_SWAP,
    MEM_LATENCY_IMAGE,
    MEM_LATENCY_SMART,
    MEM_LATENCIES
};
const uint64_t *mem_latency(const struct guest_mem *mem, enum mem_latency which);

#endif
