/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile drivers against the block device, on a double of asynchronous I/O that fails and lets
 * requests overtake each other, while pages that a disk holds are dropped and come back, or cannot.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../unit/aio_double.h"
#include "base/log.h"
#include "machine/virtio/blk.h"
#include "mem/balloon.h"
#include "mem/image.h"
#include "mem/reclaim.h"
#include "virtio_fuzz.h"

#define IMAGE (UINT64_C(1) << 20)
#define BLOCK UINT64_C(4096)

/* Rings lie below, where only the wild touch them. */
#define LOW UINT64_C(0x8000)

/* the image is a sparse file that all cases use; now_ns: of mem_service */
struct world {
    struct aio *aio;
    struct disk *disk;
    bool source_fails;
    uint64_t now_ns;
};

static char image_path[32];

static enum err read_image(void *arg, unsigned disk, uint64_t block, void *buf, size_t count)
{
    struct world *w = arg;

    invariant(!disk && (block + count) * BLOCK <= IMAGE);
    if (w->source_fails)
        return err_new(ERR_IO, "the image cannot be read for now");
    return disk_read_now(w->disk, block * BLOCK, buf, count * BLOCK);
}

enum kind { WRITABLE, READ_ONLY, AT_ONCE };

static void create(struct fuzz *f, enum kind kind)
{
    struct world *w = calloc(1, sizeof(*w));
    const struct mem_image_source source = {.arg = w, .read = read_image};
    struct blk_config config = {.mem = f->d.mem, .at_once = kind == AT_ONCE};
    struct blk *blk;

    invariant(w && aio_create(&w->aio, 1, NULL) == ERR_OK);
    aio_double_set_seed(w->aio, fuzz_random(f));
    aio_double_set_delay(w->aio, (unsigned)fuzz_below(f, 80));
    invariant(disk_open(&w->disk, image_path, kind == READ_ONLY, w->aio) == ERR_OK);
    f->arg = w;
    config.disk = w->disk;
    mem_set_image_source(f->d.mem, &source);
    invariant(blk_create(&blk, &config) == ERR_OK);
    driver_plug(&f->d, &blk_ops, blk);
    blk_attach(blk, f->d.dev);
}

static void create_writable(struct fuzz *f)
{
    create(f, WRITABLE);
}

static void create_read_only(struct fuzz *f)
{
    create(f, READ_ONLY);
}

static void create_at_once(struct fuzz *f)
{
    create(f, AT_ONCE);
}

static void destroy(struct fuzz *f)
{
    struct world *w = f->arg;

    aio_destroy(w->aio);
    free(w);
}

/* A request that a good driver could make, but for a field here and there. */
static void add_request(struct fuzz *f)
{
    static const uint32_t types[] = {0, 0, 0, 1, 1, 1, 4, 8, 11, 13, 99};
    const struct driver_queue *q = &f->d.queue[0];
    struct {
        uint32_t type, reserved;
        uint64_t sector;
        struct {
            uint64_t sector;
            uint32_t sectors, flags;
        } segment[3];
    } request = {.type = types[fuzz_below(f, 11)], .sector = fuzz_below(f, IMAGE / 512)};
    bool out = request.type == 1, has_segments = request.type >= 11;
    gpa_t header = gpa_make(LOW + fuzz_below(f, FUZZ_MEMORY - LOW - 4096));
    struct virtq_buffer buffers[8];
    unsigned count = 0, data = (unsigned)fuzz_below(f, 5);

    if (q->size < 2 || !mem_is_ram(f->d.mem, q->desc, UINT64_C(16) * q->size) ||
        !mem_is_ram(f->d.mem, q->avail, 6 + UINT64_C(2) * q->size))
        return;
    for (unsigned i = 0; i < 3; i++) {
        request.segment[i].sector = fuzz_one_in(f, 8) ? fuzz_random(f) : fuzz_below(f, 2048);
        request.segment[i].sectors =
            fuzz_one_in(f, 4) ? fuzz_length(f) : (uint32_t)fuzz_below(f, 64);
        request.segment[i].flags = fuzz_one_in(f, 8) ? (uint32_t)fuzz_random(f) : request.type > 11;
    }
    if (fuzz_one_in(f, 32))
        request.sector = fuzz_random(f);
    driver_put(&f->d, header, &request, sizeof(request));
    buffers[count++] =
        (struct virtq_buffer){header, has_segments ? 16 * (1 + (uint32_t)fuzz_below(f, 4)) : 16};
    for (unsigned i = 0; i < data && !has_segments; i++) {
        uint64_t page = LOW / BLOCK + fuzz_below(f, (FUZZ_MEMORY - LOW) / BLOCK - 8);

        buffers[count++] = (struct virtq_buffer){
            gpa_make(page * BLOCK + (fuzz_one_in(f, 4) ? 512 * fuzz_below(f, 8) : 0)),
            fuzz_one_in(f, 64) ? fuzz_length(f) : 512u << fuzz_below(f, 6)};
    }
    data = count - 1;
    buffers[count++] = (struct virtq_buffer){
        fuzz_one_in(f, 32) ? fuzz_address(f) : gpa_make(LOW + fuzz_below(f, FUZZ_MEMORY - LOW)), 1};
    if (has_segments || out)
        driver_add(&f->d, 0, buffers, count - 1, 1);
    else
        driver_add(&f->d, 0, buffers, 1, data + 1);
    driver_notify(&f->d, 0);
}

