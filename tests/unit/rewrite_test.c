/* SPDX-License-Identifier: Apache-2.0 */
/* Code that is written again and again: blocks that are kept do what the code now says. */
#include "interp_guest.h"

#include <stdio.h>

#include "../fuzz/dice.h"

#define SLOTS     8u
#define SLOT      128u
#define INSNS_MAX 12u
#define TURNS     3u

static const struct {
    const char *engine;
    bool at_once;
} ways[] = {{"interp", false}, {"translate", true}, {"translate", false}};

/* For run_at: what is there already. */
static const uint8_t no_code[1];

static bool open_way(struct guest *g, unsigned way)
{
    if (!engine_find(ways[way].engine))
        return false;
    guest_open_on(g, 64, ways[way].engine, ways[way].at_once, 0);
    return true;
}

static const struct cpu_stats *stats_of(const struct guest *g)
{
    return g->vcpu->ops->stats(g->vcpu);
}

/* --- random functions, against a model --- */

/* op eax, imm32, by ModRM (group 1), or mov */
enum op { OP_ADD, OP_OR, OP_AND = 4, OP_SUB, OP_XOR, OP_MOV = 8 };

struct insn {
    enum op op;
    uint32_t imm;
};

struct function {
    struct insn insn[INSNS_MAX];
    unsigned count;
};

static uint32_t apply(const struct insn *i, uint32_t a)
{
    switch (i->op) {
    case OP_ADD:
        return a + i->imm;
    case OP_OR:
        return a | i->imm;
    case OP_AND:
        return a & i->imm;
    case OP_SUB:
        return a - i->imm;
    case OP_XOR:
        return a ^ i->imm;
    default:
        return i->imm;
    }
}

static uint32_t model(const struct function *f, uint32_t a)
{
    for (unsigned turn = 0; turn < TURNS; turn++)
        for (unsigned n = 0; n < f->count; n++)
            a = apply(&f->insn[n], a);
    return a;
}

static struct insn any_insn(struct dice *d)
{
    static const enum op ops[] = {OP_ADD, OP_OR, OP_AND, OP_SUB, OP_XOR, OP_MOV};

    return (struct insn){ops[dice_below(d, 6)], (uint32_t)dice_next(d)};
}

/* Code of one instruction: six bytes, the immediate last. */
static void insn_bytes(const struct insn *i, uint8_t out[6])
{
    out[0] = i->op == OP_MOV ? 0xc7 : 0x81;
    out[1] = (uint8_t)(0xc0 | (i->op == OP_MOV ? 0 : (unsigned)i->op << 3));
    memcpy(out + 2, &i->imm, 4);
}

/* mov $TURNS,%ecx; 1: the instructions; dec %ecx; jnz 1b; hlt */
static unsigned function_bytes(const struct function *f, uint8_t out[SLOT])
{
    unsigned at = 5;

    memcpy(out, (const uint8_t[]){0xb9, TURNS, 0, 0, 0}, 5);
    for (unsigned n = 0; n < f->count; n++, at += 6)
        insn_bytes(&f->insn[n], out + at);
    memcpy(out + at, (const uint8_t[]){0xff, 0xc9, 0x75, 0, 0xf4}, 5);
    out[at + 3] = (uint8_t)(5 - (at + 4));
    return at + 5;
}

static uint64_t slot_at(unsigned slot)
{
    return CODE + (uint64_t)slot * SLOT;
}

static void write_bytes(struct guest *g, uint64_t at, const uint8_t *bytes, unsigned count,
                        unsigned piece)
{
    for (unsigned done = 0; done < count; done += piece) {
        unsigned n = count - done < piece ? count - done : piece;

        assert_true(mem_write(g->mem, gpa_make(at + done), bytes + done, n));
    }
}

