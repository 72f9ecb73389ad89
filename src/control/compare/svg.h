/* SPDX-License-Identifier: Apache-2.0 */
/* Plots of one run over time as inline SVG. Colours are classes that the page's style gives. */
#ifndef UMBRA_CONTROL_COMPARE_SVG_H
#define UMBRA_CONTROL_COMPARE_SVG_H

#include <stdio.h>

#include "control/compare/run.h"

/* The same for all runs, so that plots can be compared by eye. */
struct svg_scales {
    double memory_bytes, disk_bytes_per_s, accesses_per_s;
};
void svg_scales_make(const struct compare_result *result, struct svg_scales *out);

/* Page states, one above the other, as bytes of the guest; lines: all of the VM, and its limit. */
void svg_memory(const struct compare_run *run, const struct compare_plan *plan,
                enum compare_shortage shortage, const struct svg_scales *scales, FILE *out);
/* Accesses a second, logarithmic. */
void svg_work(const struct compare_run *run, const struct svg_scales *scales, FILE *out);
/* Bytes a second: of the hypervisor, and above them of the guest. */
void svg_disk(const struct compare_run *run, const struct svg_scales *scales, FILE *out);

/* What the colours of svg_memory mean: one class and one text each, from the lowest on. */
struct svg_layer {
    const char *class, *text;
    unsigned states; /* bits of enum page_state */
};
extern const struct svg_layer svg_layers[]; /* ends with a NULL class */

#endif
