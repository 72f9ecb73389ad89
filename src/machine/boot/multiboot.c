/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1 (Multiboot Specification 0.6.96): a header within the first 8 KiB says how to load
 * the image, either by its own addresses or by ELF program headers. Entry: 32-bit protected mode,
 * EAX = magic, EBX -> information. ELF64 images are taken like ELF32 ones: their first code must be
 * 32-bit.
 */
#include "machine/boot/elf_image.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define SEARCH_BYTES 8192u
#define HEADER_MAGIC 0x1badb002u
#define BOOT_MAGIC   0x2badb002u

/* Header flags. Bits 0 to 15 are demands: what is not known must be refused. */
#define WANTS_PAGE_ALIGN 0x00000001u
#define WANTS_MEMORY     0x00000002u
#define WANTS_VIDEO      0x00000004u
#define WANTS_UNKNOWN    0x0000fff8u
#define HAS_ADDRESSES    0x00010000u

/* Information flags. */
#define INFO_MEMORY      0x001u
#define INFO_CMDLINE     0x004u
#define INFO_MODULES     0x008u
#define INFO_MEMORY_MAP  0x040u
#define INFO_LOADER_NAME 0x200u

struct mb_info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper; /* KiB from 0, KiB from 1 MiB */
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t modules, module_list;
    uint32_t symbols[4];
    uint32_t map_bytes, map;
    uint32_t drives_bytes, drives;
    uint32_t config_table;
    uint32_t loader_name;
    uint32_t apm_table;
    uint32_t vbe[4];
};
static_assert(offsetof(struct mb_info, map_bytes) == 44, "Multiboot 3.3");
static_assert(offsetof(struct mb_info, loader_name) == 64, "Multiboot 3.3");
static_assert(sizeof(struct mb_info) == 88, "Multiboot 3.3");

struct mb_module {
    uint32_t start, end, string, reserved;
};

/* entry_bytes does not count itself. */
struct mb_map_entry {
    uint32_t entry_bytes;
    uint64_t start, bytes;
    uint32_t type;
} __attribute__((packed));
static_assert(sizeof(struct mb_map_entry) == 24, "Multiboot 3.3");

static bool find_header(const struct boot_image *image, uint32_t *offset)
{
    for (uint32_t at = 0; at + 12 <= SEARCH_BYTES && image_has(image, at, 12); at += 4) {
        const uint8_t *h = image->data + at;
        if (le32(h) == HEADER_MAGIC && (uint32_t)(le32(h) + le32(h + 4) + le32(h + 8)) == 0) {
            *offset = at;
            return true;
        }
    }
    return false;
}

bool multiboot_matches(const struct boot_image *image)
{
    uint32_t offset;

    return find_header(image, &offset);
}

/* Loads by the addresses in the header (Multiboot 3.1.3). */
static enum err load_by_addresses(struct boot_job *job, const struct boot_image *image, uint32_t at,
                                  uint64_t *entry)
{
    if (!image_has(image, at, 32))
        return err_new(ERR_INVAL, "kernel '%s' is truncated: its Multiboot header is cut off",
                       image->name);
    const uint8_t *h = image->data + at;
    uint64_t header_addr = le32(h + 12), load = le32(h + 16), load_end = le32(h + 20),
             bss_end = le32(h + 24);

    *entry = le32(h + 28);
    if (header_addr < load || header_addr - load > at)
        return err_new(ERR_INVAL,
                       "kernel '%s' is damaged: its Multiboot load address lies before the file",
                       image->name);
    uint64_t offset = at - (header_addr - load);
    uint64_t bytes = load_end != 0 ? load_end - load : image->size - offset;
    if (load_end != 0 && load_end < load)
        return err_new(
            ERR_INVAL,
            "kernel '%s' is damaged: its Multiboot load addresses are in the wrong order",
            image->name);
    if (!image_has(image, offset, bytes))
        return err_new(ERR_INVAL,
                       "kernel '%s' is truncated: its Multiboot header names %" PRIu64
                       " bytes of code",
                       image->name, bytes);
    uint64_t bss = bss_end > load + bytes ? bss_end - (load + bytes) : 0;

    enum err err = boot_claim_kernel(job, image->name, load, bytes + bss);
    if (err == ERR_OK)
        err = boot_write(job, load, image->data + offset, bytes);
    if (err == ERR_OK)
        err = boot_zero(job, load + bytes, bss);
    return err;
}

static enum err load_image(struct boot_job *job, const struct boot_image *image, uint64_t *entry)
{
    struct elf_image elf;
    uint32_t at = 0;

