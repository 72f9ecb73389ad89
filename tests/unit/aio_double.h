/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A double of base/aio.h that a test links instead of it: requests are carried out, in halves, and
 * reported in an order that a seed decides, so that what overlaps really races, the same each time.
 */
#ifndef TESTS_UNIT_AIO_DOUBLE_H
#define TESTS_UNIT_AIO_DOUBLE_H

#include "base/aio.h"

/* Chance of an aio_reap to leave a request where it is, in percent; 0: all is done at once. */
void aio_double_set_delay(struct aio *aio, unsigned percent);
/* Chance of a request to fail, in percent. */
void aio_double_set_failures(struct aio *aio, unsigned percent);
void aio_double_set_seed(struct aio *aio, uint64_t seed);

#endif
