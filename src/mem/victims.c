/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who leaves next. Frames are ranked by measured idle age; a list of the highest ranks is made in
 * two passes over all frames (count, then pick) and used up before the next one is made, so a
 * victim costs a small constant however large the guest is.
 *
 *   idle for k seconds       rank 36 + 2k, and one more for what equals a disk block
 *   code, tables, if old     rank 34
 *   idle for k sixteenths    rank 2 + 2k, and one more for what equals a disk block
 *   poor, used just now      rank 1
 *   code, tables             rank 0
 *
 * A page that did not compress (poor) goes to the file: its way back takes twenty times as long as
 * that of a compressed one, or much longer if the disk is busy, and it gains half as much again. So
 * while the compressed store has room, it must have been idle for POOR_LEAST to POOR_MOST times as
 * long, by the time that reads take. So must one that equals a disk block if such pages come back
 * again and again.
 *
 * A frame that is used now counts as idle for half of the time that is usual between its uses: it
 * will hardly be wanted again much sooner, while what is used every tenth of a second stays. So
 * pages that are used once in a while do not push out those in steady use, and a page that did not
 * compress is not weighed against some that only just came in. The usual time is a mean of several:
 * one short interval among long ones says nothing.
 *
 * A frame that is used after the list was made loses its rank and is passed over. Within a rank,
 * the next list goes on where the last one ended, and neighbours stay neighbours.
 */
#include <stdlib.h>

#include "mem/internal.h"

#define RANK_OLD_CODE (2 + 2 * AGE_SECOND)
#define RANKS         (RANK_OLD_CODE + 2 + 2 * (AGE_MAX - AGE_SECOND + 1) + 2)
#define POOR_LEAST    12u
#define POOR_MOST     48u
#define POOR_NS       8000u
#define AGE_PARTS_MAX ((AGE_MAX - AGE_SECOND + 1) * AGE_SECOND)
#define TRACKED_OLD   30
#define LIST_MIN      1024
#define LIST_MAX      65536
#define LIST_FRACTION 16

static unsigned rank_of(const struct guest_mem *mem, const struct victims *v, uint64_t index)
{
    unsigned idle = age_parts(mem->age[index]), usual = interval_parts(mem->interval[index]) / 2;
    bool is_file = image_has(mem, index);
    bool is_spared =
        v->spares_poor && (!is_file || v->spares_files) && mem->flag[index] & FLAG_POOR;

    if (mem->track[index] & (MEM_TRACK_CODE | MEM_TRACK_TABLE))
        return idle / AGE_SECOND >= TRACKED_OLD ? RANK_OLD_CODE : 0;
    if (!(mem->age[index] & AGE_AHEAD) && idle < usual)
        idle = usual;
    if (is_spared)
        idle /= v->poor_factor;
    if (idle < AGE_SECOND)
        return !idle && is_spared ? 1 : 2 + 2 * idle + is_file;
    if (idle > AGE_PARTS_MAX)
        idle = AGE_PARTS_MAX;
    return RANK_OLD_CODE + 2 + 2 * (idle / AGE_SECOND) + is_file;
}

/*
 * By how much a read from the file, and the write before it, cost more than expanding and
 * compressing, for each byte gained.
 */
static unsigned poor_factor(const struct guest_mem *mem)
{
    uint64_t factor = mem->swap_read_ns / POOR_NS;

    return factor < POOR_LEAST ? POOR_LEAST : factor > POOR_MOST ? POOR_MOST : (unsigned)factor;
}

bool store_has_room(const struct guest_mem *mem)
{
    return mem->zstore && mem->orders.means & MEM_MEANS_COMPRESS &&
           zstore_bytes(mem->zstore) < mem->compress_limit_bytes / 16 * 15;
}

static bool make_room(struct victims *v, uint64_t pages)
{
    size_t want = pages / LIST_FRACTION;

    want = want < LIST_MIN ? LIST_MIN : want > LIST_MAX ? LIST_MAX : want;
    if (v->room >= want)
        return true;
    uint32_t *bigger = realloc(v->index, want * sizeof *bigger);
    if (!bigger)
        return v->room > 0;
    v->index = bigger;
    v->room = want;
    return true;
}

/* next[r]: where the list goes on for rank r;  end: the first place behind the lowest rank. */
static size_t lay_out(struct victims *v, const uint64_t count[RANKS], size_t next[RANKS])
{
    uint64_t sum = 0;
    unsigned r = RANKS;

    while (r-- > 0) {
        next[r] = (size_t)sum;
        sum += count[r];
        if (sum >= v->room)
            break;
    }
    v->lowest_rank = r < RANKS ? r : 0;
    return sum < v->room ? (size_t)sum : v->room;
}

static void pick(struct guest_mem *mem, struct victims *v, size_t next[RANKS], size_t end)
{
    uint64_t begin = v->hand, total = mem->total_pages;

    for (uint64_t n = 0; n < total; n++) {
        uint64_t i = begin + n < total ? begin + n : begin + n - total;
        if (mem->state[i] != v->from)
            continue;
        unsigned rank = rank_of(mem, v, i);
        if (rank < v->lowest_rank || next[rank] >= end)
            continue;
        v->index[next[rank]++] = (uint32_t)i;
        if (rank == v->lowest_rank)
            v->hand = i + 1 < total ? i + 1 : 0;
    }
}

static void make(struct guest_mem *mem, struct victims *v, bool spares_poor)
{
    uint64_t count[RANKS] = {0};
    size_t next[RANKS];

    v->made = true;
    v->age_scan = mem->stats.age_scans;
    v->next = v->count = 0;
    v->spares_poor = spares_poor;
    v->poor_factor = poor_factor(mem);
    v->spares_files = image_come_back(mem);
    if (!make_room(v, mem->ledger.pages[v->from]))
        return;
    for (uint64_t i = 0; i < mem->total_pages; i++) {
        if (mem->state[i] == v->from)
            count[rank_of(mem, v, i)]++;
    }
    v->count = lay_out(v, count, next);
    pick(mem, v, next, v->count);
}

void victims_remake(struct guest_mem *mem, struct victims *v)
{
    make(mem, v, store_has_room(mem));
}

void victims_remake_unsparing(struct guest_mem *mem, struct victims *v)
{
    make(mem, v, false);
}

static bool is_victim(const struct guest_mem *mem, const struct victims *v, uint64_t index)
{
    return mem->state[index] == v->from && rank_of(mem, v, index) >= v->lowest_rank;
}

bool victims_is_before_others(const struct guest_mem *mem, const struct victims *v, uint64_t index)
{
    for (size_t n = v->next; n < v->count; n++) {
        if (is_victim(mem, v, v->index[n]))
            return rank_of(mem, v, index) >= rank_of(mem, v, v->index[n]);
    }
    return is_victim(mem, v, index);
}

uint64_t victims_next(struct guest_mem *mem, struct victims *v)
{
    if (!v->made || v->age_scan != mem->stats.age_scans)
        victims_remake(mem, v);
    while (v->next < v->count) {
        uint64_t i = v->index[v->next++];
        if (is_victim(mem, v, i))
            return i;
    }
    return MEM_NO_INDEX;
}

void victims_fini(struct victims *v)
{
    free(v->index);
    *v = (struct victims){.from = v->from};
}
