/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/boot/boot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "machine/boot/elf_image.h"
#include "machine/boot/load.h"

/* Kernels with all their debug information stay below. */
#define KERNEL_FILE_MAX (UINT64_C(1) << 30)

static bool has_text(const struct boot_image *image, uint64_t offset, const char *text)
{
    size_t bytes = strlen(text);

    return image_has(image, offset, bytes) && memcmp(image->data + offset, text, bytes) == 0;
}

/* None of our protocols: say what it looks like, and what to do. */
static enum err refuse(const struct boot_image *image)
{
    const char *name = image->name;
    const char *packed = unpack_format_name(image->data, image->size);

    if (has_text(image, 0x38, "ARM\x64"))
        return err_new(ERR_INVAL, "kernel '%s' is made for arm64: give a kernel for x86", name);
    if (has_text(image, 0x30, "RISCV"))
        return err_new(ERR_INVAL, "kernel '%s' is made for RISC-V: give a kernel for x86", name);
    if (has_text(image, 0, "MZ"))
        return err_new(ERR_INVAL,
                       "kernel '%s' is an EFI program, or a Linux kernel that is cut off: give a "
                       "whole bzImage (vmlinuz)",
                       name);
    if (has_text(image, 0, "07070"))
        return err_new(
            ERR_INVAL,
            "kernel '%s' is a cpio archive: give it as --initrd, and a kernel as --kernel", name);
    if (packed)
        return err_new(ERR_INVAL,
                       "kernel '%s' is a file packed by %s: unpack it first, or give it as "
                       "--initrd if it is one",
                       name, packed);
    if (has_text(image, 0x1fe, "\x55\xaa"))
        return err_new(ERR_INVAL,
                       "kernel '%s' is a boot sector or disk image: give a Linux bzImage (vmlinuz)",
                       name);
    return err_new(ERR_INVAL,
                   "kernel '%s' is no kernel that can be started: give a Linux bzImage (vmlinuz) "
                   "for x86, an ELF file with a PVH note, or a Multiboot image",
                   name);
}

static enum err load_image(struct boot_job *job, const struct boot_image *image)
{
    if (bzimage_matches(image))
        return bzimage_load(job, image);
    /* a Multiboot image may be an ELF file, too, so this comes first */
    if (multiboot_matches(image))
        return multiboot_load(job, image);
    if (elf_is_elf(image))
        return pvh_load(job, image, MEM_HOLE_START, BOOT_CMDLINE_MAX);
    return refuse(image);
}

static enum err read_kernel(const char *path, struct boot_image *image, uint8_t **owned)
{
    struct boot_file file;
    uint8_t *data = NULL;

    enum err err = boot_file_open(&file, "kernel", path);
    if (err != ERR_OK)
        return err;
    if (file.size > KERNEL_FILE_MAX)
        err = err_new(ERR_INVAL,
                      "kernel '%s' has %" PRIu64 " MiB, more than any kernel: is it a disk image?",
                      path, file.size / MIB);
    else if (!(data = malloc(file.size)))
        err = err_errno(ERR_NOMEM, "cannot read kernel '%s' (%" PRIu64 " bytes)", path, file.size);
    else
        err = boot_file_read(&file, 0, data, file.size);
    boot_file_close(&file);
    if (err != ERR_OK) {
        free(data);
        return err;
    }
    *image = (struct boot_image){.name = path, .data = data, .size = file.size};
    *owned = data;
    return ERR_OK;
}

enum err boot_load(const struct boot_config *config, struct x86_state *state,
                   struct boot_info *info)
{
    struct boot_job job = {.config = config, .state = state, .info = info};
    struct boot_image image;
    uint8_t *owned;

    *info = (struct boot_info){0};
    enum err err = read_kernel(config->kernel, &image, &owned);
    if (err != ERR_OK)
        return err;
    err = load_image(&job, &image);
    free(owned);
    return err != ERR_OK ? err : boot_put_bios_data(&job);
}
