/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of the translate engine: what is written for each instruction form, windows against the
 * TLB, code memory and its rights, a code cache that is too small.
 */
#include "interp_guest.h"

#include <Zydis/Zydis.h>
#include <stdio.h>

#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/translate/compile.h"

#define INSTRUCTION_MAX 15

/* --- code memory --- */

/* Rights of the mapping at an address, as in /proc/self/maps; counts those that allow all. */
static void rights_at(const void *at, char rights[5], unsigned *bad)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char r[5];

        assert_int_equal(sscanf(line, "%lx-%lx %4s", &from, &to, r), 3);
        *bad += r[1] == 'w' && r[2] == 'x';
        if (from <= (uintptr_t)at && (uintptr_t)at < to)
            memcpy(rights, r, 5);
    }
    fclose(maps);
}

static void code_is_never_writable_and_executable(void **unused)
{
    struct guest g;
    const struct translate *t;
    char rw[5] = "", rx[5] = "", data[5] = "";
    unsigned bad = 0;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    t = (const struct translate *)g.vcpu;
    rights_at(t->code.rw, rw, &bad);
    rights_at(t->code.rx, rx, &bad);
    rights_at(t->code.data, data, &bad);
    assert_int_equal(bad, 0);
    assert_memory_equal(rw, "rw-", 3);
    assert_memory_equal(rx, "r-x", 3);
    assert_memory_equal(data, "rw-", 3);
    guest_close(&g);
}

static void code_memory_is_handed_out_until_it_is_full(void **unused)
{
    struct code_memory m;
    uint8_t *p, *last = NULL;
    unsigned n = 0;

    (void)unused;
    assert_int_equal(code_memory_create(&m, UINT64_C(1) << 20), ERR_OK);
    m.keep = m.used = 64;
    m.rw[5] = m.rw[3 * PAGE_SIZE] = 0xc3;
    assert_int_equal(m.rx[5], 0xc3);
    assert_ptr_equal(code_rw(&m, code_rx(&m, m.rw + 77)), m.rw + 77);
    for (; (p = code_memory_data(&m, 1000)); n++) {
        assert_true(!last || p >= last + 1000);
        assert_int_equal(p[0] | p[999], 0);
        memset(p, 0xee, 1000);
        last = p;
    }
    assert_true(n > m.data_size / 1100);
    code_memory_reset(&m);
    assert_int_equal(m.used, 64);
    assert_true(m.rx[5] == 0xc3 && !m.rx[3 * PAGE_SIZE]); /* kept; the host's again */
    p = code_memory_data(&m, 1000);
    assert_non_null(p);
    assert_int_equal(p[0] | p[999], 0);
    code_memory_destroy(&m);
}

/* --- what is emitted --- */

static bool decode(const uint8_t *bytes, size_t n, ZydisDecodedInstruction *i,
                   ZydisDecodedOperand *op)
{
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, n, i, op));
}

static void memory_operands_mean_what_they_say(void **unused)
{
    static const int32_t disps[] = {0, 1, -1, 127, -128, 128, -129, INT32_MAX, INT32_MIN};
    uint8_t bytes[32];
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    unsigned n = 0;

    (void)unused;
    for (unsigned base = 0; base <= 16; base++)
        for (unsigned index = 0; index <= 16; index++)
            for (unsigned d = 0; d < sizeof disps / sizeof *disps; d++) {
                struct emit e = {.at = bytes, .end = bytes + sizeof bytes};
                struct x_form f = {.op = 0x8b, .w = true, .rm = XRM_MEM, .disp = disps[d]};

                if (index == X_RSP)
                    continue; /* there is no such form */
                f.reg = (uint8_t)((base + index) % 16);
                f.base = base == 16 ? X_NONE : (uint8_t)base;
                f.index = index == 16 ? X_NONE : (uint8_t)index;
                f.scale = (uint8_t)(index % 4);
                emit_form(&e, &f);
                assert_false(e.full);
                assert_true(decode(bytes, sizeof bytes, &i, op));
                assert_int_equal(i.length, e.at - bytes);
                assert_int_equal(i.mnemonic, ZYDIS_MNEMONIC_MOV);
                assert_int_equal(op[0].reg.value, ZYDIS_REGISTER_RAX + f.reg);
                assert_int_equal(op[1].mem.base,
                                 base == 16 ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RAX + base);
                assert_int_equal(op[1].mem.index,
                                 index == 16 ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RAX + index);
                assert_true(index == 16 || op[1].mem.scale == 1u << f.scale);
                assert_int_equal(op[1].mem.disp.value, disps[d]);
                n++;
            }
    assert_int_equal(n, 17 * 16 * 9);
}

