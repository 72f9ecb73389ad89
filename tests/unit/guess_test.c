/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indirect branches of native code that mostly go to one place: they do so by a guess, which holds
 * only as long as that place is what it was.
 */
#include "interp_guest.h"

#include <stdio.h>

#define HIGH   UINT64_C(0x100000000) /* the same memory once more, where code is not fixed */
#define HIGHER UINT64_C(0x140000000)
#define TURNS  1000u
#define FEW    4u              /* runs until a block is translated */
#define OTHER  (DATA + 0x5000) /* the frame that a target goes to */
#define CHANGE 0x180000u       /* code that changes something */
#define PML4_B 0x20000u        /* other tables */

static void open_bits(struct guest *g, unsigned bits, uint64_t code_bytes)
{
    guest_open_with(
        g, bits, "translate",
        (struct vcpu_config){.hot_runs = FEW, .profile = true, .code_bytes = code_bytes});
    if (bits != 64)
        return;
    put64(g, PDPT + 8 * 4, PD | 3);
    put64(g, PDPT + 8 * 5, PD | 3);
    g->s.efer |= EFER_NXE;
}

static const struct cpu_stats *stats_of(const struct guest *g)
{
    return g->vcpu->ops->stats(g->vcpu);
}

static void put_code(struct guest *g, uint64_t at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(g->mem, gpa_make(at), code, (size_t)(end - code)));
}

#define PUT_CODE(g, at, name) put_code(g, at, name, name##_end)

/* Runs what is at an address; whatever a run before has left in registers is zero. */
static void run_from(struct guest *g, uint64_t rip)
{
    g->s.rip = rip;
    g->s.halted = false;
    g->s.gpr[RSP] = STACK;
    g->vcpu->ops->set_state(g->vcpu, &g->s);
    assert_int_equal(g->vcpu->ops->run(g->vcpu), ENGINE_EXIT_HALTED);
    g->vcpu->ops->get_state(g->vcpu, &g->s);
}

/* --- hits and misses --- */

/* All turns but the last go to 2, that to 3: 999 + 1000. */
#define A_LOOP(text_) "xor %eax, %eax\n mov $1000, %ecx\n" text_

GUEST(jump_on, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n jmp *%rbx\n"
             "2: inc %eax\n dec %ecx\n jmp 1b\n"
             "3: add $1000, %eax"));
GUEST(jump_back, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n jmp 1f\n"
             "2: inc %eax\n dec %ecx\n jmp 1f\n nop\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n jmp *%rbx\n"
             "3: add $1000, %eax"));
GUEST(jump_by_memory, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n push %rbx\n push %rbx\n pop %rdx\n"
             "add $8, %rsp\n jmp *-8(%rsp)\n"
             "2: inc %eax\n dec %ecx\n jmp 1b\n"
             "3: add $1000, %eax"));
GUEST(call_in_page, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n call *%rbx\n dec %ecx\n jnz 1b\n jmp 4f\n"
             "2: inc %eax\n ret\n"
             "3: add $1000, %eax\n ret\n"
             "4: nop"));
GUEST(call_by_memory, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n push %rbx\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n mov %rbx, (%rsp)\n call *(%rsp)\n"
             "dec %ecx\n jnz 1b\n jmp 4f\n"
             "2: inc %eax\n ret\n"
             "3: add $1000, %eax\n ret\n"
             "4: nop"));
GUEST(jump_to_other_page, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n jmp 1f\n"
             "2: inc %eax\n dec %ecx\n jmp 1f\n .skip 5000, 0x90\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n jmp *%rbx\n"
             "3: add $1000, %eax"));
GUEST(call_to_other_page, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n call *%rbx\n dec %ecx\n jnz 1b\n jmp 4f\n"
             ".skip 5000, 0x90\n"
             "2: inc %eax\n ret\n"
             "3: add $1000, %eax\n ret\n"
             "4: nop"));
/* The call is the end of its page: no pair. */
GUEST(call_at_the_end, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n jmp 1f\n"
             "2: inc %eax\n ret\n"
             "3: add $1000, %eax\n ret\n"
             ".org call_at_the_end + 4089\n"
             "1: cmp $1, %ecx\n cmove %rsi, %rbx\n call *%rbx\n dec %ecx\n jnz 1b"));