/* Another function, another instruction, or another immediate, in pieces of any size. */
static void change(struct guest *g, struct dice *d, struct function *f, unsigned slot)
{
    uint8_t bytes[SLOT];
    unsigned what = dice_below(d, 10), n;

    if (!f->count || what < 2) {
        f->count = 2 + 2 * dice_below(d, 3);
        for (n = 0; n < INSNS_MAX; n++)
            if (dice_percent(d, 30))
                f->insn[n].imm = (uint32_t)dice_next(d);
        write_bytes(g, slot_at(slot), bytes, function_bytes(f, bytes), 1 + dice_below(d, 90));
        return;
    }
    n = dice_below(d, f->count);
    if (what < 4)
        f->insn[n] = any_insn(d);
    else
        f->insn[n].imm ^= UINT32_C(0xff) << 8 * dice_below(d, 4);
    insn_bytes(&f->insn[n], bytes);
    write_bytes(g, slot_at(slot) + 5 + 6 * n, bytes, 6, 1 + dice_below(d, 6));
}

static void random_functions_do_what_they_say(void **unused)
{
    (void)unused;
    for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        struct function function[SLOTS] = {0};
        struct dice d = {.s = 7};
        struct guest g;

        if (!open_way(&g, way))
            continue;
        for (unsigned slot = 0; slot < SLOTS; slot++)
            for (unsigned n = 0; n < INSNS_MAX; n++)
                function[slot].insn[n] = any_insn(&d);
        for (unsigned n = 0; n < 6000; n++) {
            unsigned slot = dice_below(&d, SLOTS);
            uint32_t a = (uint32_t)dice_next(&d);

            change(&g, &d, &function[slot], slot);
            g.s.gpr[RAX] = a;
            run_at(&g, slot_at(slot), no_code, no_code);
            assert_int_equal(g.s.gpr[RAX], model(&function[slot], a));
        }
        assert_true(stats_of(&g)->code_patches > 1000);
        assert_true(stats_of(&g)->blocks_revived > 500);
        guest_close(&g);
    }
}

/* --- numbers that native code has taken into displacements --- */

/* Writes its own distance between two stores, for each of 64 numbers, and reads it back. */
GUEST(distances, 64,
      "mov $64, %ecx\n xor %edi, %edi\n"
      "1: movb %cl, 2f+3(%rip)\n mov $0x200000, %ebx\n"
      "movb $1, (%rbx)\n"
      "2: add $8, %rbx\n movb $2, (%rbx)\n movb $3, 1(%rbx)\n"
      "movzbl 0x200000(%rcx), %edx\n add %edx, %edi\n movb $0, 0x200000(%rcx)\n"
      "dec %ecx\n jnz 1b");

static void a_distance_may_change(void **unused)
{
    (void)unused;
    for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        struct guest g;

        if (!open_way(&g, way))
            continue;
        for (unsigned n = 0; n < 5; n++)
            RUN(&g, distances);
        assert_int_equal(g.s.gpr[RDI], 64 * 2);
        guest_close(&g);
    }
}

/* --- loops whose numbers change --- */

/* Adds another number in each of 400 turns, in a loop that has it in no address. */
GUEST(inner_numbers, 64,
      "mov $400, %edx\n xor %edi, %edi\n"
      "1: movb %dl, 2f+3(%rip)\n mov $20, %ecx\n xor %eax, %eax\n mov $0x200000, %ebx\n"
      ".balign 16\n"
      "2: add $1, %rax\n add %rax, (%rbx)\n add $8, %rbx\n dec %ecx\n jnz 2b\n"
      "add %rax, %rdi\n dec %edx\n jnz 1b");

static void numbers_of_a_loop_change_in_place(void **unused)
{
    (void)unused;
    for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        struct guest g;
        int64_t sum = 0;

        if (!open_way(&g, way))
            continue;
        RUN(&g, inner_numbers);
        for (unsigned n = 1; n <= 400; n++)
            sum += 20 * (int8_t)n;
        assert_int_equal(g.s.gpr[RDI], sum);
        assert_true(stats_of(&g)->code_patches >= 390);
        assert_true(stats_of(&g)->native_blocks < 20);
        guest_close(&g);
    }
}