static void nothing_is_written_beyond_the_end(void **unused)
{
    uint8_t bytes[16];
    struct emit e = {.at = bytes, .end = bytes + 9};

    (void)unused;
    memset(bytes, 0x77, sizeof bytes);
    for (unsigned n = 0; n < 4; n++)
        emit_u32(&e, 0);
    assert_true(e.full);
    for (unsigned n = 9; n < sizeof bytes; n++)
        assert_int_equal(bytes[n], 0x77);
}

/* --- each plain instruction in each form --- */

static unsigned forms_tried, forms_written;

/* One instruction as a block of its own; NULL: by its handler. */
static const struct native_block *translated(struct translate *t, const uint8_t *bytes, unsigned n)
{
    static uint8_t page[PAGE_SIZE];
    static struct uop u[2];
    struct tier_block b = {.uops = u, .count = 2, .host = page};
    struct dec d;

    memset(page, 0x90, sizeof page);
    memcpy(page, bytes, n);
    dec_init(&d, &t->c);
    assert_int_equal(dec_insn(&d, page, sizeof page, 0, &u[0]), DEC_OK);
    u[0].n = 1;
    u[1] = (struct uop){.fn = op_leave, .imm = n, .off = (uint16_t)n, .n = 1, .m = u[0].m};
    code_memory_reset(&t->code);
    return translate_block(t, &b);
}

static bool register_fits(ZydisRegister guest, ZydisRegister host)
{
    unsigned g = dec_gpr(guest), h = dec_gpr(host), want = host_reg(g / 8);

    if (ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, guest) !=
        ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, host))
        return false;
    if (g % 8)
        return g == h;
    return want == X_NONE ? h / 8 == HOST_T0 || h / 8 == HOST_T1 : h == 8 * want;
}

static bool operand_fits(const ZydisDecodedOperand *guest, const ZydisDecodedOperand *host)
{
    if (guest->type != host->type || guest->size != host->size || guest->actions != host->actions)
        return false;
    switch (guest->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        return register_fits(guest->reg.value, host->reg.value);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        return guest->imm.value.u == host->imm.value.u;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        return host->mem.base == ZYDIS_REGISTER_R10 && host->mem.index == ZYDIS_REGISTER_NONE;
    default:
        return false;
    }
}

/* Is there one instruction in the native code that does this? */
static bool is_in(const uint8_t *code, const uint8_t *end, const ZydisDecodedInstruction *i,
                  const ZydisDecodedOperand *op)
{
    ZydisDecodedInstruction host;
    ZydisDecodedOperand host_op[ZYDIS_MAX_OPERAND_COUNT];

    for (; code < end && decode(code, (size_t)(end - code), &host, host_op); code += host.length) {
        bool fits = host.mnemonic == i->mnemonic && host.operand_width == i->operand_width &&
                    host.operand_count_visible == i->operand_count_visible &&
                    !((host.attributes ^ i->attributes) & ZYDIS_ATTRIB_HAS_LOCK);

        for (unsigned n = 0; fits && n < i->operand_count_visible; n++)
            fits = operand_fits(&op[n], &host_op[n]);
        if (fits)
            return true;
    }
    return false;
}

static void try_form(struct translate *t, ZydisEncoderRequest *r)
{
    uint8_t bytes[INSTRUCTION_MAX];
    ZyanUSize n = sizeof bytes;
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    const struct native_block *b;

    r->machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
    if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(r, bytes, &n)) || !decode(bytes, n, &i, op) ||
        !insn_is_plain(&i, op))
        return;
    forms_tried++;
    b = translated(t, bytes, (unsigned)n);
    if (!b)
        return;
    forms_written++;
    if (!is_in(b->entry_rw, t->code.rw + t->code.used, &i, op))
        fail_msg("%s with %u operands of %u bits is not in its code",
                 ZydisMnemonicGetString(i.mnemonic), i.operand_count_visible, i.operand_width);
}

static ZydisEncoderOperand a_register(unsigned bytes, unsigned number)
{
    static const ZydisRegister first[] = {[1] = ZYDIS_REGISTER_AL,
                                          [2] = ZYDIS_REGISTER_AX,
                                          [4] = ZYDIS_REGISTER_EAX,
                                          [8] = ZYDIS_REGISTER_RAX};
    ZydisEncoderOperand o = {.type = ZYDIS_OPERAND_TYPE_REGISTER};

    /* The order of byte registers is AL to BH, then SPL to R15B. */
    o.reg.value = (ZydisRegister)((unsigned)first[bytes] + number);
    return o;
}

