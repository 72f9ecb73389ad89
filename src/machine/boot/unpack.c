/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel payloads: compressed streams followed by the little-endian 32-bit size of what they unpack
 * to (gzip ends with that size by itself). The size is held against the guest's memory before
 * anything is allocated and no format gets room for a byte more: nothing can unpack to more than it
 * says.
 */
#include "machine/boot/load.h"

#include <errno.h>
#include <inttypes.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* Dictionary and tables of an xz or LZMA stream; kernels are packed with 128 MiB at most. */
#define LZMA_MEMORY_MAX (256 * MIB)

/* Legacy LZ4 frames: blocks of 8 MiB, each behind its packed size. */
#define LZ4_MAGIC_BYTES 4
#define LZ4_BLOCK_BYTES (8 * MIB)

/* in: without the appended size. Fills exactly `out_bytes` or answers false. */
typedef bool unpack_fn(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes);

static bool unpack_lz4(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    size_t at = LZ4_MAGIC_BYTES, done = 0;

    while (done < out_bytes) {
        if (in_bytes - at < 4)
            return false;
        size_t block = le32(in + at);
        at += 4;
        if (block == 0 || block > (size_t)LZ4_COMPRESSBOUND(LZ4_BLOCK_BYTES) ||
            block > in_bytes - at)
            return false;
        size_t room = out_bytes - done < LZ4_BLOCK_BYTES ? out_bytes - done : LZ4_BLOCK_BYTES;
        int n =
            LZ4_decompress_safe((const char *)in + at, (char *)out + done, (int)block, (int)room);
        if (n <= 0)
            return false;
        at += block;
        done += (size_t)n;
    }
    return true;
}

static bool unpack_gzip(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    z_stream z = {.next_in = (uint8_t *)in,
                  .avail_in = (uInt)in_bytes,
                  .next_out = out,
                  .avail_out = (uInt)out_bytes};

    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return false;
    int status = inflate(&z, Z_FINISH);
    bool done = status == Z_STREAM_END && z.avail_out == 0;
    inflateEnd(&z);
    return done;
}

static bool run_lzma(lzma_stream *z, const uint8_t *in, size_t in_bytes, uint8_t *out,
                     size_t out_bytes)
{
    z->next_in = in;
    z->avail_in = in_bytes;
    z->next_out = out;
    z->avail_out = out_bytes;
    lzma_ret status = lzma_code(z, LZMA_FINISH);
    lzma_end(z);
    /* a stream of unknown size may still owe its end mark when all bytes are there */
    return z->avail_out == 0 && (status == LZMA_STREAM_END || status == LZMA_OK);
}

static bool unpack_xz(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    lzma_stream z = LZMA_STREAM_INIT;

    return lzma_stream_decoder(&z, LZMA_MEMORY_MAX, 0) == LZMA_OK &&
           run_lzma(&z, in, in_bytes, out, out_bytes);
}

static bool unpack_lzma(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    lzma_stream z = LZMA_STREAM_INIT;

    return lzma_alone_decoder(&z, LZMA_MEMORY_MAX) == LZMA_OK &&
           run_lzma(&z, in, in_bytes, out, out_bytes);
}

static bool unpack_zstd(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
    size_t frame = ZSTD_findFrameCompressedSize(in, in_bytes);

    return !ZSTD_isError(frame) && ZSTD_decompress(out, out_bytes, in, frame) == out_bytes;
}

struct format {
    const char *name;
    unpack_fn *unpack; /* NULL: known, but not unpacked here */
    bool has_own_size; /* the stream ends with the size by itself */
    uint8_t magic_bytes;
    uint8_t magic[6];
};

static const struct format formats[] = {
    {"LZ4", unpack_lz4, false, 4, {0x02, 0x21, 0x4c, 0x18}},
    {"gzip", unpack_gzip, true, 2, {0x1f, 0x8b}},
    {"xz", unpack_xz, false, 6, {0xfd, '7', 'z', 'X', 'Z', 0}},
    {"zstd", unpack_zstd, false, 4, {0x28, 0xb5, 0x2f, 0xfd}},
    {"LZMA", unpack_lzma, false, 3, {0x5d, 0, 0}},
    {"bzip2", NULL, false, 3, {'B', 'Z', 'h'}},
    {"LZO", NULL, false, 4, {0x89, 'L', 'Z', 'O'}},
};

static const struct format *find_format(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (size >= formats[i].magic_bytes &&
            memcmp(data, formats[i].magic, formats[i].magic_bytes) == 0)
            return &formats[i];
    return NULL;
}

const char *unpack_format_name(const uint8_t *data, size_t size)
{
    const struct format *format = find_format(data, size);

    return format ? format->name : NULL;
}

enum err unpack_payload(const struct boot_image *payload, uint64_t max_bytes, uint8_t **out,
                        size_t *out_bytes)
{
    const struct format *format = find_format(payload->data, payload->size);

    if (!format || !format->unpack)
        return err_new(ERR_UNSUPPORTED,
                       "kernel '%s' is packed in a way that is not unpacked here: %s",
                       payload->name, format ? format->name : "unknown");
    if (payload->size < 16 || payload->size > UINT32_MAX)
        return err_new(ERR_INVAL, "kernel '%s' is damaged: its packed part is cut off",
                       payload->name);

    uint64_t bytes = le32(payload->data + payload->size - 4);
    if (bytes == 0)
        return err_new(ERR_INVAL, "kernel '%s' is damaged: its packed part is empty",
                       payload->name);
    if (bytes > max_bytes)
        return err_new(ERR_INVAL,
                       "kernel '%s' unpacks to %" PRIu64 " MiB, more than the guest's %" PRIu64
                       " MiB: give more --memory",
                       payload->name, align_up(bytes, MIB) / MIB, max_bytes / MIB);

    uint8_t *buf = malloc(bytes);
    if (!buf)
        return err_errno(ERR_NOMEM, "cannot unpack kernel '%s' (%" PRIu64 " MiB)", payload->name,
                         bytes / MIB);
    if (!format->unpack(payload->data, payload->size - (format->has_own_size ? 0 : 4), buf,
                        bytes)) {
        free(buf);
        return err_new(ERR_INVAL, "kernel '%s' is damaged: its %s part cannot be unpacked",
                       payload->name, format->name);
    }
    *out = buf;
    *out_bytes = bytes;
    return ERR_OK;
}
