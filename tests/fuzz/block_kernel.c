/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine of the block fuzzer begins with: address spaces, a small kernel, code and data. */
#include <string.h>

#include "block_world.h"
#include "insn.h"

/* --- tables --- */

uint64_t entry_of(struct world *w, unsigned space, uint64_t va)
{
    uint64_t table = w->root[space], entry;

    for (int level = 3; level > 0; level--) {
        uint64_t at = table + ((va >> (12 + 9 * level)) & 511) * 8;

        if (!mem_read(w->mem, gpa_make(at), &entry, 8))
            return 0;
        if (!entry) {
            entry = w->next_table | 7;
            w->next_table += 0x1000;
            if (!poke64(w, at, entry))
                return 0;
        }
        table = entry & ~UINT64_C(0xfff);
    }
    return table + ((va >> 12) & 511) * 8;
}

static bool map(struct world *w, unsigned space, uint64_t va, uint64_t entry)
{
    uint64_t at = entry_of(w, space, va);

    return at && poke64(w, at, entry);
}

uint64_t data_frame(unsigned space, unsigned page)
{
    return DATA_GPA + 4096 * ((page * 5 + space * 2) % DATA_POOL);
}

static bool make_space(struct world *w, unsigned space, bool code_writable)
{
    bool ok = true;

    w->root[space] = w->next_table;
    w->next_table += 0x1000;
    for (uint64_t a = 0; a < KERNEL_END; a += 4096)
        ok = ok && map(w, space, KERNEL_VA + a, a | 0x63);
    for (unsigned n = 0; n < CODE_PAGES; n++)
        ok = ok &&
             map(w, space, CODE_VA + 4096 * n, (CODE_GPA + 4096 * n) | (code_writable ? 7 : 5)) &&
             map(w, space, ALIAS_VA + 4096 * n, (CODE_GPA + 4096 * n) | 7);
    for (unsigned n = 0; n < DATA_PAGES; n++)
        ok = ok && map(w, space, DATA_VA + 4096 * n,
                       n == HOLE_PAGE ? 0 : data_frame(space, n) | (n == RO_PAGE ? 5 : 7));
    return ok && map(w, space, KERNEL_PAGE_VA, data_frame(space, DATA_PAGES) | 3) &&
           map(w, space, DEVICE_VA, DEVICE_GPA | 0x17) &&
           map(w, space, TABLE_VA, (entry_of(w, space, DATA_VA) & ~UINT64_C(0xfff)) | 7);
}

/* Behind the stub has pushed error code and vector. */
extern const uint8_t handler[], handler_end[];
__asm__(".pushsection .rodata\nhandler:\n"
        "push %r15; push %r14; push %r13; push %r12; push %r11; push %r10; push %r9; push %r8\n"
        "push %rdi; push %rsi; push %rbp; push %rbx; push %rdx; push %rcx; push %rax\n"
        "cld; out %al, $0x80\n"                    /* PORT_EVENT */
        "in $0x84, %eax; test %eax, %eax; jz 1f\n" /* PORT_CR3 */
        "mov %eax, %ecx; in $0x85, %eax; shl $32, %rax; or %rcx, %rax; mov %rax, %cr3\n"
        "1: in $0x88, %eax; test %eax, %eax; jz 2f; invlpg (%rax)\n" /* PORT_PAGE */
        "2: pop %rax; pop %rcx; pop %rdx; pop %rbx; pop %rbp; pop %rsi; pop %rdi\n"
        "pop %r8; pop %r9; pop %r10; pop %r11; pop %r12; pop %r13; pop %r14; pop %r15\n"
        "add $16, %rsp; iretq\nhandler_end:\n.popsection\n");

