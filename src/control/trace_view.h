/* SPDX-License-Identifier: Apache-2.0 */
/* Trace records for people and for trace viewers, from the JSON objects of tracer_format. */
#ifndef UMBRA_CONTROL_TRACE_VIEW_H
#define UMBRA_CONTROL_TRACE_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* One event in words: a line, and for an access a second one with its steps. */
void trace_print(const json_t *record, FILE *out);

/*
 * A file in the Trace Event Format of Chrome's and Perfetto's viewers: one thread per vCPU, an
 * access as a slice that holds one slice per step, other events as instants. Zero-initialise.
 */
struct trace_chrome {
    FILE *file;
    const char *path;
};

enum err trace_chrome_open(struct trace_chrome *chrome, const char *path,
                           const char *vm_name) MUST_USE;
void trace_chrome_add(struct trace_chrome *chrome, const json_t *record);

/* Completes and closes the file. Fine when it was not opened. */
enum err trace_chrome_close(struct trace_chrome *chrome) MUST_USE;

#endif
