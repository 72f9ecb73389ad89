/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small kernel images made in memory for the tests of src/machine/boot: an ELF with a PVH note, a
 * bzImage around any payload, a Multiboot image.
 */
#ifndef UMBRA_TESTS_UNIT_BOOT_IMAGES_H
#define UMBRA_TESTS_UNIT_BOOT_IMAGES_H

#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "machine/boot/boot.h"

#define IMG_ADDR       UINT64_C(0x200000) /* where the test kernels lie */
#define IMG_CODE_BYTES 0x3000u            /* of the loaded segment in the file */
#define IMG_BSS_BYTES  0x1800u
#define IMG_ENTRY      (IMG_ADDR + 0x40)
#define IMG_MAX        0x10000u

struct img {
    size_t size;
    uint8_t data[IMG_MAX];
};

static inline void img_put(struct img *img, size_t at, const void *bytes, size_t count)
{
    assert_true(at + count <= IMG_MAX);
    memcpy(img->data + at, bytes, count);
    if (at + count > img->size)
        img->size = at + count;
}

static inline void img_put32(struct img *img, size_t at, uint32_t v)
{
    img_put(img, at, &v, sizeof(v));
}

/* The bytes of the loaded segment: they must come out in guest memory. */
static inline uint8_t img_code_byte(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8));
}

static inline void img_put_code(struct img *img, size_t at)
{
    uint8_t code[IMG_CODE_BYTES];

    for (size_t i = 0; i < sizeof(code); i++)
        code[i] = img_code_byte(i);
    img_put(img, at, code, sizeof(code));
}

/* desc_bytes: 4 or 8 for a PVH note, 0 for none. */
static inline struct img img_elf64(unsigned desc_bytes)
{
    struct img img = {0};
    uint32_t note[] = {4, 8, 6, 0x006e6558, 1, 2, 4, desc_bytes, 18, 0x006e6558, IMG_ENTRY, 0};
    Elf64_Ehdr e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_entry = 0xffffffff81000040,
                    .e_phoff = sizeof(e),
                    .e_ehsize = sizeof(e),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = desc_bytes ? 2 : 1};
    Elf64_Phdr p[2] = {{.p_type = PT_LOAD,
                        .p_offset = 0x1000,
                        .p_vaddr = 0xffffffff81000000,
                        .p_paddr = IMG_ADDR,
                        .p_filesz = IMG_CODE_BYTES,
                        .p_memsz = IMG_CODE_BYTES + IMG_BSS_BYTES,
                        .p_align = 4096},
                       {.p_type = PT_NOTE,
                        .p_offset = 0x200,
                        .p_filesz = sizeof(note) - (8 - desc_bytes),
                        .p_align = 4}};

    img_put(&img, 0, &e, sizeof(e));
    img_put(&img, sizeof(e), p, sizeof(p));
    img_put(&img, 0x200, note, sizeof(note));
    img_put_code(&img, 0x1000);
    return img;
}

static inline struct img img_elf32(unsigned desc_bytes)
{
    struct img img = {0};
    uint32_t note[] = {4, desc_bytes, 18, 0x006e6558, IMG_ENTRY, 0};
    Elf32_Ehdr e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                    .e_type = ET_EXEC,
                    .e_machine = EM_386,
                    .e_version = EV_CURRENT,
                    .e_entry = 0xc1000040,
                    .e_phoff = sizeof(e),
                    .e_ehsize = sizeof(e),
                    .e_phentsize = sizeof(Elf32_Phdr),
                    .e_phnum = 2};
    Elf32_Phdr p[2] = {{.p_type = PT_LOAD,
                        .p_offset = 0x1000,
                        .p_vaddr = 0xc1000000,
                        .p_paddr = IMG_ADDR,
                        .p_filesz = IMG_CODE_BYTES,
                        .p_memsz = IMG_CODE_BYTES + IMG_BSS_BYTES,
                        .p_align = 4096},
                       {.p_type = desc_bytes ? PT_NOTE : PT_NULL,
                        .p_offset = 0x200,
                        .p_filesz = 16 + desc_bytes,
                        .p_align = 4}};

    img_put(&img, 0, &e, sizeof(e));
    img_put(&img, sizeof(e), p, sizeof(p));
    img_put(&img, 0x200, note, sizeof(note));
    img_put_code(&img, 0x1000);
    return img;
}

/* Puts a Multiboot header without addresses into an ELF image. */
static inline void img_add_multiboot(struct img *img, uint32_t flags)
{
    img_put32(img, 0x300, 0x1badb002);
    img_put32(img, 0x304, flags);
    img_put32(img, 0x308, -(0x1badb002 + flags));
}

/*
 * A Multiboot image that says its own addresses; the header lies 0x20 into the file and the code.
 */
static inline struct img img_multiboot_raw(uint32_t load_end, uint32_t bss_end)
{
    struct img img = {0};
    const uint32_t flags = 0x10003;

    img_put_code(&img, 0);
    const uint32_t header[] = {0x1badb002,      flags,    -(0x1badb002 + flags),
                               IMG_ADDR + 0x20, IMG_ADDR, load_end,
                               bss_end,         IMG_ENTRY};
    img_put(&img, 0x20, header, sizeof(header));
    return img;
}

enum img_packing { IMG_LZ4, IMG_GZIP, IMG_XZ, IMG_ZSTD, IMG_LZMA, IMG_BZIP2, IMG_PACKINGS };

