/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlapping reads, writes and discards in flight, carried out in halves, in random order, by
 * aio_double.h, while the guest writes to its pages and all that may be dropped is dropped: what
 * the guest's memory and the image hold must stay what the model says.
 *
 *   a page     changes only by the guest's hand or by a read into it that is in flight
 *   a block    that one change at a time touched holds what that change brought
 *   a read     of blocks that nothing changed meanwhile brings what they hold
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aio_double.h"
#include "blk_rig.h"
#include "mem/reclaim.h"

#define BLOCKS   24
#define PAGES    24
#define SPAN_MAX 4
#define BLOCK    4096
#define FLYING   24

/* known: the block holds `holds` once nothing that changes it is in flight */
struct block {
    uint8_t holds[BLOCK];
    bool known;
    unsigned changers;
};

/* A request in flight. first, count: blocks;  page: where its data is;  is_clean: see above */
struct flight {
    bool used;
    uint32_t type;
    unsigned slot, first, count, page;
    bool whole[SPAN_MAX], clean[SPAN_MAX];
};

struct world {
    struct rig rig;
    uint64_t random;
    uint8_t page[PAGES][BLOCK];
    struct block block[BLOCKS];
    struct flight flight[FLYING];
    unsigned checked_reads, checked_writes;
};

static unsigned pick(struct world *w, unsigned below)
{
    w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(w->random >> 33) % below;
}

static void look(struct world *w, unsigned page, uint8_t *out)
{
    assert_true(mem_read_through(w->rig.d.mem, RIG_PAGE_AT(page), out, BLOCK));
}

/* ---- what the guest does ---- */

static void write_page(struct world *w)
{
    unsigned page = pick(w, PAGES), at = pick(w, BLOCK - 8);
    uint64_t value = w->random;

    memcpy(w->page[page] + at, &value, sizeof(value));
    driver_put(&w->rig.d, gpa_add(RIG_PAGE_AT(page), at), &value, sizeof(value));
    for (unsigned i = 0; i < FLYING; i++) {
        struct flight *f = &w->flight[i];

        if (f->used && page >= f->page && page < f->page + f->count)
            f->clean[page - f->page] = false;
    }
}

static struct flight *free_flight(struct world *w)
{
    struct flight *found = NULL;

    for (unsigned i = 0; i < FLYING; i++) {
        const struct flight *f = &w->flight[i];

        if (!f->used)
            found = &w->flight[i];
        else if (w->rig.slot - f->slot > 24) /* descriptors are used in turn */
            return NULL;
    }
    return found;
}

static bool is_change(const struct flight *f)
{
    return f->type != IN;
}

/* A read into it is in flight. */
static bool may_change(const struct world *w, unsigned page)
{
    for (unsigned i = 0; i < FLYING; i++) {
        const struct flight *f = &w->flight[i];

        if (f->used && f->type == IN && page >= f->page && page < f->page + f->count)
            return true;
    }
    return false;
}

/* What will be in the block when only this request changes it. */
static void expect(struct world *w, struct flight *f, unsigned i)
{
    struct block *b = &w->block[f->first + i];

    /* a read may have landed in the page before the write was copied out */
    b->known = !b->changers && f->whole[i] && f->type != DISCARD &&
               (f->type != OUT || !may_change(w, f->page + i));
    if (f->type == OUT)
        memcpy(b->holds, w->page[f->page + i], BLOCK);
    else
        memset(b->holds, 0, BLOCK);
    b->changers++;
    for (unsigned k = 0; k < FLYING; k++) {
        struct flight *o = &w->flight[k];

        if (o->used && o != f && f->first + i >= o->first && f->first + i < o->first + o->count)
            o->clean[f->first + i - o->first] = false;
    }
}

static void submit(struct world *w, struct flight *f, unsigned skip, unsigned cut)
{
    uint32_t sectors = f->count * 8 - skip - cut;
    uint64_t sector = f->first * 8 + skip;
    const struct rig_segment segment = {sector, sectors, f->type == ZEROES && pick(w, 2)};
    struct virtq_buffer data = {gpa_add(RIG_PAGE_AT(f->page), skip * 512), sectors * 512};

    if (f->type == DISCARD || f->type == ZEROES) {
        data = (struct virtq_buffer){RIG_PAGE_AT(1000 + w->rig.slot % 256), sizeof(segment)};
        driver_put(&w->rig.d, data.gpa, &segment, sizeof(segment));
    }
    f->slot = rig_add(&w->rig, f->type, sector, &data, is_change(f), !is_change(f));
    driver_notify(&w->rig.d, 0);
}

static void begin_request(struct world *w)
{
    static const uint32_t types[] = {IN, IN, IN, OUT, OUT, OUT, DISCARD, ZEROES};
    struct flight *f = free_flight(w);
    unsigned skip = pick(w, 4) ? 0 : pick(w, 7), cut = pick(w, 4) ? 0 : pick(w, 7);

    if (!f)
        return;
    *f = (struct flight){.used = true, .type = types[pick(w, 8)], .count = pick(w, SPAN_MAX) + 1};
    f->first = pick(w, BLOCKS - f->count + 1);
    f->page = pick(w, PAGES - f->count + 1);
    if (skip + cut >= 8 * f->count)
        skip = cut = 0;
    for (unsigned i = 0; i < f->count; i++) {
        f->whole[i] = !(skip && !i) && !(cut && i + 1 == f->count);
        f->clean[i] = f->whole[i] && !w->block[f->first + i].changers;
    }
    submit(w, f, skip, cut);
    /* between two instructions: what it holds now is what is written */
    driver_serve(&w->rig.d);
    for (unsigned i = 0; i < f->count && is_change(f); i++)
        expect(w, f, i);
}

