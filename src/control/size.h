/* SPDX-License-Identifier: Apache-2.0 */
/* Memory sizes as people write them: 512M, 4G, 65536. Suffixes are powers of 1024. */
#ifndef UMBRA_CONTROL_SIZE_H
#define UMBRA_CONTROL_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A number with an optional K, M, G or T (either case, optional iB or B after it). ERR_INVAL says
 * what is wrong.
 */
enum err size_parse(const char *text, uint64_t *bytes) MUST_USE;

/* Writes a short form: "512M", "1.5G", "812K", "0". buf holds 16 bytes or more. Returns buf. */
const char *size_format(char *buf, size_t buf_bytes, uint64_t bytes);

#endif
