/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things go in guest memory.
 *
 *   0        0x1000            0x90000  0x9fc00     0x100000                      3 GiB   4 GiB
 *   | unused | tables, cmdline | unused | reserved, | kernel ...  initrd (high) | hole  | RAM
 *                                         ACPI
 */
#include "machine/boot/load.h"

#include <inttypes.h>
#include <string.h>

#define HIGH_START UINT64_C(0x100000)

uint64_t boot_low_ram_end(const struct guest_mem *mem)
{
    const struct mem_slot *slot = mem_find_slot(mem, gfn_make(0));

    return slot ? gfn_gpa(gfn_make(slot->base_gfn.v + slot->pages)).v : 0;
}

unsigned boot_memmap(const struct guest_mem *mem, struct memmap_entry map[MEMMAP_MAX])
{
    uint64_t low_end = boot_low_ram_end(mem);
    unsigned n = 0;
    size_t slots;
    const struct mem_slot *slot = mem_slots(mem, &slots);

    map[n++] = (struct memmap_entry){0, BOOT_EBDA_START, MEMMAP_RAM};
    map[n++] =
        (struct memmap_entry){BOOT_EBDA_START, HIGH_START - BOOT_EBDA_START, MEMMAP_RESERVED};
    if (low_end > HIGH_START)
        map[n++] = (struct memmap_entry){HIGH_START, low_end - HIGH_START, MEMMAP_RAM};
    for (size_t i = 0; i < slots && n < MEMMAP_MAX; i++)
        if (slot[i].base_gfn.v != 0)
            map[n++] = (struct memmap_entry){gfn_gpa(slot[i].base_gfn).v,
                                             slot[i].pages << PAGE_SHIFT, MEMMAP_RAM};
    return n;
}

bool boot_is_usable(const struct guest_mem *mem, uint64_t start, uint64_t bytes)
{
    struct memmap_entry map[MEMMAP_MAX];
    unsigned n = boot_memmap(mem, map);

    for (unsigned i = 0; i < n; i++)
        if (map[i].type == MEMMAP_RAM && start >= map[i].start && bytes <= map[i].bytes &&
            start - map[i].start <= map[i].bytes - bytes)
            return true;
    return false;
}

enum err boot_no_room(const struct boot_job *job, const char *what, const char *name,
                      uint64_t need_end)
{
    const struct guest_mem *mem = job->config->mem;
    uint64_t size = mem_size_bytes(mem);

    if (need_end > MEM_HOLE_START)
        return err_new(ERR_INVAL,
                       "%s '%s' needs memory up to address 0x%" PRIx64
                       ", but the guest has none from 0x%" PRIx64 " to 0x%" PRIx64
                       ": use a smaller one",
                       what, name, need_end, MEM_HOLE_START, MEM_HOLE_END);
    return err_new(ERR_INVAL,
                   "%s '%s' does not fit into %" PRIu64
                   " MiB of guest memory: give at least --memory %" PRIu64 "M",
                   what, name, size / MIB, align_up(need_end, MIB) / MIB);
}

/* Is any of [start, end) taken? Then the first claim found is in *its_start, *its_end. */
static bool is_taken(const struct boot_job *job, uint64_t start, uint64_t end, uint64_t *its_start,
                     uint64_t *its_end)
{
    for (unsigned i = 0; i < job->claims_used; i++) {
        if (start < job->claims[i].end && job->claims[i].start < end) {
            *its_start = job->claims[i].start;
            *its_end = job->claims[i].end;
            return true;
        }
    }
    return false;
}

bool boot_is_taken(const struct boot_job *job, uint64_t start, uint64_t end)
{
    uint64_t its_start, its_end;

    return is_taken(job, start, end, &its_start, &its_end);
}

static enum err claim(struct boot_job *job, uint64_t start, uint64_t end)
{
    if (job->claims_used == BOOT_CLAIMS_MAX)
        return err_new(ERR_INVAL, "kernel '%s' has too many segments: more than %d",
                       job->config->kernel, BOOT_CLAIMS_MAX);
    job->claims[job->claims_used].start = start;
    job->claims[job->claims_used].end = end;
    job->claims_used++;
    return ERR_OK;
}

enum err boot_claim_kernel(struct boot_job *job, const char *name, uint64_t start, uint64_t bytes)
{
    struct boot_info *info = job->info;
    uint64_t end, taken_start, taken_end;

    if (bytes == 0)
        return ERR_OK;
    if (__builtin_add_overflow(start, bytes, &end) || end > UINT64_MAX - MIB)
        return err_new(ERR_INVAL,
                       "kernel '%s' is damaged: a part of it ends beyond the address space", name);
    if (!boot_is_usable(job->config->mem, start, bytes)) {
        if (start >= HIGH_START && start < MEM_HOLE_START)
            return boot_no_room(job, "kernel", name, end);
        return err_new(ERR_INVAL,
                       "kernel '%s' wants to be at 0x%" PRIx64 "..0x%" PRIx64
                       ", where the guest has no free RAM: link it at 0x%" PRIx64 " or above",
                       name, start, end, HIGH_START);
    }
    if (is_taken(job, start, end, &taken_start, &taken_end))
        return err_new(ERR_INVAL, "kernel '%s' is damaged: two of its segments overlap", name);
    if (info->kernel_end == 0 || start < info->kernel_start)
        info->kernel_start = start;
    if (end > info->kernel_end)
        info->kernel_end = end;
    return claim(job, start, end);
}

