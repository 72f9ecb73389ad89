/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 64-bit and 32-bit Linux boot protocols (Linux: Documentation/arch/x86/boot.rst,
 * zero-page.rst): the bzImage's protected-mode part is loaded as it is and unpacks itself; RSI
 * points to the zero page, which holds a copy of the image's setup header filled in by us.
 */
#include "machine/boot/load.h"

#include <assert.h>
#include <string.h>

/* Offsets in the zero page. */
#define ZP_BYTES          4096
#define ZP_RSDP           0x070
#define ZP_E820_ENTRIES   0x1e8
#define ZP_HEADER         0x1f1
/* displacement of a jump over the header: its end is 0x202 + this */
#define ZP_HEADER_JUMP    0x201
#define ZP_TYPE_OF_LOADER 0x210
#define ZP_CODE32_START   0x214
#define ZP_RAMDISK_IMAGE  0x218
#define ZP_RAMDISK_SIZE   0x21c
#define ZP_CMDLINE        0x228
#define ZP_HEADER_MAX     0x290
#define ZP_E820           0x2d0

#define LOADER_UNDEFINED 0xff
#define ENTRY64_OFFSET   0x200

struct e820_entry {
    uint64_t start, bytes;
    uint32_t type;
} __attribute__((packed));
static_assert(sizeof(struct e820_entry) == 20, "Linux boot protocol");

static void put32(uint8_t *p, uint64_t v)
{
    uint32_t v32 = (uint32_t)v;

    memcpy(p, &v32, sizeof(v32));
}

static void fill_header(uint8_t *zp, const struct bzimage *bz)
{
    size_t end = 0x202u + bz->image->data[ZP_HEADER_JUMP];

    if (end > ZP_HEADER_MAX)
        end = ZP_HEADER_MAX;
    if (end > bz->image->size)
        end = bz->image->size;
    memcpy(zp + ZP_HEADER, bz->image->data + ZP_HEADER, end - ZP_HEADER);
    zp[ZP_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    put32(zp + ZP_CODE32_START, bz->load_address);
}

static void fill_e820(uint8_t *zp, const struct guest_mem *mem)
{
    struct memmap_entry map[MEMMAP_MAX];
    unsigned n = boot_memmap(mem, map);

    for (unsigned i = 0; i < n; i++) {
        struct e820_entry e = {map[i].start, map[i].bytes, map[i].type};
        memcpy(zp + ZP_E820 + i * sizeof(e), &e, sizeof(e));
    }
    zp[ZP_E820_ENTRIES] = (uint8_t)n;
}

/* Everything but the CPU: *zero_page is its place. */
static enum err load(struct boot_job *job, const struct bzimage *bz, gpa_t *zero_page)
{
    uint8_t zp[ZP_BYTES] = {0};
    gpa_t cmdline = {0};

    enum err err = boot_claim_kernel(job, bz->image->name, bz->load_address,
                                     bz->memory_end - bz->load_address);
    if (err == ERR_OK)
        err = boot_write(job, bz->load_address, bz->image->data + bz->code_offset, bz->code_bytes);
    if (err == ERR_OK)
        err = boot_load_initrd(job, bz->initrd_limit);
    if (err == ERR_OK)
        err = boot_put_cmdline(job, bz->cmdline_max, &cmdline);
    if (err != ERR_OK)
        return err;

    fill_header(zp, bz);
    fill_e820(zp, job->config->mem);
    memcpy(zp + ZP_RSDP, &job->config->rsdp.v, sizeof(uint64_t));
    put32(zp + ZP_CMDLINE, cmdline.v);
    put32(zp + ZP_RAMDISK_IMAGE, job->info->initrd_start);
    put32(zp + ZP_RAMDISK_SIZE, job->info->initrd_end - job->info->initrd_start);
    return boot_put_low(job, zp, sizeof(zp), PAGE_SIZE, zero_page);
}

enum err linux64_load(struct boot_job *job, const struct bzimage *bz)
{
    gpa_t zero_page = {0};
    enum err err = load(job, bz, &zero_page);

    if (err == ERR_OK && bz->code_bytes <= ENTRY64_OFFSET)
        err = err_new(ERR_INVAL, "kernel '%s' is damaged: it ends before its entry point",
                      bz->image->name);
    if (err == ERR_OK)
        err = boot_cpu_long64(job, bz->load_address + ENTRY64_OFFSET);
    job->state->gpr[RSI] = zero_page.v;
    job->info->protocol = "linux64";
    job->info->entry = job->state->rip;
    return err;
}

enum err linux32_load(struct boot_job *job, const struct bzimage *bz)
{
    gpa_t zero_page = {0};
    enum err err = load(job, bz, &zero_page);

    if (err == ERR_OK)
        err = boot_cpu_flat32(job, bz->load_address);
    job->state->gpr[RSI] = zero_page.v;
    job->info->protocol = "linux32";
    job->info->entry = job->state->rip;
    return err;
}
