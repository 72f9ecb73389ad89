/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio devices of the board: which sits in which PCI slot, their interrupts, their service.
 *
 *   slot 1 balloon, 2 entropy, 3.. disks, in the order of the configuration
 *
 * With CLOCK_INSTRUCTIONS there is no entropy device: its bytes would make each run another.
 */
#include "base/invariant.h"
#include "machine/board_private.h"
#include "machine/virtio/rng.h"

static void on_intx(void *arg, unsigned slot, bool level)
{
    struct board *board = arg;
    unsigned pin = PCI_INTX_PIN(slot);
    uint32_t *pulled = &board->intx[pin];

    *pulled = level ? *pulled | 1u << slot : *pulled & ~(1u << slot);
    ioapic_set_irq(&board->ioapic, pin, *pulled);
}

static void on_msi(void *arg, const struct apic_message *message)
{
    board_send_message(arg, message);
}

static void on_service_wanted(void *arg)
{
    const struct board *board = arg;
    const struct board_host *host = &board->config.host;

    if (host->service_wanted)
        host->service_wanted(host->arg);
}

static void on_balloon_changed(void *arg)
{
    const struct board *board = arg;
    const struct board_host *host = &board->config.host;

    if (host->balloon_changed)
        host->balloon_changed(host->arg);
}

/* The device goes by its ops->destroy, also when this fails. */
static enum err plug(struct board *board, unsigned slot, const struct virtio_ops *ops, void *arg)
{
    const struct virtio_pci_host host = {
        .arg = board,
        .mem = board->config.mem,
        .intx = {.set = on_intx, .arg = board, .pin = slot},
        .send_msi = on_msi,
        .service_wanted = on_service_wanted,
    };
    enum err err = virtio_pci_create(&board->virtio[slot], &board->pci, slot, ops, arg, &host);

    if (err)
        ops->destroy(arg);
    return err;
}

static enum err add_rng(struct board *board)
{
    struct rng *rng;
    enum err err = rng_create(&rng);

    if (!err)
        err = plug(board, BOARD_RNG_SLOT, &rng_ops, rng);
    if (!err)
        rng_attach(rng, virtio_pci_device(board->virtio[BOARD_RNG_SLOT]));
    return err;
}

static enum err add_balloon(struct board *board)
{
    const struct balloon_config config = {
        .no_reporting = board->config.no_free_page_reporting,
        .mem = board->config.mem,
        .memory_pages = mem_size_bytes(board->config.mem) / PAGE_SIZE,
        .arg = board,
        .changed = on_balloon_changed,
    };
    enum err err = balloon_create(&board->balloon, &config);

    if (!err)
        err = plug(board, BOARD_BALLOON_SLOT, &balloon_ops, board->balloon);
    if (!err)
        balloon_attach(board->balloon, virtio_pci_device(board->virtio[BOARD_BALLOON_SLOT]));
    return err;
}

/* The disk goes with its device, also when this fails. */
static enum err add_disk(struct board *board, unsigned number)
{
    const struct blk_config config = {
        .disk = board->config.disks[number],
        .number = number,
        .at_once = clock_mode(board->config.clock) == CLOCK_INSTRUCTIONS,
        .mem = board->config.mem,
    };
    unsigned slot = BOARD_DISK_SLOT + number;
    struct blk *blk;
    enum err err = blk_create(&blk, &config);

    if (err) {
        disk_close(config.disk);
        return err;
    }
    err = plug(board, slot, &blk_ops, blk);
    if (err)
        return err;
    blk_attach(blk, virtio_pci_device(board->virtio[slot]));
    board->disk[number] = blk;
    return ERR_OK;
}

static enum err read_image(void *arg, unsigned disk, uint64_t block, void *buf, size_t count)
{
    const struct board *board = arg;

    invariant(disk < board->config.disk_count);
    return disk_read_now(board->config.disks[disk], block * PAGE_SIZE, buf, count * PAGE_SIZE);
}

enum err board_virtio_create(struct board *board)
{
    const struct mem_image_source source = {.arg = board, .read = read_image};
    enum err err = add_balloon(board);

    if (!err && clock_mode(board->config.clock) != CLOCK_INSTRUCTIONS)
        err = add_rng(board);
    for (unsigned i = 0; i < board->config.disk_count; i++) {
        if (err)
            disk_close(board->config.disks[i]);
        else
            err = add_disk(board, i);
    }
    mem_set_image_source(board->config.mem, &source);
    return err;
}

void board_virtio_destroy(struct board *board)
{
    mem_set_image_source(board->config.mem, NULL);
    for (unsigned i = 0; i < PCI_SLOTS; i++)
        virtio_pci_destroy(board->virtio[i]);
}

void board_virtio_reset(struct board *board)
{
    for (unsigned i = 0; i < PCI_SLOTS; i++)
        if (board->virtio[i])
            virtio_pci_reset(board->virtio[i]);
}

void board_service(struct board *board)
{
    board_lock(board);
    if (board->config.disk_aio)
        aio_reap(board->config.disk_aio);
    for (unsigned i = 0; i < PCI_SLOTS; i++)
        if (board->virtio[i])
            virtio_pci_service(board->virtio[i]);
    for (unsigned i = 0; i < board->config.cpus; i++)
        board_cpu_service(&board->cpu[i]);
    board_unlock(board);
}

const struct blk_stats *board_disk_stats(struct board *board, unsigned number)
{
    return number < board->config.disk_count ? blk_stats(board->disk[number]) : NULL;
}

const char *board_disk_path(struct board *board, unsigned number)
{
    return number < board->config.disk_count ? disk_path(board->config.disks[number]) : NULL;
}
