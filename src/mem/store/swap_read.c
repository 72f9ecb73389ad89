/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the file: the slots asked for, in the order of the file, those beside each other as one
 * read. What a read brings is decrypted and compared with the checksum; a page that does not agree,
 * or a run that the host could not read, is read once more page by page.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/invariant.h"
#include "mem/store/swap_private.h"

/* Slots of one call are sorted and read in parts of this many. */
#define PART_PAGES (SWAP_READ_OPS * SWAP_CLUSTER_PAGES)

struct wanted {
    uint32_t slot;
    uint32_t place; /* in the caller's arrays */
};

struct reading {
    struct swap *sw;
    void *const *pages;
    bool *ok;
    bool any_came, any_failed;
};

static int by_slot(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;

    return (x->slot > y->slot) - (x->slot < y->slot);
}

static void read_done(struct aio_request *request, int result)
{
    struct swap_read_op *op = request->arg;

    op->result = result;
}

/*
 * A single read is done at once: it is waited for anyway, and its end need not wake whoever waits
 * for writes.
 */
static void read_begin(struct swap *sw, struct aio *aio, unsigned n, uint32_t slot, unsigned count)
{
    struct swap_read_op *op = &sw->read_op[n];

    op->aio = aio;
    op->iov = (struct iovec){swap_read_buffer(sw, n), count * PAGE_SIZE};
    op->request = (struct aio_request){
        .op = AIO_READ,
        .fd = sw->file.fd,
        .iov = &op->iov,
        .iov_count = 1,
        .offset = slot * PAGE_SIZE,
        .done = read_done,
        .arg = op,
    };
    aio_submit(aio, &op->request);
}

static int read_end(struct swap *sw, unsigned n)
{
    struct swap_read_op *op = &sw->read_op[n];
    int error;

    aio_wait(op->aio, &op->request);
    error = -op->result;
    if (error) {
        swap_note_failure(sw, SWAP_READING, error);
        return error;
    }
    sw->read_bytes += op->iov.iov_len;
    sw->failed[SWAP_READING] = false;
    swap_file_forget(&sw->file, op->request.offset, op->iov.iov_len);
    return 0;
}

static bool open_page(struct swap *sw, uint32_t slot, const uint8_t *from, void *page)
{
    swap_decrypt(sw->crypt, slot, from, page);
    return XXH3_64bits(page, PAGE_SIZE) == sw->sum[slot];
}

/* The second try, of one page. */
static void read_again(struct reading *r, const struct wanted *w, unsigned n)
{
    struct swap *sw = r->sw;

    read_begin(sw, sw->aio_at_once, n, w->slot, 1);
    if (read_end(sw, n)) {
        r->any_failed = true;
        return;
    }
    r->any_came = true;
    r->ok[w->place] = open_page(sw, w->slot, swap_read_buffer(sw, n), r->pages[w->place]);
    if (!r->ok[w->place])
        sw->checksum_errors++;
}

/* Runs [run[i], run[i+1]) of w, each read by the operation of its number. */
static void end_runs(struct reading *r, const struct wanted *w, const unsigned *run, unsigned runs)
{
    struct swap *sw = r->sw;
    bool failed[SWAP_READ_OPS];

    for (unsigned n = 0; n < runs; n++)
        failed[n] = read_end(sw, n) != 0;
    for (unsigned n = 0; n < runs; n++) {
        for (unsigned i = run[n]; !failed[n] && i < run[n + 1]; i++) {
            const uint8_t *from = swap_read_buffer(sw, n) + (i - run[n]) * PAGE_SIZE;
            r->any_came = true;
            r->ok[w[i].place] = open_page(sw, w[i].slot, from, r->pages[w[i].place]);
        }
        sw->sequential_reads += !failed[n] && run[n + 1] - run[n] > 1;
    }
    /* The buffers are free again. */
    for (unsigned i = run[0]; i < run[runs]; i++)
        if (!r->ok[w[i].place])
            read_again(r, &w[i], 0);
}

static void read_part(struct reading *r, struct wanted *w, unsigned count)
{
    unsigned i = 0;

    qsort(w, count, sizeof(*w), by_slot);
    while (i < count) {
        unsigned run[SWAP_READ_OPS + 1], runs = 0;
        while (i < count && runs < SWAP_READ_OPS) {
            unsigned start = i++;
            while (i < count && i - start < SWAP_CLUSTER_PAGES && w[i].slot == w[i - 1].slot + 1)
                i++;
            run[runs++] = start;
        }
        run[runs] = i;
        struct aio *aio = runs > 1 ? r->sw->aio : r->sw->aio_at_once;
        for (unsigned n = 0; n < runs; n++)
            read_begin(r->sw, aio, n, w[run[n]].slot, run[n + 1] - run[n]);
        aio_flush(aio);
        end_runs(r, w, run, runs);
    }
}

bool swap_get(struct swap *sw, const uint32_t *slots, void *const *pages, bool *ok, size_t count)
{
    struct reading r = {.sw = sw, .pages = pages, .ok = ok};
    struct wanted part[PART_PAGES];
    unsigned used = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t slot = slots[i];
        uint16_t entry;

        invariant(slot < sw->slots.slots && swap_bit(sw->slots.used, slot));
        entry = sw->staged[slot];
        if (entry != SWAP_NO_ENTRY) {
            ok[i] = open_page(sw, slot, swap_entry_page(sw, entry), pages[i]);
            sw->checksum_errors += !ok[i]; /* our own memory: the host's RAM is bad */
            r.any_came = true;
            continue;
        }
        ok[i] = false;
        part[used++] = (struct wanted){.slot = slot, .place = (uint32_t)i};
        if (used == PART_PAGES) {
            read_part(&r, part, used);
            used = 0;
        }
    }
    if (used)
        read_part(&r, part, used);
    if (r.any_came || !r.any_failed)
        return true;
    err_note(ERR_IO, "%s", sw->trouble[SWAP_READING]);
    return false;
}
