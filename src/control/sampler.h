/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks a thousand times a second at what a vCPU's thread does (struct vcpu, phase) and counts. The
 * vCPU only says where it is, which is a store at each change, so that nobody is held up.
 */
#ifndef UMBRA_CONTROL_SAMPLER_H
#define UMBRA_CONTROL_SAMPLER_H

#include <stdint.h>

#include "base/err.h"
#include "cpu/engine.h"

struct sampler;

/* vcpu lives longer than the sampler. */
enum err sampler_create(struct sampler **out, const struct vcpu *vcpu) MUST_USE;
void sampler_destroy(struct sampler *s);

/* Samples so far, by phase; any thread. */
void sampler_counts(const struct sampler *s, uint64_t counts[ENGINE_PHASE_COUNT]);

#endif
