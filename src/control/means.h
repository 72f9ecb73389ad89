/* SPDX-License-Identifier: Apache-2.0 */
/* The means of taking memory back, by the names that --means takes. */
#ifndef UMBRA_CONTROL_MEANS_H
#define UMBRA_CONTROL_MEANS_H

#include "base/err.h"

/*
 * "share,swap", "all" or "none": *forbidden gets the bits (enum policy_means, enum mem_means) that
 * are not in the list. ERR_INVAL names the word that is none.
 */
enum err means_parse(const char *list, unsigned *forbidden) MUST_USE;

#endif
