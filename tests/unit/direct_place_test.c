/* SPDX-License-Identifier: Apache-2.0 */
/* A program with pages where a stub has its own place. */
#include "direct_guest.h"

#include <stdio.h>

#include "cpu/direct/stub.h"

/*
 * What is read before it was ever written, by data and as code, and what is written; the program
 * runs directly all the same.
 */
GUEST(low_pages, 64,
      LONG SHORT "mov 0x1a000, %rbp\n" SHORT "mov $0x1b000, %eax\n call *%rax\n"
                 "mov $30, %ecx\n 1:" SHORT "movq $0x1234, 0x1e800\n" SHORT "add 0x1e800, %rbp\n"
                 "dec %ecx\n jnz 1b\n" END);

/* A page there that is not in the guest's tables faults. */
GUEST(low_hole, 64, LONG SHORT "mov 0x1a000, %rbp\n" END);

static void make_low_hole(struct guest *g)
{
    for (unsigned i = 0; i < 512; i++)
        put64(g, OTHER + 8 * i, i == 0x1a ? 0 : i * PAGE_SIZE | 7);
    put64(g, PD, OTHER | 7);
}

static void its_pages_are_those_of_the_program(void **state)
{
    static const uint8_t adds_one[] = {0x48, 0xff, 0xc5, 0xc3}; /* inc %rbp; ret */
    struct guest g;
    (void)state;

    direct_open(&g, "translate");
    put64(&g, 0x1a000, UINT64_C(0x7700000000));
    put_code(&g, 0x1b000, adds_one, adds_one + sizeof adds_one);
    start_at(&g, low_pages, low_pages_end, SPIN);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RDI], VEC_GP);
    assert_int_equal(g.s.gpr[RBP], UINT64_C(0x7700000001) + 30 * 0x1234);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

static void a_hole_there_is_a_hole(void **state)
{
    struct guest g;
    (void)state;

    direct_open(&g, "translate");
    make_low_hole(&g);
    start_at(&g, low_hole, low_hole_end, SPIN);
    run_to_halt(&g);
    assert_int_equal(g.s.gpr[RDI], 14);
    assert_int_equal(g.s.cr2, 0x1a000);
    assert_true(direct_runs(&g) > 0);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_pages_are_those_of_the_program),
        cmocka_unit_test(a_hole_there_is_a_hole),
    };
    int skipped = direct_is_skipped();

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
