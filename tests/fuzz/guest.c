/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side: one vCPU without a machine. 4-level tables map CODE and DATA for user code
 * where the host has them; every exception vector leads to a HLT of its own at CPL 0, so that a
 * halted vCPU tells how the case ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cpu/engine.h"
#include "insn.h"
#include "no_devices.h"

#define GUEST_BYTES (UINT64_C(16) << 20)
#define CODE_GPA    UINT64_C(0x400000)
#define DATA_GPA    UINT64_C(0x500000)
#define TABLES_GPA  UINT64_C(0x100000)
#define IDT_GPA     UINT64_C(0x10000)
#define GDT_GPA     UINT64_C(0x11000)
#define TSS_GPA     UINT64_C(0x12000)
#define STUBS_GPA   UINT64_C(0x13000) /* 16 bytes a vector */
#define STACK_GPA   UINT64_C(0x20000)

/* supervisor pages, away from every address that a case aims at */
#define KERNEL_VA UINT64_C(0xffffffff80000000)

#define CS_KERNEL 0x08
#define CS_USER32 0x23
#define DS_USER   0x2b
#define CS_USER64 0x33
#define TSS_SEL   0x40

static struct guest_mem *mem;
static struct vcpu *vcpu;
static struct x86_state base_state;
static uint8_t *code, *data_hva;

static uint64_t poll(void *arg)
{
    (void)arg;
    return 100000;
}

static const struct cpu_bus bus = {NO_DEVICES, .poll = poll};

static bool put(uint64_t gpa, const void *bytes, size_t n)
{
    return mem_write(mem, gpa_make(gpa), bytes, n);
}

static bool put64(uint64_t gpa, uint64_t v)
{
    return put(gpa, &v, sizeof v);
}

/* Maps one 4 KiB page; tables are taken from a bump allocator behind TABLES_GPA. */
static bool map_page(uint64_t va, uint64_t gpa, uint64_t flags)
{
    static uint64_t next_table = TABLES_GPA + 0x1000;
    uint64_t table = TABLES_GPA;
    for (int level = 3; level > 0; level--) {
        uint64_t at = table + ((va >> (12 + 9 * level)) & 511) * 8, entry;
        if (!mem_read(mem, gpa_make(at), &entry, 8))
            return false;
        if (!entry) {
            entry = next_table | 7;
            next_table += 0x1000;
            if (!put64(at, entry))
                return false;
        }
        table = entry & ~UINT64_C(0xfff);
    }
    return put64(table + ((va >> 12) & 511) * 8, gpa | flags);
}

static struct x86_segment flat(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){.limit = 0xffffffff, .attr = attr, .selector = selector};
}

static bool build_tables(void)
{
    static const uint64_t gdt[] = {0,
                                   0x00af9b000000ffff,
                                   0x00cf93000000ffff,
                                   0,
                                   0x00cffb000000ffff,
                                   0x00cff3000000ffff,
                                   0x00affb000000ffff};
    static const uint8_t hlt = 0xf4;
    static const uint16_t no_io_map = 0x68;
    bool ok = put(GDT_GPA, gdt, sizeof gdt);
    for (unsigned v = 0; v < 32; v++) {
        uint64_t stub = KERNEL_VA + STUBS_GPA + 16 * v;
        /* 64-bit interrupt gate, DPL 3 so that INT3 and INTO may pass */
        ok = ok &&
             put64(IDT_GPA + 16 * v, (stub & 0xffff) | CS_KERNEL << 16 | UINT64_C(0xee) << 40 |
                                         (stub >> 16 & 0xffff) << 48) &&
             put64(IDT_GPA + 16 * v + 8, stub >> 32) && put(STUBS_GPA + 16 * v, &hlt, 1);
    }
    ok = ok && put64(TSS_GPA + 4, KERNEL_VA + STACK_GPA) && put(TSS_GPA + 102, &no_io_map, 2);
    for (uint64_t a = 0; a < 0x40000; a += 4096)
        ok = ok && map_page(KERNEL_VA + a, a, 0x63);
    ok = ok && map_page(CODE_BASE, CODE_GPA, 0x65);
    for (uint64_t a = 0; a < DATA_BYTES; a += 4096)
        ok = ok && map_page(DATA_BASE + a, DATA_GPA + a, a < RW_BYTES ? 0x67 : 0x65);
    return ok;
}

static uint8_t *host_page(uint64_t gpa)
{
    hva_t hva;
    bool writable;
    if (mem_make_resident(mem, gpa_gfn(gpa_make(gpa)), MEM_FOR_WRITE, &hva, &writable) != MEM_OK)
        return NULL;
    return hva_ptr(hva);
}

