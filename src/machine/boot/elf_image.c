/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/boot/elf_image.h"

#include <elf.h>
#include <string.h>

/* Far above what linkers make; they bound the work that a hostile file can ask for. */
#define HEADERS_MAX 256u
#define NOTES_MAX   MIB

bool elf_is_elf(const struct boot_image *image)
{
    return image_has(image, 0, SELFMAG) && memcmp(image->data, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(uint16_t machine)
{
    switch (machine) {
    case EM_AARCH64:
        return "arm64";
    case EM_ARM:
        return "32-bit ARM";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC:
    case EM_PPC64:
        return "PowerPC";
    case EM_S390:
        return "s390";
    case EM_MIPS:
        return "MIPS";
    default:
        return "another architecture";
    }
}

enum err elf_open(struct elf_image *elf, const struct boot_image *image)
{
    const uint8_t *data = image->data;
    uint16_t type, machine, entry_bytes, want_bytes;

    if (!image_has(image, 0, sizeof(Elf32_Ehdr)))
        return err_new(ERR_INVAL, "kernel '%s' is truncated: its ELF header is cut off",
                       image->name);
    /* big-endian files say the machine in the other byte order */
    machine = data[EI_DATA] == ELFDATA2MSB ? (uint16_t)(data[18] << 8 | data[19]) : le16(data + 18);
    type = le16(data + 16);
    if (machine != EM_386 && machine != EM_X86_64)
        return err_new(ERR_INVAL, "kernel '%s' is made for %s: give a kernel for x86", image->name,
                       machine_name(machine));
    if (data[EI_DATA] != ELFDATA2LSB ||
        (data[EI_CLASS] != ELFCLASS32 && data[EI_CLASS] != ELFCLASS64))
        return err_new(ERR_INVAL, "kernel '%s' is damaged: its ELF header makes no sense",
                       image->name);
    if (type != ET_EXEC && type != ET_DYN)
        return err_new(ERR_INVAL,
                       "kernel '%s' is an ELF file, but not a linked program: link it first",
                       image->name);

    *elf = (struct elf_image){.image = image, .is_64 = data[EI_CLASS] == ELFCLASS64};
    if (elf->is_64) {
        if (!image_has(image, 0, sizeof(Elf64_Ehdr)))
            return err_new(ERR_INVAL, "kernel '%s' is truncated: its ELF header is cut off",
                           image->name);
        elf->entry = le64(data + offsetof(Elf64_Ehdr, e_entry));
        elf->headers = le64(data + offsetof(Elf64_Ehdr, e_phoff));
        entry_bytes = le16(data + offsetof(Elf64_Ehdr, e_phentsize));
        elf->count = le16(data + offsetof(Elf64_Ehdr, e_phnum));
        want_bytes = sizeof(Elf64_Phdr);
    } else {
        elf->entry = le32(data + offsetof(Elf32_Ehdr, e_entry));
        elf->headers = le32(data + offsetof(Elf32_Ehdr, e_phoff));
        entry_bytes = le16(data + offsetof(Elf32_Ehdr, e_phentsize));
        elf->count = le16(data + offsetof(Elf32_Ehdr, e_phnum));
        want_bytes = sizeof(Elf32_Phdr);
    }
    if (elf->count > HEADERS_MAX)
        return err_new(ERR_INVAL, "kernel '%s' has %u program headers: more than %u is no kernel",
                       image->name, elf->count, HEADERS_MAX);
    if (elf->count == 0)
        return err_new(ERR_INVAL,
                       "kernel '%s' is an ELF file without program headers: link it as a program",
                       image->name);
    if (entry_bytes != want_bytes)
        return err_new(ERR_INVAL, "kernel '%s' is damaged: its ELF header makes no sense",
                       image->name);
    if (!image_has(image, elf->headers, (uint64_t)elf->count * want_bytes))
        return err_new(ERR_INVAL, "kernel '%s' is truncated: its program headers are cut off",
                       image->name);
    return ERR_OK;
}

struct elf_segment elf_segment(const struct elf_image *elf, unsigned i)
{
    const uint8_t *at = elf->image->data + elf->headers;

    if (elf->is_64) {
        at += i * sizeof(Elf64_Phdr);
        return (struct elf_segment){
            .type = le32(at + offsetof(Elf64_Phdr, p_type)),
            .offset = le64(at + offsetof(Elf64_Phdr, p_offset)),
            .vaddr = le64(at + offsetof(Elf64_Phdr, p_vaddr)),
            .paddr = le64(at + offsetof(Elf64_Phdr, p_paddr)),
            .file_bytes = le64(at + offsetof(Elf64_Phdr, p_filesz)),
            .memory_bytes = le64(at + offsetof(Elf64_Phdr, p_memsz)),
            .align = le64(at + offsetof(Elf64_Phdr, p_align)),
        };
    }
    at += i * sizeof(Elf32_Phdr);
    return (struct elf_segment){
        .type = le32(at + offsetof(Elf32_Phdr, p_type)),
        .offset = le32(at + offsetof(Elf32_Phdr, p_offset)),
        .vaddr = le32(at + offsetof(Elf32_Phdr, p_vaddr)),
        .paddr = le32(at + offsetof(Elf32_Phdr, p_paddr)),
        .file_bytes = le32(at + offsetof(Elf32_Phdr, p_filesz)),
        .memory_bytes = le32(at + offsetof(Elf32_Phdr, p_memsz)),
        .align = le32(at + offsetof(Elf32_Phdr, p_align)),
    };
}

static enum err load_segment(struct boot_job *job, const struct boot_image *image,
                             const struct elf_segment *segment)
{
    enum err err;

    if (segment->file_bytes > segment->memory_bytes)
        return err_new(ERR_INVAL,
                       "kernel '%s' is damaged: a segment is larger in the file than in memory",
                       image->name);
    if (!image_has(image, segment->offset, segment->file_bytes))
        return err_new(ERR_INVAL,
                       "kernel '%s' is truncated: a segment ends beyond the end of the file",
                       image->name);
    err = boot_claim_kernel(job, image->name, segment->paddr, segment->memory_bytes);
    if (err == ERR_OK)
        err = boot_write(job, segment->paddr, image->data + segment->offset, segment->file_bytes);
    if (err == ERR_OK)
        err = boot_zero(job, segment->paddr + segment->file_bytes,
                        segment->memory_bytes - segment->file_bytes);
    return err;
}

/* Asked first, so that the message about too little memory names the whole need. */
static enum err check_end(struct boot_job *job, const struct elf_image *elf)
{
    uint64_t ram_end = boot_low_ram_end(job->config->mem), end = 0;

    for (unsigned i = 0; i < elf->count; i++) {
        struct elf_segment s = elf_segment(elf, i);
        uint64_t its_end;
        if (s.type != PT_LOAD || __builtin_add_overflow(s.paddr, s.memory_bytes, &its_end))
            continue;
        if (its_end > end && s.paddr < MEM_HOLE_START)
            end = its_end;
    }
    return end > ram_end ? boot_no_room(job, "kernel", elf->image->name, end) : ERR_OK;
}

enum err elf_load(struct boot_job *job, const struct elf_image *elf)
{
    enum err err = check_end(job, elf);

    for (unsigned i = 0; i < elf->count && err == ERR_OK; i++) {
        struct elf_segment s = elf_segment(elf, i);
        if (s.type == PT_LOAD)
            err = load_segment(job, elf->image, &s);
    }
    if (err == ERR_OK && job->info->kernel_end == 0)
        err = err_new(ERR_INVAL, "kernel '%s' has nothing to load: no segment of it takes memory",
                      elf->image->name);
    return err;
}

uint64_t elf_physical_entry(const struct elf_image *elf)
{
    for (unsigned i = 0; i < elf->count; i++) {
        struct elf_segment s = elf_segment(elf, i);
        if (s.type == PT_LOAD && elf->entry >= s.vaddr && elf->entry - s.vaddr < s.memory_bytes)
            return elf->entry - s.vaddr + s.paddr;
    }
    return elf->entry;
}

const uint8_t *elf_find_note(const struct elf_image *elf, const char *owner, uint32_t type,
                             uint32_t *desc_bytes)
{
    const struct boot_image *image = elf->image;
    const size_t owner_bytes = strlen(owner) + 1;

    for (unsigned i = 0; i < elf->count; i++) {
        struct elf_segment s = elf_segment(elf, i);
        uint64_t align = s.align == 8 ? 8 : 4;
        if (s.type != PT_NOTE || !image_has(image, s.offset, s.file_bytes) ||
            s.file_bytes > NOTES_MAX)
            continue;
        const uint8_t *segment = image->data + s.offset;
        for (uint64_t at = 0; s.file_bytes - at >= sizeof(Elf32_Nhdr);) {
            const uint8_t *note = segment + at;
            uint32_t name_bytes = le32(note), size = le32(note + 4);
            uint64_t desc = align_up(at + sizeof(Elf32_Nhdr) + name_bytes, align);
            if (desc > s.file_bytes || size > s.file_bytes - desc)
                break;
            if (le32(note + 8) == type && name_bytes == owner_bytes &&
                memcmp(note + sizeof(Elf32_Nhdr), owner, owner_bytes) == 0) {
                *desc_bytes = size;
                return segment + desc;
            }
            at = align_up(desc + size, align);
            if (at > s.file_bytes)
                break;
        }
    }
    return NULL;
}
