/* SPDX-License-Identifier: Apache-2.0 */
/* virtio entropy device (VIRTIO 1.2 5.4), filled by getrandom(2). */
#ifndef UMBRA_MACHINE_VIRTIO_RNG_H
#define UMBRA_MACHINE_VIRTIO_RNG_H

#include "machine/virtio/virtio.h"

struct rng;
enum err rng_create(struct rng **out) MUST_USE;
extern const struct virtio_ops rng_ops; /* arg: struct rng */
void rng_attach(struct rng *rng, struct virtio_device *dev);

#endif
