/* SPDX-License-Identifier: Apache-2.0 */
/* What the translate engine writes for each instruction form. */
#include "interp_guest.h"

#include <Zydis/Zydis.h>
#include <stdio.h>

#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/translate/compile.h"

#define INSTRUCTION_MAX 15

/* --- what is emitted --- */

static bool decode(const uint8_t *bytes, size_t n, ZydisDecodedInstruction *i,
                   ZydisDecodedOperand *op)
{
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, n, i, op));
}

/* The engine of a guest of its own, ready to translate. */
static struct translate *opened(struct guest *g)
{
    guest_open_on(g, 64, "translate", true, 1);
    g->vcpu->ops->set_state(g->vcpu, &g->s);
    return (struct translate *)g->vcpu;
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

/* These bytes as a block of their own; NULL: by handlers. */
static const struct native_block *translated(struct translate *t, const uint8_t *bytes, unsigned n)
{
    static uint8_t page[PAGE_SIZE];
    static struct uop u[BLOCK_MAX_INSNS + 1];
    struct tier_block b = {.uops = u, .host = page};
    struct dec d;

    memset(page, 0x90, sizeof page);
    memcpy(page, bytes, n);
    dec_init(&d, &t->c);
    for (unsigned off = 0; off < n; off += u[b.count++].len) {
        assert_int_equal(dec_insn(&d, page + off, sizeof page - off, off, &u[b.count]), DEC_OK);
        u[b.count].n = (uint8_t)(b.count + 1);
    }
    u[b.count] = (struct uop){
        .fn = op_leave, .imm = n, .off = (uint16_t)n, .n = (uint8_t)b.count, .m = u[0].m};
    b.count++;
    code_memory_reset(&t->code);
    return translate_block(t, &b);
}

/* turned: beside a memory operand, where the second byte of a register becomes its first. */
static bool register_fits(ZydisRegister guest, ZydisRegister host, bool turned)
{
    unsigned g = dec_gpr(guest), h = dec_gpr(host), want = host_reg(g / 8);

    if (ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, guest) !=
        ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, host))
        return false;
    if (g % 8)
        return turned ? g / 8 * 8 == h : g == h;
    return want == X_NONE ? h / 8 == HOST_T0 || h / 8 == HOST_T1 : h == 8 * want;
}

/* The guest's register lives in memory, at this host address? */
static bool is_resident_at(const struct translate *t, const ZydisDecodedOperand *guest,
                           const ZydisDecodedOperand *host)
{
    unsigned g;

    if (guest->type != ZYDIS_OPERAND_TYPE_REGISTER || host->type != ZYDIS_OPERAND_TYPE_MEMORY)
        return false;
    g = dec_gpr(guest->reg.value);
    return host_reg(g / 8) == X_NONE && host->mem.base == ZYDIS_REGISTER_NONE &&
           host->mem.index == ZYDIS_REGISTER_NONE &&
           host->mem.disp.value == (int64_t)ABS(t->c.gpr[g / 8]);
}

static bool operand_fits(const struct translate *t, const ZydisDecodedOperand *guest,
                         const ZydisDecodedOperand *host, bool turned)
{
    if (guest->size != host->size || guest->actions != host->actions)
        return false;
    if (is_resident_at(t, guest, host))
        return !(host->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) || host->size == 64;
    if (guest->type != host->type)
        return false;
    switch (guest->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        return register_fits(guest->reg.value, host->reg.value, turned);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        return guest->imm.value.u == host->imm.value.u;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        return host->mem.base == ZYDIS_REGISTER_R10 &&
               (host->mem.index == ZYDIS_REGISTER_NONE ||
                (host->mem.index == ZYDIS_REGISTER_R11 && host->mem.scale == 1));
    default:
        return false;
    }
}

