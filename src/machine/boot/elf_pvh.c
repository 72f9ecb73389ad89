/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PVH: an ELF image says in a note where its 32-bit entry point is; EBX points to start_info there
 * (Xen: docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h).
 *
 *   EBX -> start_info -> command line
 *                     -> modules: [0] the initrd
 *                     -> memory map
 *                     -> RSDP
 */
#include "machine/boot/elf_image.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define NOTE_OWNER         "Xen"
#define NOTE_PHYS32_ENTRY  18
#define START_INFO_MAGIC   0x336ec578u
#define START_INFO_VERSION 1

struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t module_list, cmdline, rsdp, memory_map;
    uint32_t memory_map_entries, reserved;
};
static_assert(sizeof(struct start_info) == 56, "PVH start_info version 1");

struct module_entry {
    uint64_t start, bytes, cmdline, reserved;
};
static_assert(sizeof(struct module_entry) == 32, "PVH module list entry");

struct map_entry {
    uint64_t start, bytes;
    uint32_t type, reserved;
};
static_assert(sizeof(struct map_entry) == 24, "PVH memory map entry");

static bool find_entry(const struct elf_image *elf, uint64_t *entry)
{
    uint32_t bytes;
    const uint8_t *desc = elf_find_note(elf, NOTE_OWNER, NOTE_PHYS32_ENTRY, &bytes);

    if (!desc || (bytes != 4 && bytes != 8))
        return false;
    *entry = bytes == 8 ? le64(desc) : le32(desc);
    return true;
}

bool pvh_matches(const struct boot_image *image)
{
    struct elf_image elf;
    uint64_t entry;

    return elf_is_elf(image) && elf_open(&elf, image) == ERR_OK && find_entry(&elf, &entry);
}

static enum err put_memory_map(struct boot_job *job, struct start_info *si)
{
    struct memmap_entry map[MEMMAP_MAX];
    struct map_entry out[MEMMAP_MAX];
    unsigned n = boot_memmap(job->config->mem, map);
    gpa_t at;

    for (unsigned i = 0; i < n; i++)
        out[i] = (struct map_entry){map[i].start, map[i].bytes, map[i].type, 0};
    enum err err = boot_put_low(job, out, n * sizeof(out[0]), 16, &at);
    si->memory_map = at.v;
    si->memory_map_entries = n;
    return err;
}

static enum err put_modules(struct boot_job *job, struct start_info *si, uint64_t initrd_limit)
{
    struct module_entry module = {0};
    gpa_t at;
    enum err err = boot_load_initrd(job, initrd_limit);

    if (err != ERR_OK || !job->config->initrd)
        return err;
    module.start = job->info->initrd_start;
    module.bytes = job->info->initrd_end - job->info->initrd_start;
    err = boot_put_low(job, &module, sizeof(module), 16, &at);
    si->module_list = at.v;
    si->modules = 1;
    return err;
}

enum err pvh_load(struct boot_job *job, const struct boot_image *image, uint64_t initrd_limit,
                  uint64_t cmdline_max)
{
    struct start_info si = {
        .magic = START_INFO_MAGIC, .version = START_INFO_VERSION, .rsdp = job->config->rsdp.v};
    struct elf_image elf;
    uint64_t entry;
    gpa_t at = {0};

    enum err err = elf_open(&elf, image);
    if (err != ERR_OK)
        return err;
    if (!find_entry(&elf, &entry))
        return err_new(ERR_INVAL,
                       "kernel '%s' is an ELF file without a PVH note or Multiboot header: give a "
                       "bzImage (vmlinuz), or build it with CONFIG_PVH",
                       image->name);
    err = elf_load(job, &elf);
    if (err != ERR_OK)
        return err;
    if (entry < job->info->kernel_start || entry >= job->info->kernel_end || entry > UINT32_MAX)
        return err_new(ERR_INVAL,
                       "kernel '%s' is damaged: its PVH entry point 0x%" PRIx64
                       " lies outside of it",
                       image->name, entry);

    err = put_modules(job, &si, initrd_limit);
    if (err == ERR_OK)
        err = boot_put_cmdline(job, cmdline_max, &at);
    si.cmdline = at.v;
    if (err == ERR_OK)
        err = put_memory_map(job, &si);
    if (err == ERR_OK)
        err = boot_put_low(job, &si, sizeof(si), 16, &at);
    if (err == ERR_OK)
        err = boot_cpu_flat32(job, entry);
    if (err != ERR_OK)
        return err;
    job->state->gpr[RBX] = at.v;
    job->info->protocol = "pvh";
    job->info->entry = entry;
    return ERR_OK;
}