/* What is zeros or on the disk leaves. */
static void drop(struct fuzz *f)
{
    struct world *w = f->arg;
    struct mem_orders orders = {.limit_bytes = UINT64_MAX, .target_bytes = 0};

    mem_set_orders(f->d.mem, &orders);
    mem_service(f->d.mem, w->now_ns += 2 * MEM_AGE_PERIOD_NS, UINT64_C(1000000000));
    orders.target_bytes = UINT64_MAX;
    mem_set_orders(f->d.mem, &orders);
}

/* What comes in for the driver of a test must come; for the device it may fail. */
static void serve_in_trouble(struct fuzz *f)
{
    struct world *w = f->arg;

    w->source_fails = true;
    aio_double_set_failures(w->aio, (unsigned)fuzz_below(f, 60));
    driver_serve(&f->d);
    aio_reap(w->aio);
    driver_serve(&f->d);
    aio_double_set_failures(w->aio, 0);
    w->source_fails = false;
}

static void do_something(struct fuzz *f)
{
    struct world *w = f->arg;

    switch (fuzz_below(f, 16)) {
    case 0:
        drop(f);
        break;
    case 1:
        serve_in_trouble(f);
        break;
    case 2:
        mem_report_free(f->d.mem, gfn_make(LOW / BLOCK + fuzz_below(f, 512)), fuzz_below(f, 8),
                        MEM_FREE_REPORTED);
        break;
    case 3 ... 6:
        aio_reap(w->aio);
        break;
    case 7 ... 10:
        driver_serve(&f->d);
        break;
    default:
        add_request(f);
    }
}

/* Most wild drivers break their queue soon; this one begins well and lasts longer. */
static void campaign(struct fuzz *f)
{
    unsigned steps = (unsigned)fuzz_below(f, 200);

    f->d.next_free = 0x1000;
    driver_pci_write(&f->d, 0x04, 2, 6);
    driver_find(&f->d);
    if (!driver_negotiate(&f->d, driver_offered(&f->d) & ~(fuzz_one_in(f, 4) << 9)))
        return;
    driver_queue(&f->d, 0, 256, 0);
    driver_ok(&f->d);
    for (unsigned i = 0; i < steps; i++)
        do_something(f);
}

static void step(struct fuzz *f)
{
    if (fuzz_one_in(f, 16))
        campaign(f);
    else
        do_something(f);
    invariant(mem_check(f->d.mem));
}

int main(int argc, char **argv)
{
    const struct fuzz_target targets[] = {
        {.name = "blk", .create = create_writable, .step = step, .destroy = destroy},
        {.name = "blk-ro", .create = create_read_only, .step = step, .destroy = destroy},
        {.name = "blk-at-once", .create = create_at_once, .step = step, .destroy = destroy},
    };
    int fd, status;

    snprintf(image_path, sizeof(image_path), "%s/umbra-blk-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    fd = mkstemp(image_path);
    invariant(fd >= 0 && !ftruncate(fd, (off_t)IMAGE));
    log_set_level(LOG_ERROR - 1); /* the host's failures are ours */
    status = fuzz_main(argc, argv, targets, sizeof(targets) / sizeof(targets[0]));
    close(fd);
    unlink(image_path);
    return status;
}
