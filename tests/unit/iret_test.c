/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IRETQ in native code against the interpreter: the usual frame many times, then one that is not,
 * or a state, a descriptor, a page that is not; both engines end in the same state.
 */
#include "iret_guest.h"

/* at: what is changed, from usual to odd; levels: bit n: in returns to level n. */
struct odd {
    uint64_t at, usual, odd;
    unsigned levels;
};

#define TO_KERNEL 1u
#define TO_USER   8u
#define TO_BOTH   (TO_KERNEL | TO_USER)

static void try(const struct odd *o, unsigned level)
{
    enum engine_exit why[2];
    struct guest g[2];

    open_both(g, level);
    for (unsigned n = 0; n < 2; n++) {
        put64(&g[n], CHANGE_AT, o->at);
        put64(&g[n], CHANGE, o->usual);
        put64(&g[n], CHANGE + 8, o->usual);
        put64(&g[n], o->at, o->usual);
        assert_int_equal(run_loop(&g[n], TIMES), ENGINE_EXIT_HALTED);
        put64(&g[n], CHANGE + 8, o->odd);
        why[n] = run_loop(&g[n], TIMES);
    }
    assert_int_equal(why[0], why[1]);
    assert_true(get64(&g[1], LANDINGS) >= 2 * TIMES - 1);
    same_state(&g[0], &g[1]);
    if (why[0] == ENGINE_EXIT_HALTED) { /* and what is odd leaves nothing behind */
        assert_int_equal(run_loop(&g[0], TIMES), run_loop(&g[1], TIMES));
        same_state(&g[0], &g[1]);
    }
    close_both(g);
}

static void try_all(const struct odd *o, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        if (o[n].levels & TO_KERNEL)
            try(&o[n], 0);
        if (o[n].levels & TO_USER)
            try(&o[n], 3);
    }
}

#define TRY_ALL(list_) try_all(list_, sizeof(list_) / sizeof *(list_))

static void frames_are_taken_as_they_are(void **unused)
{
    static const struct odd frames[] = {
        {FRAME(0), LAND, UINT64_C(1) << 47, TO_BOTH},
        {FRAME(0), LAND, UINT64_C(1) << 63 | LAND, TO_BOTH},
        {FRAME(0), LAND, UINT64_C(0xffff800000000000), TO_BOTH},
        {FRAME(0), LAND, HOLE, TO_BOTH},
        {FRAME(0), LAND, LAND + 4, TO_BOTH},
        {FRAME(1), CS_USER, CS_USER | 0xabcd0000u, TO_USER},
        {FRAME(1), CS_USER, CS_USER & ~3u, TO_USER},
        {FRAME(1), CS_USER, CS_USER | 4, TO_USER},
        {FRAME(1), CS_USER, CS_USER - 1, TO_USER},
        {FRAME(1), CS_USER, CS_KERNEL, TO_USER},
        {FRAME(1), CS_USER, CS_USER32, TO_USER},
        {FRAME(1), CS_USER, 0x43, TO_USER},
        {FRAME(1), CS_KERNEL, CS_USER, TO_KERNEL},
        {FRAME(1), CS_KERNEL, SS_KERNEL, TO_KERNEL},
        {FRAME(1), CS_KERNEL, 0, TO_KERNEL},
        {FRAME(3), USER, USER + 5, TO_BOTH},
        {FRAME(3), USER, HOLE + 8, TO_BOTH},
        {FRAME(3), USER, UINT64_C(1) << 47, TO_BOTH},
        {FRAME(4), SS_USER, SS_USER & ~3u, TO_USER},
        {FRAME(4), SS_USER, 0, TO_USER},
        {FRAME(4), SS_USER, 3, TO_USER},
        {FRAME(4), SS_USER, SS_KERNEL, TO_USER},
        {FRAME(4), SS_USER, SS_USER | UINT64_C(1) << 40, TO_USER},
        {FRAME(4), SS_KERNEL, 0, TO_KERNEL},
        {FRAME(4), 0, SS_KERNEL, TO_KERNEL},
        {FRAME(4), SS_KERNEL, SS_USER, TO_KERNEL},
        {FRAME(4), SS_KERNEL, 3, TO_KERNEL},
    };

    (void)unused;
    TRY_ALL(frames);
}

static void flags_are_taken_as_they_are(void **unused)
{
    (void)unused;
    for (unsigned bit = 0; bit < 24; bit++) {
        const struct odd image = {FRAME(2), 0x202, 0x202 ^ UINT64_C(1) << bit, TO_BOTH};
        const struct odd present = {FLAGS, 2, 2 ^ UINT64_C(1) << bit, TO_BOTH};

        try_all(&image, 1);
        if (UINT64_C(1) << bit != RFLAGS_TF)
            try_all(&present, 1);
    }
    TRY_ALL(((const struct odd[]){{FRAME(2), 2, UINT64_C(0xffffffff00003cd5), TO_BOTH},
                                  {FRAME(2), 0x3a97, 2, TO_BOTH}}));
}