enum err boot_place_low(struct boot_job *job, uint64_t bytes, uint64_t align, gpa_t *out)
{
    uint64_t at = align_up(BOOT_LOW_START, align);
    uint64_t taken_start, taken_end;

    while (at < BOOT_LOW_END && is_taken(job, at, at + bytes, &taken_start, &taken_end))
        at = align_up(taken_end, align);
    if (at >= BOOT_LOW_END || bytes > BOOT_LOW_END - at)
        return err_new(ERR_INVAL,
                       "kernel '%s' leaves no room for boot data below 0x%" PRIx64
                       ": link it at 0x%" PRIx64 " or above",
                       job->config->kernel, BOOT_LOW_END, HIGH_START);
    *out = gpa_make(at);
    return claim(job, at, at + bytes);
}

/* Highest free page-aligned place in [1 MiB, limit). */
static bool place_high(struct boot_job *job, uint64_t bytes, uint64_t limit, uint64_t *out)
{
    uint64_t end = limit & PAGE_MASK;
    uint64_t taken_start, taken_end;

    bytes = align_up(bytes, PAGE_SIZE);
    while (end >= HIGH_START && bytes <= end - HIGH_START) {
        if (!is_taken(job, end - bytes, end, &taken_start, &taken_end)) {
            *out = end - bytes;
            return true;
        }
        end = taken_start & PAGE_MASK;
    }
    return false;
}

static bool is_zero_page(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, PAGE_SIZE - 1) == 0;
}

/* The callers of both have checked that this is RAM: what fails now is the host. */
enum err boot_zero(struct boot_job *job, uint64_t gpa, uint64_t bytes)
{
    return bytes == 0 || mem_fill_zero(job->config->mem, gpa_make(gpa), bytes) ? ERR_OK : ERR_NOMEM;
}

enum err boot_write(struct boot_job *job, uint64_t gpa, const void *buf, uint64_t bytes)
{
    const uint8_t *from = buf;
    enum err err = ERR_OK;

    while (bytes > 0 && err == ERR_OK) {
        uint64_t n = PAGE_SIZE - (gpa & (PAGE_SIZE - 1));
        if (n > bytes)
            n = bytes;
        if (n == PAGE_SIZE && is_zero_page(from))
            err = boot_zero(job, gpa, n);
        else
            err = mem_write(job->config->mem, gpa_make(gpa), from, n) ? ERR_OK : ERR_NOMEM;
        gpa += n;
        from += n;
        bytes -= n;
    }
    return err;
}

enum err boot_put_low(struct boot_job *job, const void *buf, uint64_t bytes, uint64_t align,
                      gpa_t *out)
{
    enum err err = boot_place_low(job, bytes, align, out);

    return err != ERR_OK ? err : boot_write(job, out->v, buf, bytes);
}

enum err boot_put_cmdline(struct boot_job *job, uint64_t max, gpa_t *out)
{
    size_t length = strlen(job->config->append);

    if (length > max)
        return err_new(ERR_INVAL,
                       "--append has %zu characters, but kernel '%s' takes at most %" PRIu64
                       ": shorten it",
                       length, job->config->kernel, max);
    return boot_put_low(job, job->config->append, length + 1, 16, out);
}

static enum err copy_file_in(struct boot_job *job, const struct boot_file *file, uint64_t gpa)
{
    uint8_t buf[16 * PAGE_SIZE];

    for (uint64_t done = 0; done < file->size;) {
        uint64_t n = file->size - done < sizeof(buf) ? file->size - done : sizeof(buf);
        enum err err = boot_file_read(file, done, buf, n);
        if (err == ERR_OK)
            err = boot_write(job, gpa + done, buf, n);
        if (err != ERR_OK)
            return err;
        done += n;
    }
    return ERR_OK;
}

enum err boot_load_initrd(struct boot_job *job, uint64_t limit)
{
    uint64_t ram_end = boot_low_ram_end(job->config->mem);
    struct boot_file file;
    uint64_t at;
    enum err err;

    if (!job->config->initrd)
        return ERR_OK;
    err = boot_file_open(&file, "initrd", job->config->initrd);
    if (err != ERR_OK)
        return err;

    if (file.size >= MEM_HOLE_START) {
        err = boot_no_room(job, "initrd", file.path, file.size);
    } else if (!place_high(job, file.size, limit < ram_end ? limit : ram_end, &at)) {
        uint64_t kernel_end =
            job->info->kernel_end > HIGH_START ? job->info->kernel_end : HIGH_START;
        uint64_t need = align_up(kernel_end, PAGE_SIZE) + align_up(file.size, PAGE_SIZE);
        err = need > limit && need <= MEM_HOLE_START
                  ? err_new(ERR_INVAL,
                            "initrd '%s' of %" PRIu64
                            " MiB is too large for this kernel, which wants it below 0x%" PRIx64
                            ": use a smaller one",
                            file.path, file.size / MIB, limit)
                  : boot_no_room(job, "initrd", file.path, need);
    } else {
        err = claim(job, at, at + file.size);
        if (err == ERR_OK)
            err = copy_file_in(job, &file, at);
        job->info->initrd_start = at;
        job->info->initrd_end = at + file.size;
    }
    boot_file_close(&file);
    return err;
}