static bool has_memory(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    for (unsigned n = 0; n < i->operand_count_visible; n++)
        if (op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
            return true;
    return false;
}

/* Is there one instruction in the native code that does this? */
static bool is_in(const struct translate *t, const uint8_t *code, const uint8_t *end,
                  const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
    ZydisDecodedInstruction host;
    ZydisDecodedOperand host_op[ZYDIS_MAX_OPERAND_COUNT];
    bool turned = has_memory(i, op), is_test = i->mnemonic == ZYDIS_MNEMONIC_TEST;

    for (; code < end && decode(code, (size_t)(end - code), &host, host_op); code += host.length) {
        bool fits = host.mnemonic == i->mnemonic && host.operand_width == i->operand_width &&
                    host.operand_count_visible == i->operand_count_visible &&
                    !((host.attributes ^ i->attributes) & ZYDIS_ATTRIB_HAS_LOCK);

        for (unsigned n = 0; fits && n < i->operand_count_visible; n++)
            fits = operand_fits(t, &op[n], &host_op[n], turned) ||
                   (is_test && operand_fits(t, &op[n], &host_op[n ^ 1u], turned));
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
    if (!is_in(t, b->entry[FLAGS_IN_PLACE], t->code.rw + t->code.used, &i, op))
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
    struct translate *t = opened(&g);

    (void)unused;
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

/* --- flags --- */

/* How often a block of these bytes puts the flags away. */
static unsigned count_flags_away(struct translate *t, const uint8_t *bytes, unsigned n)
{
    const struct native_block *b = translated(t, bytes, n);
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *end = t->code.rw + t->code.used;
    unsigned count = 0;

    assert_non_null(b);
    for (const uint8_t *at = b->entry[FLAGS_IN_PLACE]; at < end; at += i.length) {
        if (!decode(at, (size_t)(end - at), &i, op))
            break;
        count += i.mnemonic == ZYDIS_MNEMONIC_LAHF;
    }
    return count;
}

static void flags_pass_through_shifts(void **unused)
{
    /* add %esi,%edi; mov (%rbx),%ecx; shl %cl,%eax; then xor %edx,%edx or setc %dl */
    static const uint8_t dead[] = {0x01, 0xf7, 0x8b, 0x0b, 0xd3, 0xe0, 0x31, 0xd2};
    static const uint8_t live[] = {0x01, 0xf7, 0x8b, 0x0b, 0xd3, 0xe0, 0x0f, 0x92, 0xc2};
    struct guest g;
    struct translate *t = opened(&g);

    (void)unused;
    assert_int_equal(count_flags_away(t, dead, sizeof dead), 0);
    assert_int_equal(count_flags_away(t, live, sizeof live), 1);
    guest_close(&g);
}

/* --- far branches --- */

/* Pages whose code is for any address, and for one only. */
#define HIGH_PAGE  UINT64_C(0x555555554000)
#define FIXED_PAGE UINT64_C(0x400000)

/* Does native code of that page compute something by such an instruction with this number? */
static bool has_number(struct translate *t, uint64_t page, const uint8_t *bytes, unsigned n,
                       ZydisMnemonic mnemonic, int64_t number)
{
    const struct native_block *b;
    ZydisDecodedInstruction i;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *end;

    t->c.gpr[GPR_PAGE / 8] = page;
    b = translated(t, bytes, n);
    assert_non_null(b);
    assert_int_equal(b->page, page == FIXED_PAGE ? page : ANY_PAGE);
    end = t->code.rw + t->code.used;
    for (const uint8_t *at = b->entry[FLAGS_IN_PLACE]; at < end; at += i.length) {
        if (!decode(at, (size_t)(end - at), &i, op))
            break;
        if (i.mnemonic == mnemonic &&
            (mnemonic == ZYDIS_MNEMONIC_LEA ? op[1].mem.disp.value : op[1].imm.value.s) == number)
            return true;
    }
    return false;
}

/* Does it add this to an address? */
static bool has_distance(struct translate *t, const uint8_t *bytes, unsigned n, int64_t distance)
{
    return has_number(t, HIGH_PAGE, bytes, n, ZYDIS_MNEMONIC_LEA, distance);
}

/* Targets of the last ones lie above 2 GiB from the page: displacements end there. */
static void far_branches_do_not_wrap(void **unused)
{
    static const uint8_t code[][6] = {{0xe9, 0xf0, 0xff, 0xff, 0x7f, 0x90}, /* jmp */
                                      {0xe9, 0xff, 0xff, 0xff, 0x7f, 0x90},
                                      {0xe8, 0xff, 0xff, 0xff, 0x7f, 0x90},  /* call */
                                      {0x0f, 0x84, 0xff, 0xff, 0xff, 0x7f}}; /* je */
    struct guest g;
    struct translate *t = opened(&g);

    (void)unused;
    assert_true(has_distance(t, code[0], 5, INT64_C(0x7ffffff5)));
    assert_false(has_distance(t, code[1], 5, INT32_MIN + INT64_C(4)));
    assert_false(has_distance(t, code[2], 5, INT32_MIN + INT64_C(4)));
    assert_false(has_distance(t, code[3], 6, INT32_MIN + INT64_C(5)));
    guest_close(&g);
}

static void fixed_code_knows_its_page(void **unused)
{
    static const uint8_t jump[] = {0xe9, 0x00, 0x20, 0x00, 0x00};
    static const uint8_t lea[] = {0x48, 0x8d, 0x05, 0x00, 0x30, 0x00, 0x00}; /* 0x3000(%rip) */
    struct guest g;
    struct translate *t = opened(&g);

    (void)unused;
    assert_true(has_number(t, FIXED_PAGE, jump, sizeof jump, ZYDIS_MNEMONIC_MOV, 0x402005));
    assert_true(has_number(t, HIGH_PAGE, jump, sizeof jump, ZYDIS_MNEMONIC_LEA, 0x2005));
    assert_true(has_number(t, FIXED_PAGE, lea, sizeof lea, ZYDIS_MNEMONIC_MOV, 0x400000));
    assert_false(has_number(t, HIGH_PAGE, lea, sizeof lea, ZYDIS_MNEMONIC_MOV, 0x400000));
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_operands_mean_what_they_say),
        cmocka_unit_test(nothing_is_written_beyond_the_end),
        cmocka_unit_test(plain_instructions_stay_what_they_are),
        cmocka_unit_test(flags_pass_through_shifts),
        cmocka_unit_test(far_branches_do_not_wrap),
        cmocka_unit_test(fixed_code_knows_its_page),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
