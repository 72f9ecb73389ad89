/* SPDX-License-Identifier: Apache-2.0 */
#include "control/regdump.h"

#include <inttypes.h>

#define CODE_BYTES 16

static void print_segment(FILE *out, const char *name, const struct x86_segment *s)
{
    fprintf(out, "  %-4s %04x base %016" PRIx64 " limit %08x attr %05x\n", name, s->selector,
            s->base, s->limit, s->attr);
}

static void print_code(FILE *out, const struct x86_state *s, struct guest_mem *mem, struct mmu *mmu)
{
    uint64_t linear = s->rip + s->seg[SEG_CS].base;

    fputs("  code at RIP:", out);
    for (unsigned i = 0; i < CODE_BYTES; i++) {
        uint8_t byte;
        gpa_t gpa;

        if (!mmu_probe(mmu, gva_make(linear + i), &gpa) || !mem_read(mem, gpa, &byte, 1)) {
            fputs(i ? " .." : " not mapped", out);
            break;
        }
        fprintf(out, " %02x", byte);
    }
    fputc('\n', out);
}

void regdump_print(FILE *out, const struct x86_state *s, struct guest_mem *mem, struct mmu *mmu)
{
    static const char *const gpr[16] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                        "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
    static const char *const seg[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS"};

    fprintf(out, "  RIP %016" PRIx64 " RFLAGS %08" PRIx64 "%s\n", s->rip, s->rflags,
            s->halted ? " halted" : "");
    for (unsigned i = 0; i < 16; i++)
        fprintf(out, "%s%-3s %016" PRIx64 "%s", i % 4 ? " " : "  ", gpr[i], s->gpr[i],
                i % 4 == 3 ? "\n" : "");
    for (unsigned i = 0; i < SEG_COUNT; i++)
        print_segment(out, seg[i], &s->seg[i]);
    print_segment(out, "LDTR", &s->ldtr);
    print_segment(out, "TR", &s->tr);
    fprintf(out, "  GDTR base %016" PRIx64 " limit %04x  IDTR base %016" PRIx64 " limit %04x\n",
            s->gdtr.base, s->gdtr.limit, s->idtr.base, s->idtr.limit);
    fprintf(out,
            "  CR0 %08" PRIx64 " CR2 %016" PRIx64 " CR3 %016" PRIx64 " CR4 %08" PRIx64
            " EFER %04" PRIx64 "\n",
            s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
    if (mem && mmu)
        print_code(out, s, mem, mmu);
}