GUEST(jump_on_32, 32,
      A_LOOP("mov $0x100000 + 2f - jump_on_32, %ebx\n mov $0x100000 + 3f - jump_on_32, %esi\n"
             "1: cmp $1, %ecx\n cmove %esi, %ebx\n jmp *%ebx\n"
             "2: inc %eax\n dec %ecx\n jmp 1b\n"
             "3: add $1000, %eax"));
GUEST(call_to_other_page_32, 32,
      A_LOOP("mov $0x100000 + 2f - call_to_other_page_32, %ebx\n"
             "mov $0x100000 + 3f - call_to_other_page_32, %esi\n"
             "1: cmp $1, %ecx\n cmove %esi, %ebx\n call *%ebx\n dec %ecx\n jnz 1b\n jmp 4f\n"
             ".skip 5000, 0x90\n"
             "2: inc %eax\n ret\n"
             "3: add $1000, %eax\n ret\n"
             "4: nop"));

static void what_is_usual_is_guessed(void **unused)
{
    static const struct {
        const uint8_t *code, *end;
        unsigned bits;
    } guests[] = {{jump_on, jump_on_end, 64},
                  {jump_back, jump_back_end, 64},
                  {jump_by_memory, jump_by_memory_end, 64},
                  {call_in_page, call_in_page_end, 64},
                  {call_by_memory, call_by_memory_end, 64},
                  {jump_to_other_page, jump_to_other_page_end, 64},
                  {call_to_other_page, call_to_other_page_end, 64},
                  {call_at_the_end, call_at_the_end_end, 64},
                  {jump_on_32, jump_on_32_end, 32},
                  {call_to_other_page_32, call_to_other_page_32_end, 32}};

    (void)unused;
    for (unsigned n = 0; n < sizeof guests / sizeof guests[0]; n++)
        for (unsigned high = 0; high < (guests[n].bits == 64 ? 2 : 1); high++) {
            struct guest g;

            open_bits(&g, guests[n].bits, 0);
            put_code(&g, CODE, guests[n].code, guests[n].end);
            run_from(&g, CODE + high * HIGH);
            assert_int_equal(g.s.gpr[RAX], TURNS - 1 + 1000);
            assert_true(stats_of(&g)->native_guesses >= 1);
            assert_true(stats_of(&g)->native_guess_hits >= TURNS - 50);
            assert_true(stats_of(&g)->native_guess_misses <= 50);
            run_from(&g, CODE + high * HIGH);
            assert_int_equal(g.s.gpr[RAX], TURNS - 1 + 1000);
            assert_true(stats_of(&g)->native_guess_hits >= 2 * TURNS - 50);
            assert_in_range(stats_of(&g)->native_guess_misses, 1, 50);
            guest_close(&g);
        }
}

GUEST(in_turns, 64,
      A_LOOP("lea 2f(%rip), %rbx\n lea 3f(%rip), %rsi\n"
             "1: xchg %rsi, %rbx\n jmp *%rbx\n"
             "2: inc %eax\n dec %ecx\n jnz 1b\n jmp 4f\n"
             "3: add $2, %eax\n dec %ecx\n jnz 1b\n"
             "4: nop"));

static void what_changes_is_not_guessed(void **unused)
{
    struct guest g;

    (void)unused;
    open_bits(&g, 64, 0);
    PUT_CODE(&g, CODE, in_turns);
    run_from(&g, CODE);
    assert_int_equal(g.s.gpr[RAX], TURNS / 2 * 3);
    assert_int_equal(stats_of(&g)->native_guesses, 0);
    guest_close(&g);
}

/* --- one page at more than one address --- */

/* Ends with its own address, as the target sees it, in RAX. */
GUEST(where, 64,
      "mov $1000, %ecx\n"
      "1: lea 3f(%rip), %r13\n jmp *%rbx\n"
      ".org where + 64\n"
      "lea -7(%rip), %rax\n jmp *%r13\n"
      "3: dec %ecx\n jnz 1b");

