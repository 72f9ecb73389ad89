/* SPDX-License-Identifier: Apache-2.0 */
/* REP STOS and REP MOVS over page tables, whichever way the shadow follows them. */
#include "interp_guest.h"

#include "cpu/translate/translate.h"

#define TURNS     100
#define TURNS_ASM "100"

/* Two tables to copy from, in frames at 64 MiB: places in the TLB are those of the tables at 0. */
#define FAR_ASM "0x4013000"
#define TABLES  0x213000u
#define OTHER   (DATA + 0x5000u)

static void put_tables(struct guest *g)
{
    put64(g, PD + 8 * 32, 0x200083);
    for (unsigned n = 0; n < 2; n++)
        for (unsigned i = 0; i < 512; i++)
            put64(g, TABLES + n * 0x1000 + 8 * i, get64(g, PT + 8 * i));
    put64(g, TABLES + 0x1000, OTHER | 3);
    put64(g, DATA, 1);
    put64(g, OTHER, 100);
}

/* The tables in turns, and a load of what the first entry maps. */
#define COPIES(count_)                                                                             \
    "mov $" TURNS_ASM ", %r8d\n xor %r9d, %r9d\n"                                                  \
    "1: mov $0x13000, %edi\n mov $" FAR_ASM ", %esi\n test $1, %r8d\n jz 2f\n"                     \
    "add $0x1000, %esi\n 2: mov $" count_ ", %ecx\n rep movsq\n invlpg 0x200000\n"                 \
    "add 0x200000, %r9\n dec %r8d\n jnz 1b\n"

GUEST(whole, 64, COPIES("512"));
GUEST(parts, 64, COPIES("2"));

GUEST(cleared, 64,
      "mov 0x200000, %rbx\n mov $0x13000, %edi\n mov $4096, %ecx\n xor %eax, %eax\n rep stosb\n"
      "invlpg 0x200000\n mov 0x200000, %rbx\n");

static const struct {
    const char *engine;
    enum mmu_strategy strategy;
} ways[] = {{"interp", MMU_LAZY},    {"interp", MMU_TRACE},    {"interp", MMU_ADAPTIVE},
            {"translate", MMU_LAZY}, {"translate", MMU_TRACE}, {"translate", MMU_ADAPTIVE}};

#define WAYS (sizeof ways / sizeof *ways)

static bool opens(struct guest *g, unsigned way)
{
    if (!engine_find(ways[way].engine))
        return false;
    guest_open_with(g, 64, ways[way].engine,
                    (struct vcpu_config){.hot_runs = 1, .mmu_strategy = ways[way].strategy});
    put_tables(g);
    g->s.gpr[RSP] = 0x180000; /* which these tables do not map */
    return true;
}

static uint64_t noted(const struct guest *g)
{
    return g->vcpu->ops->stats(g->vcpu)->stores_noted;
}

static void copies_are_seen(void **unused)
{
    struct guest g;

    (void)unused;
    for (unsigned way = 0; way < WAYS; way++) {
        if (!opens(&g, way))
            continue;
        RUN(&g, whole);
        assert_int_equal(g.s.gpr[R9], TURNS / 2 * 101);
        assert_true(noted(&g) <= 3 * TURNS); /* not each entry */
        RUN(&g, parts);
        assert_int_equal(g.s.gpr[R9], TURNS / 2 * 101);
        assert_true(mmu_audit(g.vcpu->ops->mmu(g.vcpu)));
        guest_close(&g);
    }
}

static void cleared_tables_map_nothing(void **unused)
{
    struct guest g;

    (void)unused;
    for (unsigned way = 0; way < WAYS; way++) {
        if (!opens(&g, way))
            continue;
        RUN(&g, cleared);
        assert_int_equal(g.s.gpr[RDI], VEC_PF);
        assert_int_equal(g.s.gpr[RBX], 1);
        assert_true(noted(&g) < 10);
        assert_true(mmu_audit(g.vcpu->ops->mmu(g.vcpu)));
        guest_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_seen),
        cmocka_unit_test(cleared_tables_map_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
