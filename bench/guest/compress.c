/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the system's compression libraries: a text of 64 KiB packed, unpacked and compared. */
#include "rows.h"

#include <string.h>

#define TEXT_BYTES 65536u
#define WORDS      1000u

#if BENCH_ZLIB || BENCH_ZSTD
/* Words of 2 to 9 letters, some of them far more often than others. */
static unsigned char *make_text(void)
{
    unsigned char *text = row_memory(TEXT_BYTES);
    uint64_t state = 2024;
    for (unsigned at = 0; at < TEXT_BYTES;) {
        uint64_t x = row_random(&state) >> 16;
        uint64_t word = (x & 0xffff) % WORDS * ((x >> 16 & 0xffff) % WORDS) / WORDS;
        uint64_t letters = word * 0x9e3779b97f4a7c15 | 1;
        for (uint64_t i = 0; i < 2 + word % 8 && at < TEXT_BYTES; i++)
            text[at++] = (unsigned char)('a' + (row_random(&letters) >> 40) % 26);
        if (at < TEXT_BYTES)
            text[at++] = x >> 40 & 15 ? ' ' : '\n';
    }
    return text;
}

/* A text that is never the same twice, packed by pack and unpacked by unpack. */
static uint64_t pack_texts(uint64_t rounds,
                           size_t (*pack)(unsigned char *, size_t, const unsigned char *),
                           size_t (*unpack)(unsigned char *, const unsigned char *, size_t))
{
    unsigned char *text = make_text(), *again = row_memory(TEXT_BYTES);
    unsigned char *packed = row_memory((size_t)2 * TEXT_BYTES);
    uint64_t sum = 0;
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        text[r * 97 % TEXT_BYTES] ^= 1;
        size_t bytes = pack(packed, (size_t)2 * TEXT_BYTES, text);
        row_needs(bytes > 8 && unpack(again, packed, bytes) == TEXT_BYTES, "not unpacked");
        row_needs(!memcmp(text, again, TEXT_BYTES), "not the same after unpacking");
        sum = sum * 31 + bytes + packed[bytes / 2];
    }
    return sum;
}
#endif

#if BENCH_ZLIB
#include <zlib.h>

static size_t zlib_pack(unsigned char *to, size_t room, const unsigned char *text)
{
    uLongf bytes = room;
    return compress2(to, &bytes, text, TEXT_BYTES, 6) == Z_OK ? bytes : 0;
}

static size_t zlib_unpack(unsigned char *to, const unsigned char *packed, size_t packed_bytes)
{
    uLongf bytes = TEXT_BYTES;
    return uncompress(to, &bytes, packed, packed_bytes) == Z_OK ? bytes : 0;
}

static uint64_t run_zlib(uint64_t rounds)
{
    return pack_texts(rounds, zlib_pack, zlib_unpack);
}
#else
static uint64_t run_zlib(uint64_t rounds)
{
    (void)rounds;
    row_is_missing("there was no libz.a (zlib1g-dev) when this was built");
}
#endif

#if BENCH_ZSTD
#include <zstd.h>

static size_t zstd_pack(unsigned char *to, size_t room, const unsigned char *text)
{
    size_t bytes = ZSTD_compress(to, room, text, TEXT_BYTES, 3);
    return ZSTD_isError(bytes) ? 0 : bytes;
}

static size_t zstd_unpack(unsigned char *to, const unsigned char *packed, size_t packed_bytes)
{
    size_t bytes = ZSTD_decompress(to, TEXT_BYTES, packed, packed_bytes);
    return ZSTD_isError(bytes) ? 0 : bytes;
}

static uint64_t run_zstd(uint64_t rounds)
{
    return pack_texts(rounds, zstd_pack, zstd_unpack);
}
#else
static uint64_t run_zstd(uint64_t rounds)
{
    (void)rounds;
    row_is_missing("there was no libzstd.a (libzstd-dev) when this was built");
}
#endif

const struct row compress_rows[] = {{"zlib", "applications", run_zlib, 1},
                                    {"zstd", "applications", run_zstd, 3},
                                    {NULL, NULL, NULL, 0}};