static void an_alias_is_a_place_of_its_own(void **unused)
{
    static const uint64_t place[] = {0, HIGH, HIGHER};
    struct guest g;

    (void)unused;
    open_bits(&g, 64, 0);
    PUT_CODE(&g, CODE, where);
    for (unsigned n = 0; n < 36; n++) {
        uint64_t target = place[n / 3 % 3] + CODE + 64;

        g.s.gpr[RBX] = target;
        run_from(&g, place[(n + n / 9) % 3] + CODE);
        assert_int_equal(g.s.gpr[RAX], target);
    }
    assert_true(stats_of(&g)->native_guess_hits > TURNS);
    guest_close(&g);
}

/* --- what changes the target --- */

/* RBX, which adds to RAX, a thousand times; then RBP, which changes something; once more. */
GUEST(calls, 64,
      "mov $2, %r12d\n"
      "0: mov $1000, %ecx\n"
      "1: call *%rbx\n dec %ecx\n jnz 1b\n"
      "dec %r12d\n jz 2f\n call *%rbp\n jmp 0b\n"
      "2: nop");
GUEST(jumps, 64,
      "mov $2, %r12d\n"
      "0: mov $1000, %ecx\n"
      "1: lea 3f(%rip), %r13\n jmp *%rbx\n"
      "3: dec %ecx\n jnz 1b\n"
      "dec %r12d\n jz 2f\n call *%rbp\n jmp 0b\n"
      "2: nop");

GUEST(add_and_return, 64, "add $0x11111, %eax\n ret");
GUEST(add_and_jump, 64, "add $0x11111, %eax\n jmp *%r13");

GUEST(change_number, 64, "movl $0x33333, 1(%rbx)\n ret");
GUEST(change_opcode, 64, "movb $0x2d, (%rbx)\n ret"); /* sub */
GUEST(change_table, 64, "mov %rdx, (%rdi)\n invlpg (%rbx)\n ret");
GUEST(change_tables, 64, "mov %rdx, %cr3\n ret");

#define N1 0x11111u
#define N2 0x33333u

static const struct {
    const uint8_t *change, *change_end;
    uint64_t rdx, rax;
    bool faults, in_page; /* in_page: possible there */
} changes[] = {
    {change_number, change_number_end, 0, TURNS *(N1 + N2), false, true},
    {change_opcode, change_opcode_end, 0, 0, false, true},
    {change_table, change_table_end, OTHER | 3, TURNS *(N1 + N2), false, false},
    {change_table, change_table_end, 0, TURNS *N1, true, false},
    {change_table, change_table_end, DATA | 3 | UINT64_C(1) << 63, TURNS *N1, true, false},
    {change_tables, change_tables_end, PML4_B, TURNS *(N1 + N2), false, false},
};

/* Tables in which DATA's page is OTHER. */
static void make_other_tables(struct guest *g)
{
    put64(g, PML4_B, (PML4_B + 0x1000) | 3);
    for (unsigned n = 0; n < 6; n++)
        put64(g, PML4_B + 0x1000 + 8 * n, n && n < 4 ? 0 : (PML4_B + 0x2000) | 3);
    for (unsigned n = 0; n < 4; n++)
        put64(g, PML4_B + 0x2000 + 8 * n, n * 0x200000u | 0x83);
    put64(g, PML4_B + 0x2000 + 8, (PML4_B + 0x3000) | 3);
    for (unsigned n = 0; n < 512; n++)
        put64(g, PML4_B + 0x3000 + 8 * n, (n ? DATA + n * 0x1000u : OTHER) | 3);
}

/* base: of the addresses; target: from there. */
static void change_it(unsigned change, bool by_jump, uint64_t base, uint64_t target)
{
    struct guest g;

    open_bits(&g, 64, 0);
    make_other_tables(&g);
    if (by_jump)
        PUT_CODE(&g, CODE, jumps);
    else
        PUT_CODE(&g, CODE, calls);
    for (unsigned n = 0; n < 2; n++) {
        uint64_t at = n ? OTHER : target;

        if (by_jump)
            PUT_CODE(&g, at, add_and_jump);
        else
            PUT_CODE(&g, at, add_and_return);
    }
    assert_true(mem_write(g.mem, gpa_make(OTHER + 1), &(uint32_t){N2}, 4));
    put_code(&g, CHANGE, changes[change].change, changes[change].change_end);
    g.s.gpr[RBX] = base + target;
    g.s.gpr[RBP] = base + CHANGE;
    g.s.gpr[RDI] = base + PT;
    g.s.gpr[RDX] = changes[change].rdx;
    run_from(&g, base + CODE);
    assert_int_equal((uint32_t)g.s.gpr[RAX], changes[change].rax);
    if (changes[change].faults) {
        assert_int_equal(g.s.gpr[RDI], VEC_PF);
        assert_int_equal(g.s.cr2, base + target);
    }
    assert_true(stats_of(&g)->native_guess_hits >= (changes[change].faults ? 1 : 2) * TURNS - 100);
    guest_close(&g);
}

