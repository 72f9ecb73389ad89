/* SPDX-License-Identifier: Apache-2.0 */
#include "control/sampler.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define PERIOD_NS 1000000

struct sampler {
    const struct vcpu *vcpu;
    pthread_t thread;
    atomic_bool ends;
    atomic_uint_fast64_t counts[ENGINE_PHASE_COUNT];
};

static void *sampler_main(void *arg)
{
    static const struct timespec period = {.tv_nsec = PERIOD_NS};
    struct sampler *s = arg;

    while (!atomic_load(&s->ends)) {
        unsigned phase = atomic_load_explicit(&s->vcpu->phase, memory_order_relaxed);

        atomic_fetch_add_explicit(&s->counts[phase % ENGINE_PHASE_COUNT], 1, memory_order_relaxed);
        nanosleep(&period, NULL);
    }
    return NULL;
}

enum err sampler_create(struct sampler **out, const struct vcpu *vcpu)
{
    struct sampler *s = calloc(1, sizeof *s);

    *out = NULL;
    if (!s)
        return err_new(ERR_NOMEM, "no memory for --profile");
    s->vcpu = vcpu;
    errno = pthread_create(&s->thread, NULL, sampler_main, s);
    if (errno) {
        free(s);
        return err_errno(ERR_NOMEM, "cannot start the thread of --profile");
    }
    *out = s;
    return ERR_OK;
}

void sampler_destroy(struct sampler *s)
{
    if (!s)
        return;
    atomic_store(&s->ends, true);
    pthread_join(s->thread, NULL);
    free(s);
}

void sampler_counts(const struct sampler *s, uint64_t counts[ENGINE_PHASE_COUNT])
{
    for (unsigned i = 0; i < ENGINE_PHASE_COUNT; i++)
        counts[i] = atomic_load_explicit(&s->counts[i], memory_order_relaxed);
}