static void descriptors_are_those_of_now(void **unused)
{
    static const struct odd descriptors[] = {
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER & ~(UINT64_C(1) << 47), TO_USER}, /* P */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER & ~(UINT64_C(3) << 45), TO_USER}, /* DPL */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER & ~(UINT64_C(1) << 40), TO_USER}, /* accessed */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER ^ UINT64_C(3) << 53, TO_USER},    /* L, D */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER | UINT64_C(1) << 54, TO_USER},    /* both */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER | UINT64_C(1) << 52, TO_USER},    /* AVL */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER | UINT64_C(1) << 42, TO_USER},    /* conforming */
        {GDT + 0x30, DESC_CS_USER, DESC_CS_USER | 0x1230000, TO_USER},            /* base */
        {GDT + 0x28, DESC_SS_USER, DESC_SS_USER & ~(UINT64_C(1) << 47), TO_USER},
        {GDT + 0x28, DESC_SS_USER, DESC_SS_USER & ~(UINT64_C(1) << 41), TO_USER}, /* W */
        {GDT + 0x28, DESC_SS_USER, DESC_SS_USER & ~(UINT64_C(1) << 40), TO_USER},
        {GDT + 0x28, DESC_SS_USER, DESC_SS_USER - 1, TO_USER}, /* limit */
        {GDT + 0x08, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00af9a000000ffff), TO_KERNEL},
        {GDT + 0x08, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00bf9b000000ffff), TO_KERNEL},
        {GDT + 0x10, UINT64_C(0x00cf93000000ffff), UINT64_C(0x00cf92000000ffff), TO_KERNEL},
        {GDTR, (uint64_t)GDT << 16 | 55, (uint64_t)GDT << 16 | 54, TO_USER},
        {GDTR, (uint64_t)GDT << 16 | 55, (uint64_t)GDT << 16 | 47, TO_USER},
        {GDTR, (uint64_t)GDT << 16 | 55, (uint64_t)GDT_COPY << 16 | 55, TO_BOTH},
        {GDTR, (uint64_t)GDT << 16 | 55, (uint64_t)(GDT_COPY + 8) << 16 | 55, TO_BOTH},
    };

    (void)unused;
    TRY_ALL(descriptors);
}

static void data_segments_go_where_they_must(void **unused)
{
    static const struct odd segments[] = {{FS, 0, SS_KERNEL, TO_BOTH},
                                          {FS, 0, SS_USER, TO_BOTH},
                                          {FS, SS_USER, 0, TO_BOTH},
                                          {FS, SS_KERNEL, SS_USER, TO_BOTH}};

    (void)unused;
    TRY_ALL(segments);
}

static void pages_are_looked_up(void **unused)
{
    static const struct odd pages[] = {
        {STACK_AT, KERNEL, (KERNEL & ~0xfffu) + 0x10, TO_BOTH}, /* the frame in two */
        {STACK_AT, KERNEL, KERNEL + 3, TO_BOTH},
        {STACK_AT, KERNEL, DATA + 0x3800u, TO_BOTH},
        {INVALIDATE, DATA + 0x5000u, KERNEL, TO_BOTH},
        {INVALIDATE, DATA + 0x5000u, GDT, TO_BOTH},
        {INVALIDATE, DATA + 0x5000u, LAND, TO_BOTH},
        {PT + 8 * 3, (DATA + 0x3000u) | 7, (DATA + 0x3000u) | 5, TO_BOTH},
    };

    (void)unused;
    TRY_ALL(pages);
}

/* The frame leads to an IRETQ of level 3, whose frame leads on. */
static void level_3_returns_to_itself(void **unused)
{
    const struct odd again = {FRAME(0), LAND, CODE + (uint64_t)(iret_in_loop - to_frame), TO_USER};
    struct guest g[2];

    (void)unused;
    for (unsigned n = 0; n < 2; n++) {
        const uint64_t frame[5] = {LAND, CS_USER, 0x3202, USER + 64, SS_USER};

        open_on(&g[n], n ? "translate" : "interp", 3);
        for (unsigned k = 0; k < 5; k++)
            put64(&g[n], USER + 8 * k, frame[k]);
        put64(&g[n], LOOKS_AT, GDT);
        put64(&g[n], CHANGE_AT, again.at);
        put64(&g[n], CHANGE, again.usual);
        put64(&g[n], CHANGE + 8, again.odd);
        assert_int_equal(run_loop(&g[n], TIMES), ENGINE_EXIT_HALTED);
        put64(&g[n], CHANGE, again.odd);
        assert_int_equal(run_loop(&g[n], TIMES), ENGINE_EXIT_HALTED);
    }
    assert_int_equal(get64(&g[1], LANDINGS), 2 * TIMES);
    same_state(&g[0], &g[1]);
    close_both(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_taken_as_they_are),
        cmocka_unit_test(flags_are_taken_as_they_are),
        cmocka_unit_test(descriptors_are_those_of_now),
        cmocka_unit_test(data_segments_go_where_they_must),
        cmocka_unit_test(pages_are_looked_up),
        cmocka_unit_test(level_3_returns_to_itself),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