/* --- flags that count because of code elsewhere --- */

/* The target is one line on: first it kills the carry, then it asks for it. */
GUEST(
    carry, 64,
    "mov $40, %ecx\n xor %edi, %edi\n"
    "1: mov $0xffffffff, %eax\n add $1, %eax\n mov %ecx, 0x200000\n jmp 2f\n"
    ".balign 64\n .skip 64\n"
    "2: xor %edx, %edx\n nop\n"
    "3: add %edx, %edi\n cmp $20, %ecx\n jne 4f\n movw $0x920f, 2b(%rip)\n movb $0xc2, 2b+2(%rip)\n"
    "xor %edx, %edx\n 4: dec %ecx\n jnz 1b");

static void flags_come_to_count(void **unused)
{
    (void)unused;
    for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        struct guest g;

        if (!open_way(&g, way))
            continue;
        for (unsigned n = 0; n < 5; n++) {
            RUN(&g, carry);
            assert_int_equal(g.s.gpr[RDI], 19);
        }
        guest_close(&g);
    }
}

/* --- bytes that come back --- */

/* Its own addition becomes a subtraction and an addition again, in turns. */
GUEST(in_turns, 64,
      "mov $1000, %ecx\n xor %eax, %eax\n"
      "1: xorb $0x28, 2f+1(%rip)\n"
      "2: add $3, %eax\n dec %ecx\n jnz 1b");

static void bytes_that_come_back_are_known(void **unused)
{
    (void)unused;
    for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        struct guest g;

        if (!open_way(&g, way))
            continue;
        RUN(&g, in_turns);
        assert_int_equal(g.s.gpr[RAX], 0);
        assert_true(stats_of(&g)->blocks_revived > 900);
        assert_true(stats_of(&g)->blocks_decoded < 50);
        guest_close(&g);
    }
}

/* --- devices --- */

/*
 * A device writes to code that runs again and again, between two runs and into its middle: another
 * number, which native code follows, or another instruction.
 */
GUEST(patched, 64, "mov $300, %ecx\n xor %eax, %eax\n1: add $1, %eax\n dec %ecx\n jnz 1b");

static void code_written_by_a_device_is_stale(void **unused)
{
    struct guest g;

    (void)unused;
    if (!engine_find("translate"))
        skip();
    guest_open_on(&g, 64, "translate", false, 1);
    for (unsigned n = 1; n < 200; n++) {
        uint8_t by = (uint8_t)(n % 50 + 1);
        const uint8_t *at = memchr(patched, 0x83, (size_t)(patched_end - patched));

        assert_non_null(at);
        g.s.rip = CODE;
        g.s.halted = false;
        if (n == 1)
            assert_true(mem_write(g.mem, gpa_make(CODE), patched, (size_t)(patched_end - patched)));
        assert_true(mem_write(g.mem, gpa_make(CODE + (uint64_t)(at - patched) + 2), &by, 1));
        assert_true(mem_write(g.mem, gpa_make(CODE + (uint64_t)(at - patched) + 1),
                              n % 3 ? "\xc0" : "\xe8", 1)); /* add, sub */
        g.vcpu->ops->set_state(g.vcpu, &g.s);
        assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_HALTED);
        g.vcpu->ops->get_state(g.vcpu, &g.s);
        assert_int_equal((int32_t)g.s.gpr[RAX], n % 3 ? 300 * by : -300 * by);
    }
    assert_true(g.vcpu->ops->stats(g.vcpu)->code_patches > 50);
    assert_true(g.vcpu->ops->stats(g.vcpu)->blocks_revived > 50);
    assert_true(g.vcpu->ops->stats(g.vcpu)->native_entries > 100);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_functions_do_what_they_say),
        cmocka_unit_test(a_distance_may_change),
        cmocka_unit_test(numbers_of_a_loop_change_in_place),
        cmocka_unit_test(flags_come_to_count),
        cmocka_unit_test(bytes_that_come_back_are_known),
        cmocka_unit_test(code_written_by_a_device_is_stale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