static inline size_t img_pack_xz(const struct img *in, uint8_t *out, size_t room)
{
    lzma_options_lzma lzma2;
    size_t used = 0;

    assert_false(lzma_lzma_preset(&lzma2, 6));
    lzma_filter filters[] = {
        {LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &lzma2}, {LZMA_VLI_UNKNOWN, NULL}};
    assert_int_equal(LZMA_OK, lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in->data,
                                                        in->size, out, &used, room));
    return used;
}

static inline size_t img_pack_lzma(const struct img *in, uint8_t *out, size_t room)
{
    lzma_options_lzma options;
    lzma_stream z = LZMA_STREAM_INIT;

    assert_false(lzma_lzma_preset(&options, 6));
    assert_int_equal(LZMA_OK, lzma_alone_encoder(&z, &options));
    z.next_in = in->data;
    z.avail_in = in->size;
    z.next_out = out;
    z.avail_out = room;
    assert_int_equal(LZMA_STREAM_END, lzma_code(&z, LZMA_FINISH));
    lzma_end(&z);
    return room - z.avail_out;
}

static inline size_t img_pack_gzip(const struct img *in, uint8_t *out, size_t room)
{
    z_stream z = {.next_in = (uint8_t *)in->data,
                  .avail_in = (uInt)in->size,
                  .next_out = out,
                  .avail_out = (uInt)room};

    assert_int_equal(Z_OK, deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY));
    assert_int_equal(Z_STREAM_END, deflate(&z, Z_FINISH));
    deflateEnd(&z);
    return room - z.avail_out;
}

/* As the kernel's build does it: packed, and the unpacked size behind it. */
static inline struct img img_pack(const struct img *in, enum img_packing packing)
{
    struct img out = {0};
    uint32_t size = (uint32_t)in->size;
    int n;

    switch (packing) {
    case IMG_LZ4:
        img_put32(&out, 0, 0x184c2102);
        n = LZ4_compress_default((const char *)in->data, (char *)out.data + 8, (int)in->size,
                                 IMG_MAX - 8);
        assert_true(n > 0);
        img_put32(&out, 4, (uint32_t)n);
        out.size = 8 + (size_t)n;
        break;
    case IMG_GZIP:
        out.size = img_pack_gzip(in, out.data, IMG_MAX);
        return out;
    case IMG_XZ:
        out.size = img_pack_xz(in, out.data, IMG_MAX);
        break;
    case IMG_ZSTD:
        out.size = ZSTD_compress(out.data, IMG_MAX, in->data, in->size, 3);
        assert_false(ZSTD_isError(out.size));
        break;
    case IMG_LZMA:
        out.size = img_pack_lzma(in, out.data, IMG_MAX);
        break;
    default:
        img_put(&out, 0, "BZh91AY&SY not really", 20);
    }
    img_put(&out, out.size, &size, sizeof(size));
    return out;
}

/* A bzImage of protocol 2.15 whose protected-mode part is 0x400 bytes of code and the payload. */
static inline struct img img_bzimage(const struct img *payload)
{
    struct img img = {0};
    const size_t setup = 5 * 512, code = 0x400;
    struct {
        size_t at;
        uint32_t v;
    } fields[] = {{0x1fe, 0xaa55},     {0x202, 0x53726448},     {0x206, 0x020f},
                  {0x214, 0x100000},   {0x22c, 0x7fffffff},     {0x230, 0x200000},
                  {0x234, 0x00010001}, /* relocatable; xloadflags at 0x236: XLF_KERNEL_64 */
                  {0x238, 2047},       {0x248, (uint32_t)code}, {0x24c, (uint32_t)payload->size},
                  {0x258, IMG_ADDR},   {0x260, 0x100000}};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        img_put32(&img, fields[i].at, fields[i].v);
    img.data[0x1f1] = 4;
    img.data[0x200] = 0xeb;
    img.data[0x201] = 0x6a;
    img.data[0x211] = 1;
    memset(img.data + setup, 0x90, code);
    img_put(&img, setup + code, payload->data, payload->size);
    img.size = (img.size + 15) & ~(size_t)15;
    img_put32(&img, 0x1f4, (uint32_t)((img.size - setup) / 16));
    return img;
}

#define MIB (UINT64_C(1) << 20)

/* A guest and a folder for its files. */
struct fixture {
    char folder[64];
    char kernel[96], initrd[96];
    struct guest_mem *mem;
    struct x86_state state;
    struct boot_info info;
};

static inline int fixture_setup(void **state, uint64_t bytes)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->folder, "/tmp/umbra-boot-XXXXXX");
    if (!mkdtemp(f->folder) || mem_create(&f->mem, bytes) != ERR_OK)
        return -1;
    snprintf(f->kernel, sizeof(f->kernel), "%s/kernel", f->folder);
    snprintf(f->initrd, sizeof(f->initrd), "%s/initrd", f->folder);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    unlink(f->kernel);
    unlink(f->initrd);
    rmdir(f->folder);
    mem_destroy(f->mem);
    free(f);
    return 0;
}

/*
 * Writes a file of the test's folder; anew, as some file systems flush a file that is cut to zero.
 */
static inline void img_save(const char *path, const void *data, size_t size)
{
    unlink(path);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(size, fwrite(data, 1, size, f));
    assert_int_equal(0, fclose(f));
}

#endif
