/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile drivers against the split queue and the PCI transport: with a device that echoes, keeps
 * chains, gives them back in another order, fails, and whose guest changes the rings between two
 * pops; and with the entropy device.
 */
#include <stdlib.h>

#include "machine/virtio/rng.h"
#include "virtio_fuzz.h"

#define HELD_MOST 64

/* Chains that the device has not given back yet. */
struct wild {
    struct fuzz *f;
    struct virtio_device *dev;
    struct virtq_chain chain;
    unsigned held;
    struct {
        unsigned queue;
        uint16_t head;
        uint64_t writable;
    } hold[HELD_MOST];
    uint8_t bytes[1024];
};

static uint64_t wild_features(void *arg)
{
    (void)arg;
    return 0xff;
}

static bool wild_features_ok(void *arg, uint64_t features)
{
    (void)arg;
    return (features & 0x81) != 0x80;
}

static void wild_config_read(void *arg, size_t offset, void *buf, size_t bytes)
{
    struct wild *w = arg;

    memcpy(buf, w->bytes + offset, bytes);
}

static void wild_config_write(void *arg, size_t offset, const void *buf, size_t bytes)
{
    struct wild *w = arg;

    memcpy(w->bytes + offset, buf, bytes);
}

static void give_back(struct wild *w)
{
    unsigned i = (unsigned)fuzz_below(w->f, w->held);

    virtq_push(&w->dev->queue[w->hold[i].queue], w->hold[i].head,
               (uint32_t)fuzz_below(w->f, w->hold[i].writable + 1));
    virtio_queue_done(w->dev, w->hold[i].queue);
    w->hold[i] = w->hold[--w->held];
}

/* Reads and writes anywhere inside the chain. */
static bool use(struct wild *w, struct virtq *q)
{
    const struct virtq_chain *chain = &w->chain;
    uint64_t from = fuzz_below(w->f, chain->readable_bytes + 1);
    uint64_t to = fuzz_below(w->f, chain->writable_bytes + 1);
    uint64_t in = chain->readable_bytes - from, out = chain->writable_bytes - to;

    in = in > sizeof(w->bytes) ? sizeof(w->bytes) : in;
    out = out > sizeof(w->bytes) ? sizeof(w->bytes) : out;
    return virtq_read(q, chain, from, w->bytes, in) && virtq_write(q, chain, to, w->bytes, out);
}

static void check_chain(const struct virtq_chain *chain, const struct virtq *q)
{
    uint64_t readable = 0, writable = 0;

    invariant(chain->head < q->size && chain->count <= VIRTQ_CHAIN_MAX);
    invariant(chain->readable <= chain->count);
    for (unsigned i = 0; i < chain->count; i++) {
        invariant(chain->buffers[i].bytes);
        invariant(mem_is_ram(q->mem, chain->buffers[i].gpa, chain->buffers[i].bytes));
        *(i < chain->readable ? &readable : &writable) += chain->buffers[i].bytes;
    }
    invariant(readable == chain->readable_bytes && writable == chain->writable_bytes);
}

static void wild_service(void *arg, unsigned index)
{
    struct wild *w = arg;
    struct virtq *q = &w->dev->queue[index];

    while (virtq_pop(q, &w->chain) == VIRTQ_CHAIN) {
        check_chain(&w->chain, q);
        if (fuzz_one_in(w->f, 32)) {
            virtq_unpop(q, &w->chain);
            break;
        }
        (void)use(w, q);
        if (fuzz_one_in(w->f, 64))
            virtq_break(q, "the device has had enough");
        if (w->held < HELD_MOST && fuzz_one_in(w->f, 4)) {
            w->hold[w->held].queue = index;
            w->hold[w->held].head = w->chain.head;
            w->hold[w->held++].writable = w->chain.writable_bytes;
        } else {
            virtq_push(q, w->chain.head, (uint32_t)w->chain.writable_bytes);
        }
        fuzz_scribble(w->f, index);
        if (w->held && fuzz_one_in(w->f, 4))
            give_back(w);
    }
    virtio_queue_done(w->dev, index);
}

static void wild_poll(void *arg)
{
    struct wild *w = arg;

    while (w->held)
        give_back(w);
}

static void wild_reset(void *arg)
{
    struct wild *w = arg;

    w->held = 0;
}

static const struct virtio_ops wild_ops = {
    .name = "wild",
    .id = 42,
    .class_code = 0xff0000,
    .queues = VIRTIO_QUEUES_MAX,
    .queue_size = VIRTQ_SIZE_MAX,
    .config_bytes = 40,
    .features = wild_features,
    .features_ok = wild_features_ok,
    .config_read = wild_config_read,
    .config_write = wild_config_write,
    .service = wild_service,
    .poll = wild_poll,
    .reset = wild_reset,
};

static void create_wild(struct fuzz *f)
{
    struct wild *w = calloc(1, sizeof(*w));

    invariant(w);
    w->f = f;
    f->arg = w;
    driver_plug(&f->d, &wild_ops, w);
    w->dev = f->d.dev;
}

static void destroy_wild(struct fuzz *f)
{
    free(f->arg);
}

static void create_rng(struct fuzz *f)
{
    struct rng *rng;

    invariant(rng_create(&rng) == ERR_OK);
    driver_plug(&f->d, &rng_ops, rng);
    rng_attach(rng, f->d.dev);
}

int main(int argc, char **argv)
{
    const struct fuzz_target targets[] = {
        {.name = "queue", .swaps = true, .create = create_wild, .destroy = destroy_wild},
        {.name = "entropy", .swaps = true, .create = create_rng},
    };

    return fuzz_main(argc, argv, targets, sizeof(targets) / sizeof(targets[0]));
}
