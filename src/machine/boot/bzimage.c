/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux bzImage (Linux: Documentation/arch/x86/boot.rst).
 *
 *   0       0x1f1           setup_end                        payload_offset
 *   | boot  | setup header  | protected-mode code: 32-bit    | packed vmlinux | size |
 *   | sector| "HdrS" ...    | entry at +0, 64-bit at +0x200  |                       |
 *
 * The packed vmlinux is unpacked here and entered by PVH when it has the note: that saves the guest
 * the unpacking. Without the note, or with a packing we do not know, or where five-level paging is
 * wanted, the image unpacks itself in the guest.
 */
#include "machine/boot/load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in the setup header. */
#define H_SETUP_SECTS      0x1f1
#define H_SYSSIZE          0x1f4 /* of the protected-mode part, in 16 bytes */
#define H_MAGIC            0x202
#define H_VERSION          0x206
#define H_LOADFLAGS        0x211
#define H_CODE32_START     0x214
#define H_INITRD_ADDR_MAX  0x22c
#define H_KERNEL_ALIGNMENT 0x230
#define H_RELOCATABLE      0x234
#define H_XLOADFLAGS       0x236
#define H_CMDLINE_SIZE     0x238
#define H_PAYLOAD_OFFSET   0x248
#define H_PAYLOAD_LENGTH   0x24c
#define H_PREF_ADDRESS     0x258
#define H_INIT_SIZE        0x260
#define H_END              0x264

#define LOADFLAG_HIGH   0x01
#define XLF_KERNEL_64   0x0001
#define MIN_VERSION     0x0206 /* Linux 2.6.22: older headers lack what is needed to place things */
#define PAYLOAD_VERSION 0x0208
#define INIT_VERSION    0x020a
#define XLOAD_VERSION   0x020c

bool bzimage_matches(const struct boot_image *image)
{
    return image_has(image, H_MAGIC, 4) && memcmp(image->data + H_MAGIC, "HdrS", 4) == 0;
}

static enum err parse(const struct boot_image *image, struct bzimage *bz)
{
    const uint8_t *h = image->data;

    if (!image_has(image, 0, H_END))
        return err_new(ERR_INVAL,
                       "kernel '%s' is truncated: its setup header is cut off: fetch it again",
                       image->name);
    *bz = (struct bzimage){.image = image, .version = le16(h + H_VERSION)};
    if (bz->version < MIN_VERSION || !(h[H_LOADFLAGS] & LOADFLAG_HIGH))
        return err_new(ERR_INVAL,
                       "kernel '%s' is too old (boot protocol %u.%02u): give Linux 2.6.22 or newer",
                       image->name, bz->version >> 8, bz->version & 0xff);

    bz->code_offset = ((h[H_SETUP_SECTS] ? h[H_SETUP_SECTS] : 4) + 1u) * 512;
    uint64_t said = (uint64_t)le32(h + H_SYSSIZE) * 16;
    /* the last 16 bytes may be there in part only */
    if (said == 0 || !image_has(image, bz->code_offset, said > 16 ? said - 15 : 1))
        return err_new(ERR_INVAL,
                       "kernel '%s' is truncated: it has %zu bytes and should have %" PRIu64
                       ": fetch it again",
                       image->name, image->size, bz->code_offset + said);
    bz->code_bytes = image->size - bz->code_offset;

    bz->initrd_limit = (uint64_t)le32(h + H_INITRD_ADDR_MAX) + 1;
    bz->cmdline_max = le32(h + H_CMDLINE_SIZE);
    if (bz->cmdline_max > BOOT_CMDLINE_MAX)
        bz->cmdline_max = BOOT_CMDLINE_MAX;
    bz->has_entry64 = bz->version >= XLOAD_VERSION && (le16(h + H_XLOADFLAGS) & XLF_KERNEL_64);
    bz->load_address = le32(h + H_CODE32_START);
    if (bz->load_address < MIB && !h[H_RELOCATABLE])
        return err_new(ERR_INVAL,
                       "kernel '%s' has no 32-bit entry point: it begins in 16-bit code and needs "
                       "a BIOS, which is not here",
                       image->name);
    bz->memory_end = bz->load_address + bz->code_bytes;
    if (bz->version >= INIT_VERSION) {
        uint64_t preferred = le64(h + H_PREF_ADDRESS), room = le32(h + H_INIT_SIZE);
        if (preferred > UINT32_MAX)
            return err_new(ERR_INVAL,
                           "kernel '%s' is damaged: its preferred address makes no sense",
                           image->name);
        if (h[H_RELOCATABLE])
            bz->load_address = preferred;
        if (preferred + room > bz->memory_end)
            bz->memory_end = preferred + room;
        if (bz->load_address + bz->code_bytes > bz->memory_end)
            bz->memory_end = bz->load_address + bz->code_bytes;
    }
    return ERR_OK;
}

/* What the packed part is: *out NULL when it is of a kind that must unpack itself. */
static enum err unpack(struct boot_job *job, const struct bzimage *bz, uint8_t **out,
                       size_t *out_bytes)
{
    const struct boot_image *image = bz->image;
    uint64_t offset, bytes;
    enum err err;

    *out = NULL;
    if (bz->version < PAYLOAD_VERSION)
        return ERR_OK;
    offset = le32(image->data + H_PAYLOAD_OFFSET);
    bytes = le32(image->data + H_PAYLOAD_LENGTH);
    if (!image_has(image, bz->code_offset + offset, bytes))
        return err_new(
            ERR_INVAL,
            "kernel '%s' is truncated: its packed part ends beyond the file: fetch it again",
            image->name);
    struct boot_image payload = {image->name, image->data + bz->code_offset + offset, bytes};
    err = unpack_payload(&payload, mem_size_bytes(job->config->mem), out, out_bytes);
    return err == ERR_UNSUPPORTED ? ERR_OK : err;
}

enum err bzimage_load(struct boot_job *job, const struct boot_image *image)
{
    struct bzimage bz;
    uint8_t *inner = NULL;
    size_t inner_bytes = 0;

    enum err err = parse(image, &bz);
    /* init_size says what the kernel takes however it is entered: known before the unpacking */
    if (err == ERR_OK && bz.memory_end > boot_low_ram_end(job->config->mem))
        err = boot_no_room(job, "kernel", image->name, bz.memory_end);
    if (err == ERR_OK && !(job->config->five_levels && bz.has_entry64))
        err = unpack(job, &bz, &inner, &inner_bytes);
    if (err != ERR_OK)
        return err;

    struct boot_image vmlinux = {image->name, inner, inner_bytes};
    if (inner && pvh_matches(&vmlinux))
        err = pvh_load(job, &vmlinux, bz.initrd_limit, bz.cmdline_max);
    else if (bz.has_entry64)
        err = linux64_load(job, &bz);
    else
        err = linux32_load(job, &bz);
    free(inner);
    return err;
}