bool guest_setup(const char *engine)
{
    const struct engine_ops *ops = engine_find(engine);
    const struct vcpu_config config = {
        .bus = &bus, .tsc_khz = 1000000, .features = CPU_FEATURES_DEFAULT, .hot_runs = 1};
    struct vcpu_config with_mem = config;
    if (!ops || mem_create(&mem, GUEST_BYTES) != ERR_OK)
        goto fail;
    with_mem.mem = mem;
    if (ops->create(&vcpu, &with_mem) != ERR_OK || !build_tables())
        goto fail;
    static const uint8_t zeros[4096];
    for (uint64_t a = 0; a < DATA_BYTES; a += 4096) {
        if (!put(DATA_GPA + a, zeros, sizeof zeros))
            goto fail;
    }
    uint8_t int3[4096];
    memset(int3, 0xcc, sizeof int3);
    if (!put(CODE_GPA, int3, sizeof int3))
        goto fail;
    code = host_page(CODE_GPA);
    data_hva = host_page(DATA_GPA); /* one slot: the pages follow each other */

    x86_state_reset(&base_state);
    base_state.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    base_state.cr3 = TABLES_GPA;
    base_state.cr4 = CR4_PAE | CR4_PSE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    base_state.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    base_state.gdtr = (struct x86_table){.base = KERNEL_VA + GDT_GPA, .limit = 7 * 8 - 1};
    base_state.idtr = (struct x86_table){.base = KERNEL_VA + IDT_GPA, .limit = 32 * 16 - 1};
    base_state.tr = (struct x86_segment){
        .base = KERNEL_VA + TSS_GPA, .limit = 0x67, .attr = 0x8b, .selector = TSS_SEL};
    for (int i = 0; i < SEG_COUNT; i++)
        base_state.seg[i] = flat(DS_USER, 0xc0f3);
    base_state.seg[SEG_FS] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE};
    base_state.seg[SEG_GS] = (struct x86_segment){.attr = SEG_ATTR_UNUSABLE, .base = GS_BASE};
    return code && data_hva;
fail:
    fprintf(stderr, "insn_fuzz: %s\n", err_text());
    return false;
}

static bool read_frame(struct outcome *out, const struct x86_state *s)
{
    uint64_t frame[6];
    uint64_t at = s->gpr[RSP] - KERNEL_VA;
    bool has_error =
        out->vector == 8 || (out->vector >= 10 && out->vector <= 14) || out->vector == 17;
    out->error = 0;
    if (has_error) {
        uint64_t error;
        if (!mem_read(mem, gpa_make(at), &error, 8))
            return false;
        out->error = (uint32_t)error;
        at += 8;
    }
    if (!mem_read(mem, gpa_make(at), frame, 40))
        return false;
    out->cpu.rip = frame[0];
    out->cpu.rflags = frame[2];
    out->cpu.gpr[RSP] = frame[3];
    return true;
}

bool guest_run(const struct test_case *t, const uint8_t *data, struct outcome *out)
{
    struct x86_state s = base_state;
    uint8_t patch[16];
    unsigned offset = (unsigned)(t->start.rip - CODE_BASE), n = t->length;
    if (offset + n > 4096)
        n = 4096 - offset;
    memcpy(data_hva, data, DATA_BYTES);
    if (!put(CODE_GPA + offset, t->bytes, n))
        return false;
    memcpy(s.gpr, t->start.gpr, sizeof s.gpr);
    memcpy(s.fpu, t->start.fx, 416);
    s.rip = t->start.rip;
    s.rflags = t->start.rflags | (t->end == END_TRAP_FLAG ? RFLAGS_TF : 0);
    s.seg[SEG_CS] = t->code32 ? flat(CS_USER32, 0xc0fb) : flat(CS_USER64, 0xa0fb);
    vcpu->ops->set_state(vcpu, &s);
    enum engine_exit why = vcpu->ops->run(vcpu);
    vcpu->ops->get_state(vcpu, &s);
    memset(patch, 0xcc, sizeof patch);
    if (!put(CODE_GPA + offset, patch, n))
        return false;
    uint64_t stub = s.rip - 1 - STUBS_GPA - KERNEL_VA;
    if (why != ENGINE_EXIT_HALTED || stub % 16 || stub >= 32 * 16) {
        fprintf(stderr, "insn_fuzz: the engine ended with exit %d at %#llx\n", (int)why,
                (unsigned long long)s.rip);
        return false;
    }
    out->vector = (int)(stub / 16);
    out->cr2 = s.cr2;
    memcpy(out->cpu.gpr, s.gpr, sizeof s.gpr);
    memcpy(out->cpu.fx, s.fpu, sizeof s.fpu);
    return read_frame(out, &s);
}

void guest_data(uint8_t *out)
{
    memcpy(out, data_hva, DATA_BYTES);
}

void guest_teardown(void)
{
    if (vcpu)
        vcpu->ops->destroy(vcpu);
    mem_destroy(mem);
}