/* ---- what is checked ---- */

static void check_pages(struct world *w)
{
    uint8_t now[BLOCK];

    for (unsigned page = 0; page < PAGES; page++) {
        look(w, page, now);
        if (may_change(w, page))
            memcpy(w->page[page], now, BLOCK);
        else if (memcmp(w->page[page], now, BLOCK) != 0)
            fail_msg("page %u changed by itself", page);
    }
}

/* Another read into the same page may have come later. */
static bool is_alone(const struct world *w, const struct flight *f, unsigned page)
{
    for (unsigned i = 0; i < FLYING; i++) {
        const struct flight *o = &w->flight[i];

        if (o->used && o != f && o->type == IN && page >= o->page && page < o->page + o->count)
            return false;
    }
    return true;
}

static void end_read(struct world *w, const struct flight *f, unsigned ended)
{
    for (unsigned i = 0; i < f->count; i++) {
        const struct block *b = &w->block[f->first + i];

        if (ended > 1 || !f->clean[i] || !b->known || b->changers || !is_alone(w, f, f->page + i))
            continue;
        assert_memory_equal(w->page[f->page + i], b->holds, BLOCK);
        w->checked_reads++;
    }
}

static void end_change(struct world *w, const struct flight *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        unsigned at = f->first + i;
        struct block *b = &w->block[at];
        uint8_t now[BLOCK];

        if (--b->changers)
            continue;
        assert_int_equal(pread(w->rig.fd, now, BLOCK, (off_t)at * BLOCK), BLOCK);
        if (b->known) {
            assert_memory_equal(now, b->holds, BLOCK);
            w->checked_writes++;
        }
        memcpy(b->holds, now, BLOCK);
        b->known = true;
    }
}

static void serve(struct world *w)
{
    bool ended[FLYING] = {false};
    unsigned count = 0;

    aio_reap(w->rig.aio);
    driver_serve(&w->rig.d);
    check_pages(w);
    for (unsigned i = 0; i < FLYING; i++) {
        ended[i] =
            w->flight[i].used && rig_state(&w->rig, w->flight[i].slot % RIG_SLOTS) != RIG_UNTOUCHED;
        count += ended[i];
    }
    for (unsigned i = 0; i < FLYING; i++) {
        struct flight *f = &w->flight[i];

        if (!ended[i])
            continue;
        assert_int_equal(rig_state(&w->rig, f->slot % RIG_SLOTS), S_OK);
        if (is_change(f))
            end_change(w, f);
        else
            end_read(w, f, count);
        f->used = false;
    }
    rig_take_used(&w->rig);
}

/* ---- the test ---- */

/* Everything that a disk holds as well, or that is zeros, leaves. */
static void drop_all(struct world *w, uint64_t *now_ns)
{
    const struct mem_orders none = {.limit_bytes = UINT64_MAX, .target_bytes = UINT64_MAX};
    struct mem_orders orders = {.limit_bytes = UINT64_MAX, .target_bytes = 0};

    mem_set_orders(w->rig.d.mem, &orders);
    for (unsigned i = 0; i < 3; i++)
        mem_service(w->rig.d.mem, *now_ns += 2 * MEM_AGE_PERIOD_NS, UINT64_C(1000000000));
    mem_set_orders(w->rig.d.mem, &none);
}

static void start(struct world *w, uint64_t seed)
{
    const struct rig_config config = {
        .bytes = BLOCKS * BLOCK, .features = F_ALL, .in_memory = true};

    *w = (struct world){.random = seed};
    rig_start(&w->rig, &config);
    aio_double_set_seed(w->rig.aio, seed);
    aio_double_set_delay(w->rig.aio, 60);
    for (unsigned i = 0; i < BLOCKS; i++) {
        rig_fill_image(&w->rig, i * BLOCK, BLOCK, seed + i);
        assert_int_equal(pread(w->rig.fd, w->block[i].holds, BLOCK, i * BLOCK), BLOCK);
        w->block[i].known = true;
    }
}

static void run(uint64_t seed, unsigned steps, struct mem_reclaim_stats *sum, unsigned *checked)
{
    struct world *w = calloc(1, sizeof(*w));
    uint64_t now_ns = 1;

    assert_non_null(w);
    start(w, seed);
    for (unsigned i = 0; i < steps; i++) {
        switch (pick(w, 8)) {
        case 0:
            write_page(w);
            break;
        case 1:
            drop_all(w, &now_ns);
            check_pages(w);
            break;
        case 2:
        case 3:
        case 4:
            begin_request(w);
            break;
        default:
            serve(w);
        }
        assert_true(mem_check(w->rig.d.mem));
    }
    aio_double_set_delay(w->rig.aio, 0);
    for (unsigned i = 0; i < 4; i++)
        serve(w);
    assert_int_equal(aio_in_flight(w->rig.aio), 0);
    drop_all(w, &now_ns);
    check_pages(w);
    sum->evicted_image += mem_reclaim_stats(w->rig.d.mem)->evicted_image;
    sum->came_from_image += mem_reclaim_stats(w->rig.d.mem)->came_from_image;
    checked[0] += w->checked_reads;
    checked[1] += w->checked_writes;
    rig_stop(&w->rig);
    free(w);
}

static void memory_and_image_stay_what_they_are(void **state)
{
    struct mem_reclaim_stats sum = {0};
    unsigned checked[2] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        run(seed, 600, &sum, checked);
    /* the test means nothing if nothing of this happened */
    assert_true(sum.evicted_image > 1000 && sum.came_from_image > 100);
    assert_true(checked[0] > 1000 && checked[1] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_image_stay_what_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