    if (!find_header(image, &at))
        return err_new(ERR_INVAL, "kernel '%s' has no Multiboot header", image->name);
    uint32_t flags = le32(image->data + at + 4);
    if (flags & WANTS_UNKNOWN)
        return err_new(
            ERR_INVAL,
            "kernel '%s' asks for Multiboot features that do not exist here (flags 0x%x)",
            image->name, flags & WANTS_UNKNOWN);
    if (flags & WANTS_VIDEO)
        log_msg(LOG_WARN, "boot", "the Multiboot kernel asks for a video mode: there is none");
    if (flags & HAS_ADDRESSES)
        return load_by_addresses(job, image, at, entry);
    if (!elf_is_elf(image))
        return err_new(ERR_INVAL,
                       "kernel '%s' has a Multiboot header without addresses (flag 16) and is no "
                       "ELF file: link it as ELF, or set the flag",
                       image->name);
    enum err err = elf_open(&elf, image);
    if (err == ERR_OK)
        err = elf_load(job, &elf);
    if (err == ERR_OK)
        *entry = elf_physical_entry(&elf);
    return err;
}

static enum err put_string(struct boot_job *job, const char *text, uint32_t *out)
{
    gpa_t at;
    enum err err = boot_put_low(job, text, strlen(text) + 1, 4, &at);

    *out = (uint32_t)at.v;
    return err;
}

/* "PATH APPEND": guests tell their options from the name by the first blank. */
static enum err put_cmdline(struct boot_job *job, struct mb_info *mi)
{
    const struct boot_config *config = job->config;
    size_t bytes = strlen(config->kernel) + 1 + strlen(config->append) + 1;
    enum err err;

    if (bytes > BOOT_CMDLINE_MAX + 1)
        return err_new(
            ERR_INVAL,
            "kernel path and --append have %zu characters, but at most %u are taken: shorten them",
            bytes - 1, BOOT_CMDLINE_MAX);
    char *text = malloc(bytes);
    if (!text)
        return err_errno(ERR_NOMEM, "cannot hold the command line");
    char *end = stpcpy(text, config->kernel);
    if (config->append[0] != '\0')
        stpcpy(stpcpy(end, " "), config->append);
    err = put_string(job, text, &mi->cmdline);
    free(text);
    mi->flags |= INFO_CMDLINE;
    return err;
}

static enum err put_modules(struct boot_job *job, struct mb_info *mi)
{
    struct mb_module module = {0};
    gpa_t at = {0};
    enum err err = boot_load_initrd(job, UINT32_MAX);

    mi->flags |= INFO_MODULES;
    if (err != ERR_OK || !job->config->initrd)
        return err;
    module.start = (uint32_t)job->info->initrd_start;
    module.end = (uint32_t)job->info->initrd_end;
    err = put_string(job, job->config->initrd, &module.string);
    if (err == ERR_OK)
        err = boot_put_low(job, &module, sizeof(module), 16, &at);
    mi->modules = 1;
    mi->module_list = (uint32_t)at.v;
    return err;
}

static enum err put_memory(struct boot_job *job, struct mb_info *mi)
{
    struct memmap_entry map[MEMMAP_MAX];
    struct mb_map_entry out[MEMMAP_MAX];
    unsigned n = boot_memmap(job->config->mem, map);
    uint64_t low_end = boot_low_ram_end(job->config->mem);
    gpa_t at;

    for (unsigned i = 0; i < n; i++)
        out[i] = (struct mb_map_entry){20, map[i].start, map[i].bytes, map[i].type};
    enum err err = boot_put_low(job, out, n * sizeof(out[0]), 16, &at);
    mi->map = (uint32_t)at.v;
    mi->map_bytes = (uint32_t)(n * sizeof(out[0]));
    mi->mem_lower = BOOT_EBDA_START / 1024;
    mi->mem_upper = low_end > MIB ? (uint32_t)((low_end - MIB) / 1024) : 0;
    mi->flags |= INFO_MEMORY | INFO_MEMORY_MAP;
    return err;
}

enum err multiboot_load(struct boot_job *job, const struct boot_image *image)
{
    struct mb_info mi = {0};
    uint64_t entry = 0;
    gpa_t at;

    enum err err = load_image(job, image, &entry);
    if (err != ERR_OK)
        return err;
    if (entry < job->info->kernel_start || entry >= job->info->kernel_end || entry > UINT32_MAX)
        return err_new(ERR_INVAL,
                       "kernel '%s' has its entry point 0x%" PRIx64
                       " outside of what is loaded: link it again",
                       image->name, entry);

    err = put_modules(job, &mi);
    if (err == ERR_OK)
        err = put_cmdline(job, &mi);
    if (err == ERR_OK)
        err = put_memory(job, &mi);
    if (err == ERR_OK)
        err = put_string(job, "umbra", &mi.loader_name);
    mi.flags |= INFO_LOADER_NAME;
    if (err == ERR_OK)
        err = boot_put_low(job, &mi, sizeof(mi), 16, &at);
    if (err == ERR_OK)
        err = boot_cpu_flat32(job, entry);
    if (err != ERR_OK)
        return err;
    job->state->gpr[RAX] = BOOT_MAGIC;
    job->state->gpr[RBX] = at.v;
    job->info->protocol = "multiboot";
    job->info->entry = entry;
    return ERR_OK;
}
