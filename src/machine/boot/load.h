/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the boot protocols share: the job at hand, files, bytes of an image, places in guest memory
 * and the first CPU state. Private to src/machine/boot.
 *
 * Everything read from a file is hostile until its offset and length were held against the file's
 * size (image_has); every address is held against RAM before anything is written.
 */
#ifndef UMBRA_MACHINE_BOOT_LOAD_H
#define UMBRA_MACHINE_BOOT_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/boot/boot.h"

#define MIB (UINT64_C(1) << 20)

/* Boot data (tables, command line) lie here; page 0 stays as the firmware's data area, all zero. */
#define BOOT_LOW_START UINT64_C(0x1000)
#define BOOT_LOW_END   UINT64_C(0x90000)

/* Longest command line of images that do not say what they take, without the final NUL. */
#define BOOT_CMDLINE_MAX 4095u

/* Bytes of a file (or of what was unpacked from it), borrowed. name: for messages. */
struct boot_image {
    const char *name;
    const uint8_t *data;
    size_t size;
};

static inline bool image_has(const struct boot_image *image, uint64_t offset, uint64_t bytes)
{
    return offset <= image->size && bytes <= image->size - offset;
}

static inline uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t le32(const uint8_t *p)
{
    return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static inline uint64_t le64(const uint8_t *p)
{
    return le32(p) | (uint64_t)le32(p + 4) << 32;
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

/*
 * file.c
 * ------------------------------------------------------------------------------------------------
 */

/* what: "kernel" or "initrd", for messages. */
struct boot_file {
    const char *what;
    const char *path;
    int fd;
    uint64_t size;
};

/* Opens a regular file that is not empty; ERR_INVAL says what is wrong with it. */
enum err boot_file_open(struct boot_file *file, const char *what, const char *path) MUST_USE;
void boot_file_close(struct boot_file *file);

/* Reads exactly `bytes` at `offset`. */
enum err boot_file_read(const struct boot_file *file, uint64_t offset, void *buf,
                        size_t bytes) MUST_USE;

/*
 * space.c
 * -----------------------------------------------------------------------------------------------
 */

/* Memory map entry types, the same numbers in E820, PVH and Multiboot (ACPI 6.4 table 15.2). */
enum memmap_type { MEMMAP_RAM = 1, MEMMAP_RESERVED = 2 };

struct memmap_entry {
    uint64_t start, bytes;
    enum memmap_type type;
};

#define MEMMAP_MAX 8

/* What the guest is told about its memory, ascending; answers the number of entries. */
unsigned boot_memmap(const struct guest_mem *mem, struct memmap_entry map[MEMMAP_MAX]);

/* End of the RAM that starts at address 0. */
uint64_t boot_low_ram_end(const struct guest_mem *mem);

/* Is all of it RAM by the memory map: not the reserved part below 1 MiB, not the hole? */
bool boot_is_usable(const struct guest_mem *mem, uint64_t start, uint64_t bytes);

#define BOOT_CLAIMS_MAX 96

/* One boot being put together. Claims: what is taken, in no order. */
struct boot_job {
    const struct boot_config *config;
    struct x86_state *state;
    struct boot_info *info;
    struct {
        uint64_t start, end;
    } claims[BOOT_CLAIMS_MAX];
    unsigned claims_used;
};

/*
 * ERR_INVAL because `what` at path `name` takes RAM up to need_end, which the guest has not: says
 * how much --memory would do, or that none would.
 */
enum err boot_no_room(const struct boot_job *job, const char *what, const char *name,
                      uint64_t need_end) MUST_USE;

/*
 * Takes [start, start + bytes) for the kernel and widens info->kernel_*. ERR_INVAL when it is taken
 * or no RAM: says how much --memory it takes where that helps.
 */
enum err boot_claim_kernel(struct boot_job *job, const char *name, uint64_t start,
                           uint64_t bytes) MUST_USE;

/* Is any of [start, end) taken? */
bool boot_is_taken(const struct boot_job *job, uint64_t start, uint64_t end);

/* Finds and takes the lowest free place for boot data; align: a power of two. */
enum err boot_place_low(struct boot_job *job, uint64_t bytes, uint64_t align, gpa_t *out) MUST_USE;

/* Copies into guest memory; zero pages of the source cost the host nothing. */
enum err boot_write(struct boot_job *job, uint64_t gpa, const void *buf, uint64_t bytes) MUST_USE;
enum err boot_zero(struct boot_job *job, uint64_t gpa, uint64_t bytes) MUST_USE;

/* bios_data.c: after the kernel, whose place is not touched. */
enum err boot_put_bios_data(struct boot_job *job) MUST_USE;

/* boot_place_low and boot_write in one. */
enum err boot_put_low(struct boot_job *job, const void *buf, uint64_t bytes, uint64_t align,
                      gpa_t *out) MUST_USE;

/* The append string as NUL-terminated boot data; max: longest the kernel takes, without the NUL. */
enum err boot_put_cmdline(struct boot_job *job, uint64_t max, gpa_t *out) MUST_USE;

/*
 * Loads the initrd, if there is one, as high as there is room below `limit` (exclusive), page
 * aligned, and sets info->initrd_*. Call after the kernel's claims.
 */
enum err boot_load_initrd(struct boot_job *job, uint64_t limit) MUST_USE;

/*
 * cpu.c
 * -------------------------------------------------------------------------------------------------
 */

/* Selectors of the boot GDT: the ones Linux asks for (__BOOT_CS, __BOOT_DS, __BOOT_TSS). */
#define BOOT_CS  0x10
#define BOOT_DS  0x18
#define BOOT_TSS 0x20

/*
 * 32-bit protected mode, paging and interrupts off, flat segments from a GDT put into low memory,
 * all general registers zero but RIP.
 */
enum err boot_cpu_flat32(struct boot_job *job, uint64_t entry) MUST_USE;

/* 64-bit mode with the first 4 GiB identity mapped. Otherwise the same. */
enum err boot_cpu_long64(struct boot_job *job, uint64_t entry) MUST_USE;

/*
 * unpack.c
 * ----------------------------------------------------------------------------------------------
 */

/*
 * Does the name fit the magic number at the start of a compressed stream? NULL: none that is known.
 */
const char *unpack_format_name(const uint8_t *data, size_t size);

/*
 * Unpacks a kernel payload (LZ4 legacy, gzip, xz, zstd, LZMA) into *out, malloced, owned by the
 * caller. The payload's last four bytes say the unpacked size; max_bytes bounds it.
 * ERR_UNSUPPORTED: a format we do not unpack. ERR_INVAL: damaged or too large. ERR_NOMEM.
 */
enum err unpack_payload(const struct boot_image *payload, uint64_t max_bytes, uint8_t **out,
                        size_t *out_bytes) MUST_USE;

/*
 * The protocols
 * -----------------------------------------------------------------------------------------
 */

bool bzimage_matches(const struct boot_image *image);
enum err bzimage_load(struct boot_job *job, const struct boot_image *image) MUST_USE;

/* Linux kernel image already known to be sound: where its parts are (see bzimage.c). */
struct bzimage {
    const struct boot_image *image;
    uint16_t version;     /* of the boot protocol */
    uint64_t code_offset; /* of the protected-mode part in the file */
    uint64_t code_bytes;
    uint64_t load_address; /* for the protected-mode part */
    uint64_t memory_end;   /* unpacking itself, it uses memory up to here */
    uint64_t initrd_limit; /* exclusive */
    uint64_t cmdline_max;
    bool has_entry64;
};

/* The image unpacks itself, entered at its 64-bit or 32-bit entry point. */
enum err linux64_load(struct boot_job *job, const struct bzimage *bz) MUST_USE;
enum err linux32_load(struct boot_job *job, const struct bzimage *bz) MUST_USE;

/*
 * Loads an ELF image and enters it by its PVH note. limits: see boot_load_initrd and
 * boot_put_cmdline.
 */
enum err pvh_load(struct boot_job *job, const struct boot_image *image, uint64_t initrd_limit,
                  uint64_t cmdline_max) MUST_USE;

/* Is it an ELF image that has a PVH note? */
bool pvh_matches(const struct boot_image *image);

bool multiboot_matches(const struct boot_image *image);
enum err multiboot_load(struct boot_job *job, const struct boot_image *image) MUST_USE;

#endif
