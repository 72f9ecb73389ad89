/* SPDX-License-Identifier: Apache-2.0 */
/* One VM, or one pool, in words: what the plain text and the panel of the view say. Pure. */
#ifndef UMBRA_CONTROL_TOP_DESCRIBE_H
#define UMBRA_CONTROL_TOP_DESCRIBE_H

#include "control/top/model.h"

#define TOP_LINE_BYTES 512

/* Called for each line: a short label and the text. */
typedef void (*top_line_fn)(void *arg, const char *label, const char *text);

/* memory, pages, out, in, waits, latency, policy, pool */
void top_describe_vm(const struct top_model *model, const struct top_row *row, top_line_fn line,
                     void *arg);

/* "not answering", or what the VM says of its state. */
const char *top_row_state(const struct top_row *row);

/* In one sentence: what was decided last, or why the guest waits. */
void top_describe_policy(const struct top_row *row, char *buf, size_t buf_bytes);

/* "pool web: clear; 40M of 320M are free, ..." */
void top_describe_pool(const struct top_pool *pool, char *buf, size_t buf_bytes);

/* "3 VMs hold 610M of 1.5G; 120 pages/s in, 300 out" */
void top_describe_sums(const struct top_model *model, char *buf, size_t buf_bytes);

#endif