static ZydisEncoderOperand a_place(unsigned bytes, unsigned number)
{
    ZydisEncoderOperand o = {.type = ZYDIS_OPERAND_TYPE_MEMORY};

    o.mem.base = (ZydisRegister)(ZYDIS_REGISTER_RAX + (int)(number % 16));
    o.mem.index =
        number % 3 ? ZYDIS_REGISTER_NONE : (ZydisRegister)(ZYDIS_REGISTER_R8 + (int)(number % 8));
    o.mem.scale = o.mem.index == ZYDIS_REGISTER_NONE ? 0 : 4;
    o.mem.displacement = (int64_t)number * 40 - 256;
    o.mem.size = (ZyanU16)bytes;
    return o;
}

static ZydisEncoderOperand an_immediate(int64_t v)
{
    return (ZydisEncoderOperand){.type = ZYDIS_OPERAND_TYPE_IMMEDIATE, .imm.s = v};
}

/* kind: register, memory or immediate, of a size */
static ZydisEncoderOperand an_operand(unsigned kind, unsigned bytes, unsigned number)
{
    static const int64_t values[] = {1, -1, 0x7f, -0x80, 0x1234, 0x12345678, 5};

    if (kind == 2)
        return an_immediate(values[number % 7]);
    return kind ? a_place(bytes, number) : a_register(bytes, number % (bytes == 1 ? 20 : 16));
}

static void try_mnemonic(struct translate *t, ZydisMnemonic m)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};

    try_form(t, &(ZydisEncoderRequest){.mnemonic = m});
    for (unsigned s = 0; s < 4; s++)
        for (unsigned number = 0; number < 20; number++)
            for (unsigned a = 0; a < 2; a++) {
                ZydisEncoderRequest r = {.mnemonic = m, .operand_count = 1};

                r.operands[0] = an_operand(a, sizes[s], number);
                try_form(t, &r);
                for (unsigned b = 0; b < 3; b++)
                    for (unsigned from = 0; from < (b == 2 ? 1 : 4); from++) {
                        r.operand_count = 2;
                        r.operands[1] = an_operand(b, sizes[from], number * 7 + 3);
                        try_form(t, &r);
                        r.operand_count = 3;
                        r.operands[2] = an_immediate((int64_t)number * 3 + 1);
                        try_form(t, &r);
                    }
            }
}

static void plain_instructions_stay_what_they_are(void **unused)
{
    struct guest g;
    struct translate *t;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    g.vcpu->ops->set_state(g.vcpu, &g.s);
    t = (struct translate *)g.vcpu;
    forms_tried = forms_written = 0;
    for (unsigned m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
        unsigned before = forms_tried;

        try_mnemonic(t, (ZydisMnemonic)m);
        if (forms_tried != before && !forms_written)
            fail_msg("%s has no native form", ZydisMnemonicGetString((ZydisMnemonic)m));
    }
    print_message("%u forms tried, %u written\n", forms_tried, forms_written);
    assert_true(forms_tried > 5000 && forms_written > forms_tried * 9 / 10);
    guest_close(&g);
}

/* --- windows --- */

/* May a window hold this page by this tag? */
static bool is_copied(const struct windows *w, unsigned window, uint64_t page, uint64_t tag)
{
    return (tag & PAGE_MASK) == page &&
           (half_of(page) || (tag & ~PAGE_MASK) == w->lower[window].view);
}

/* W1 for all entries; answers how many hold something. */
static unsigned check_windows(struct translate *t)
{
    struct windows *w = &t->windows;
    unsigned held = 0;

    for (unsigned k = 0; k <= WINDOWS; k++)
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            const struct window_entry *e = &w->window[k].entry[i];
            const uint64_t tags[2] = {e->read_tag, e->write_tag};
            const struct tlb_entry *found = NULL;

            for (unsigned a = 0; a < 2; a++) {
                if (tlb_index(tags[a], 0) != i) { /* an empty one: no address of i meets it */
                    assert_int_equal(tags[a], i ? 0 : PAGE_SIZE);
                    continue;
                }
                assert_true(k < WINDOWS);
                for (unsigned n = 0; n < TLB_ENTRIES; n++) {
                    uint64_t tag = a ? t->c.tlb[n].wtag : t->c.tlb[n].rtag;

                    if (is_copied(w, k, tags[a], tag) && t->c.tlb_copies[n] >> k & 1)
                        found = &t->c.tlb[n];
                }
                assert_non_null(found);
                assert_int_equal(e->host, tags[a] + found->addend);
                held++;
            }
        }
    return held;
}

/* Loads and stores in the 4 KiB pages at DATA, again and again. */
GUEST(walk_pages, 64,
      "mov $0x200000, %ebx\n mov $64, %ecx\n"
      "1: mov (%rbx), %rax\n inc %rax\n test $0x1000, %ebx\n jz 2f\n mov %rax, (%rbx)\n"
      "2: add $0x1000, %rbx\n dec %ecx\n jnz 1b");

