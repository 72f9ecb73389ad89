/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio devices of the board: which sits in which PCI slot, their interrupts, their service.
 *
 *   slot 1 balloon, 2 entropy, 3.. disks, in the order of the configuration
 *
 * With CLOCK_INSTRUCTIONS there is no entropy device: its bytes would make each run another.
 */
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

enum err board_virtio_create(struct board *board)
{
    enum err err = add_balloon(board);

    if (!err && clock_mode(board->config.clock) != CLOCK_INSTRUCTIONS)
        err = add_rng(board);
    return err;
}

void board_virtio_destroy(struct board *board)
{
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
    for (unsigned i = 0; i < PCI_SLOTS; i++)
        if (board->virtio[i])
            virtio_pci_service(board->virtio[i]);
    board_unlock(board);
}