static void a_target_that_changes_is_what_it_is_now(void **unused)
{
    (void)unused;
    for (unsigned n = 0; n < sizeof changes / sizeof changes[0]; n++)
        for (unsigned by_jump = 0; by_jump < 2; by_jump++)
            for (unsigned high = 0; high < 2; high++) {
                change_it(n, by_jump, high * HIGH, DATA);
                if (changes[n].in_page)
                    change_it(n, by_jump, high * HIGH, CODE + 0x800);
            }
}

/* --- a cache that is too small --- */

/* As in translate_test.c, but each function goes back by a jump, which is a guess of its own. */
GUEST(many_guesses, 64,
      "mov $0x400000, %edi\n mov %edi, %esi\n mov $3000, %ecx\n cld\n"
      "1: mov $16, %edx\n"
      "2: mov $0xc083, %eax\n stosw\n mov $1, %al\n stosb\n dec %edx\n jnz 2b\n"
      "mov $0xe5ff, %eax\n stosw\n dec %ecx\n jnz 1b\n"
      "lea 5f(%rip), %rbp\n mov $2, %edx\n xor %eax, %eax\n"
      "3: mov $3000, %ecx\n mov %esi, %ebx\n"
      "4: mov $8, %r8d\n"
      "6: jmp *%rbx\n"
      "5: dec %r8d\n jnz 6b\n add $50, %ebx\n dec %ecx\n jnz 4b\n dec %edx\n jnz 3b");

static void guesses_go_with_a_full_cache(void **unused)
{
    struct guest g;

    (void)unused;
    open_bits(&g, 64, 1);
    RUN(&g, many_guesses);
    assert_int_equal(g.s.gpr[RAX], 2 * 3000 * 8 * 16);
    assert_true(stats_of(&g)->cache_drops > 0);
    assert_true(stats_of(&g)->native_guesses > 1000);
    assert_true(stats_of(&g)->native_guess_hits > 1000);
    guest_close(&g);
}

/* --- loops without an end --- */

GUEST(for_ever, 64, "lea 1f(%rip), %rbx\n 1: inc %rax\n jmp *%rbx");
GUEST(for_ever_over_pages, 64,
      "lea 1f(%rip), %rbx\n lea 2f(%rip), %rsi\n"
      "1: inc %rax\n jmp *%rsi\n"
      ".skip 5000, 0x90\n"
      "2: jmp *%rbx");

/* The bus' poll: each second time the guest has run for long enough. */
static uint64_t poll_and_kick(void *arg)
{
    struct guest *g = arg;

    if (g->budget++ % 2)
        g->vcpu->ops->kick(g->vcpu);
    return 10000;
}

static void a_guess_that_always_holds_is_left(void **unused)
{
    static const uint8_t *const code[][2] = {{for_ever, for_ever_end},
                                             {for_ever_over_pages, for_ever_over_pages_end}};

    (void)unused;
    for (unsigned n = 0; n < 4; n++) {
        struct guest g;

        open_bits(&g, 64, 0);
        g.bus.poll = poll_and_kick;
        put_code(&g, CODE, code[n / 2][0], code[n / 2][1]);
        g.s.rip = CODE + n % 2 * HIGH;
        g.vcpu->ops->set_state(g.vcpu, &g.s);
        while (g.vcpu->ops->stats(g.vcpu)->native_guess_hits < 1000)
            assert_int_equal(g.vcpu->ops->run(g.vcpu), ENGINE_EXIT_KICKED);
        guest_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_usual_is_guessed),
        cmocka_unit_test(what_changes_is_not_guessed),
        cmocka_unit_test(an_alias_is_a_place_of_its_own),
        cmocka_unit_test(a_target_that_changes_is_what_it_is_now),
        cmocka_unit_test(guesses_go_with_a_full_cache),
        cmocka_unit_test(a_guess_that_always_holds_is_left),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