static void windows_hold_what_the_tlb_holds(void **unused)
{
    struct guest g;
    struct translate *t;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    t = (struct translate *)g.vcpu;
    assert_int_equal(check_windows(t), 0);
    RUN(&g, walk_pages);
    assert_true(check_windows(t) >= 64 + 32);
    for (unsigned n = 0; n < 16; n++)
        mem_track_set(g.mem, gfn_make(DATA / PAGE_SIZE + n), MEM_TRACK_CODE);
    (void)check_windows(t); /* write protected there, and in the copies */
    put64(&g, PT + 8 * 20, 0);
    RUN(&g, walk_pages); /* loads of page 20 fault now */
    assert_int_equal(g.s.gpr[RDI], VEC_PF);
    (void)check_windows(t);
    tlb_flush_all(&t->c);
    assert_int_equal(check_windows(t), 0);
    guest_close(&g);
}

#define NOT_USER false
#define NO_AC    false

static void set_view(struct translate *t, uint32_t view)
{
    t->c.view[0] = view;
    t->c.view[1] = view;
}

/* More views than windows: what belonged to the oldest is gone, what is there is right. */
static void the_oldest_view_makes_room(void **unused)
{
    struct guest g;
    struct translate *t;
    struct window_view view;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    t = (struct translate *)g.vcpu;
    RUN(&g, walk_pages);
    view = windows_view(&t->c, NOT_USER, NO_AC);
    for (unsigned n = 0; n < 3 * WINDOWS; n++) {
        uint64_t lin = DATA + n * PAGE_SIZE;
        struct tlb_entry *e;

        set_view(t, (n + 9) << 2);
        windows_choose(&t->windows, &t->c);
        e = tlb_slot(&t->c, lin);
        tier_forget(&t->c, (unsigned)(e - t->c.tlb));
        *e = (struct tlb_entry){.rtag = tlb_want(&t->c, lin), .wtag = TLB_NO_TAG, .addend = n};
        windows_learn(&t->windows, &t->c, lin);
        assert_true(check_windows(t) > 0);
    }
    assert_int_equal(windows_find(&t->windows, &t->c, &view), -1);
    view.half[0] = 9u << 2;
    assert_int_equal(windows_find(&t->windows, &t->c, &view), -1);
    view.half[0] = t->c.view[0];
    assert_true(windows_find(&t->windows, &t->c, &view) >= 0);
    assert_int_equal(check_windows(t), WINDOWS);
    set_view(t, VIEW_SLOW);
    windows_choose(&t->windows, &t->c);
    windows_learn(&t->windows, &t->c, DATA);
    assert_int_equal(check_windows(t), WINDOWS);
    guest_close(&g);
}

/* --- a cache that is too small --- */

/*
 * Writes functions of 16 additions behind each other, 3,000 of them, and calls each twice: more
 * than the least cache holds.
 */
GUEST(many_blocks, 64,
      "mov $0x400000, %edi\n mov %edi, %esi\n mov $3000, %ecx\n cld\n"
      "1: mov $16, %edx\n"
      "2: mov $0xc083, %eax\n stosw\n mov $1, %al\n stosb\n dec %edx\n jnz 2b\n"
      "mov $0xc3, %al\n stosb\n dec %ecx\n jnz 1b\n"
      "mov $2, %edx\n xor %eax, %eax\n"
      "3: mov $3000, %ecx\n mov %esi, %ebx\n"
      "4: call *%rbx\n add $49, %ebx\n dec %ecx\n jnz 4b\n dec %edx\n jnz 3b");

static void a_full_cache_is_dropped(void **unused)
{
    struct guest g;
    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    RUN(&g, many_blocks);
    assert_int_equal(g.s.gpr[RAX], 2 * 3000 * 16);
    assert_true(g.vcpu->ops->stats(g.vcpu)->cache_drops > 0);
    assert_true(g.vcpu->ops->stats(g.vcpu)->native_blocks > 3000);
    check_windows((struct translate *)g.vcpu);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_is_never_writable_and_executable),
        cmocka_unit_test(code_memory_is_handed_out_until_it_is_full),
        cmocka_unit_test(memory_operands_mean_what_they_say),
        cmocka_unit_test(nothing_is_written_beyond_the_end),
        cmocka_unit_test(plain_instructions_stay_what_they_are),
        cmocka_unit_test(windows_hold_what_the_tlb_holds),
        cmocka_unit_test(the_oldest_view_makes_room),
        cmocka_unit_test(a_full_cache_is_dropped),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