static bool make_kernel(struct world *w)
{
    static const uint64_t gdt[] = {0,
                                   0x00af9b000000ffff,
                                   0x00cf93000000ffff,
                                   0x00cf9b000000ffff,
                                   0x00cffb000000ffff,
                                   0x00cff3000000ffff,
                                   0x00affb000000ffff,
                                   0x2040f302000003ff, /* DS_SMALL: from DATA_VA on */
                                   0x008ff3000000ffff,
                                   0x20cff3020180ffff};
    const uint64_t ist[2] = {KERNEL_VA + STACK_GPA + 0x2000, KERNEL_VA + STACK_GPA + 0x4000};
    bool ok = poke(w, GDT_GPA, gdt, sizeof gdt) &&
              poke(w, HANDLER_GPA, handler, (size_t)(handler_end - handler)) &&
              poke(w, TSS_GPA + 36, ist, sizeof ist);

    for (unsigned v = 0; v < 256; v++) {
        bool has_error = v == 8 || (v >= 10 && v <= 14) || v == 17;
        uint64_t at = STUBS_GPA + 16 * v, stub = KERNEL_VA + at;
        uint8_t code[12] = {0x6a, 0, 0x68, (uint8_t)v, 0, 0, 0, 0xe9};
        uint32_t distance = (uint32_t)(HANDLER_GPA - (at + sizeof code));

        memcpy(code + 8, &distance, 4);
        if (has_error)
            code[0] = code[1] = 0x90;
        /* 64-bit interrupt gate, DPL 3, first IST stack, the NMI's is the second */
        ok = ok && poke(w, at, code, sizeof code) &&
             poke64(w, IDT_GPA + 16 * v,
                    (stub & 0xffff) | CS_KERNEL << 16 | (v == VEC_NMI ? UINT64_C(2) : 1) << 32 |
                        UINT64_C(0xee) << 40 | (stub >> 16 & 0xffff) << 48) &&
             poke64(w, IDT_GPA + 16 * v + 8, stub >> 32);
    }
    return ok;
}

static struct x86_segment flat(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){.limit = UINT32_MAX, .attr = attr, .selector = selector};
}

void kernel_state(struct world *w, struct x86_state *s)
{
    struct dice *d = &w->dice;
    struct frame f = {.rip = 0};

    x86_state_reset(s);
    enter_anew(w, &f);
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = i < RSP ? f.gpr[i] : i == RSP ? f.rsp : f.gpr[i - 1];
    s->rip = f.rip;
    s->rflags = RFLAGS_ONE | RFLAGS_IF;
    s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG;
    if (dice_percent(d, 80))
        s->cr0 |= CR0_WP;
    if (dice_percent(d, 50))
        s->cr0 |= CR0_AM;
    s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | (dice_next(d) & (CR4_SMAP | CR4_FSGSBASE));
    if (w->pcid)
        s->cr4 |= CR4_PCIDE;
    s->cr3 = w->root[0] | (w->pcid ? 1 : 0);
    s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    s->star = (uint64_t)(CS_USER - 16) << 48 | (uint64_t)CS_KERNEL << 32;
    s->lstar = CODE_VA + (dice_percent(d, 80) ? w->program.system_call
                                              : w->program.start[dice_below(d, w->program.starts)]);
    s->sfmask = dice_percent(d, 70) ? 0x257fd5 : dice_next(d) & 0x257fd5;
    s->gdtr = (struct x86_table){.base = KERNEL_VA + GDT_GPA, .limit = 10 * 8 - 1};
    s->idtr = (struct x86_table){.base = KERNEL_VA + IDT_GPA, .limit = 4095};
    s->tr = (struct x86_segment){
        .base = KERNEL_VA + TSS_GPA, .limit = 0x67, .attr = 0x8b, .selector = 0x40};
    for (int i = 0; i < SEG_COUNT; i++)
        s->seg[i] = flat(DS_USER, 0xc0f3);
    s->seg[SEG_CS] = w->program.narrow ? flat(CS_USER_32, 0xc0fb) : flat(CS_USER, 0xa0fb);
    s->seg[SEG_FS].base = FS_VA;
    s->seg[SEG_GS].base = GS_VA;
    if (dice_percent(d, 50)) {
        uint8_t fx[512];

        gen_fpu(fx, &d->s);
        memcpy(s->fpu, fx, 416);
    }
}

static bool fill(struct world *w)
{
    uint8_t data[DATA_BYTES];
    bool ok = poke(w, CODE_GPA, w->program.code, CODE_BYTES);

    for (unsigned n = 0; w->tracked && n < DATA_POOL; n++) {
        mem_track_set(w->mem, gfn_make(CODE_GPA / 4096 + n), TRACK_OWN);
        mem_track_set(w->mem, gfn_make(DATA_GPA / 4096 + n), TRACK_OWN);
    }
    for (unsigned n = 0; n < DATA_POOL; n++) {
        gen_data(data, w->config.seed + n);
        ok = ok && poke(w, DATA_GPA + 4096 * n, data, 4096);
    }
    return ok;
}

bool kernel_make(struct world *w)
{
    bool writable = dice_percent(&w->dice, 60), ok = true;

    w->next_table = TABLES_GPA;
    for (unsigned space = 0; space < SPACES; space++)
        ok = ok && make_space(w, space, writable);
    return ok && make_kernel(w) && fill(w);
}
