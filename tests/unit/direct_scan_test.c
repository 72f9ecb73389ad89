/* SPDX-License-Identifier: Apache-2.0 */
/* Which code is let run on the host's CPU, and where it is stopped (scan.h). */
#include "interp_guest.h"

#include "cpu/translate/scan.h"

#define NOP  0x90
#define FAR  0x123u /* an offset where reading is in step */
#define LAST (PAGE_SIZE - 1)

struct rig {
    struct guest g;
    uint8_t page[PAGE_SIZE], next[PAGE_SIZE];
    struct scan found;
};

static int setup(void **state)
{
    static struct rig r;

    memset(&r, 0, sizeof r);
    memset(r.page, NOP, sizeof r.page);
    memset(r.next, NOP, sizeof r.next);
    guest_open(&r.g, 64);
    r.g.vcpu->ops->set_state(r.g.vcpu, &r.g.s);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    guest_close(&((struct rig *)*state)->g);
    return 0;
}

static bool scan(struct rig *r, const uint8_t *next)
{
    return scan_code((const struct interp *)r->g.vcpu, r->page, next, true, &r->found);
}

struct piece {
    const char *name;
    uint8_t bytes[8];
    unsigned length;
};

#define PIECE(name, ...)                                                                           \
    {                                                                                              \
        name, {__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                                \
    }

static void put(struct rig *r, unsigned at, const struct piece *p)
{
    memset(r->page, NOP, sizeof r->page);
    memcpy(r->page + at, p->bytes, p->length < PAGE_SIZE - at ? p->length : PAGE_SIZE - at);
}

static const struct piece trapped[] = {
    PIECE("cpuid", 0x0f, 0xa2),
    PIECE("rdtsc", 0x0f, 0x31),
    PIECE("rdtscp", 0x0f, 0x01, 0xf9),
    PIECE("xgetbv", 0x0f, 0x01, 0xd0),
    PIECE("rdpid", 0xf3, 0x0f, 0xc7, 0xf8),
    PIECE("rdrand", 0x0f, 0xc7, 0xf0),
    PIECE("rdpkru", 0x0f, 0x01, 0xee),
    PIECE("lsl", 0x0f, 0x03, 0xc1),
    PIECE("lar", 0x0f, 0x02, 0xc1),
    PIECE("verr", 0x0f, 0x00, 0xe0),
    PIECE("sgdt", 0x0f, 0x01, 0x00),
    PIECE("smsw", 0x0f, 0x01, 0xe0),
    PIECE("xsave", 0x0f, 0xae, 0x20),
    PIECE("fxsave64", 0x48, 0x0f, 0xae, 0x00),
    PIECE("retf", 0xcb),
    PIECE("retfq", 0x48, 0xcb),
    PIECE("iretq", 0x48, 0xcf),
    PIECE("far call", 0xff, 0x18),
    PIECE("mov to ds", 0x8e, 0xd8),
    PIECE("pop fs", 0x0f, 0xa1),
    PIECE("lss", 0x0f, 0xb2, 0x00),
    PIECE("int1", 0xf1),
    PIECE("int 4", 0xcd, 0x04),
    PIECE("int 80h", 0xcd, 0x80),
    PIECE("sysenter", 0x0f, 0x34),
    PIECE("wrfsbase without CR4.FSGSBASE", 0xf3, 0x48, 0x0f, 0xae, 0xd0),
};

static void traps_are_where_they_are(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < sizeof trapped / sizeof *trapped; i++) {
        put(r, FAR, &trapped[i]);
        if (!scan(r, r->next) || r->found.traps != 1 || r->found.trap[0] != FAR)
            fail_msg("%s: %u traps", trapped[i].name, r->found.traps);
    }
}

/* What is in the middle of an instruction there is not known. */
static void at_the_beginning_they_refuse(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < sizeof trapped / sizeof *trapped; i++)
        for (unsigned at = 0; at < 32; at += 31) {
            put(r, at, &trapped[i]);
            if (scan(r, r->next) && !r->found.traps)
                fail_msg("%s at %u may run", trapped[i].name, at);
        }
    put(r, 0, &(struct piece)PIECE("mov $0xa20f0000, %eax", 0xb8, 0, 0, 0x0f, 0xa2));
    assert_true(scan(r, r->next));
    assert_false(scan_code((const struct interp *)r->g.vcpu, r->page, r->next, false, &r->found));
    /* RDTSC's bytes, but all ways to read come to JE and XOR before. */
    memset(r->page, NOP, sizeof r->page);
    memcpy(r->page + 20, (const uint8_t[]){0x74, 0x0f, 0x31, 0xf6}, 4);
    assert_true(scan_code((const struct interp *)r->g.vcpu, r->page, r->next, false, &r->found));
    assert_int_equal(r->found.traps, 0);
}

static void all_else_may_run(void **state)
{
    static const struct piece plain[] = {
        PIECE("add", 0x48, 0x01, 0xd8),
        PIECE("syscall", 0x0f, 0x05),
        PIECE("ud2", 0x0f, 0x0b),
        PIECE("int3", 0xcc),
        PIECE("hlt", 0xf4),
        PIECE("mov from ds", 0x8c, 0xd8),
        PIECE("vpaddd ymm", 0xc5, 0xf5, 0xfe, 0xc1),
        PIECE("vpternlogd zmm", 0x62, 0xf3, 0x75, 0x48, 0x25, 0xc1, 0xff),
        PIECE("tzcnt", 0xf3, 0x0f, 0xbc, 0xc1),
        PIECE("endbr64", 0xf3, 0x0f, 0x1e, 0xfa),
        PIECE("ldmxcsr", 0x0f, 0xae, 0x10),
        PIECE("fld", 0xdd, 0x00),
        PIECE("cpuid in a constant", 0xb8, 0x0f, 0xa2, 0, 0),
    };
    struct rig *r = *state;

    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 0);
    for (unsigned i = 0; i < sizeof plain / sizeof *plain; i++) {
        put(r, FAR, &plain[i]);
        if (!scan(r, r->next) || r->found.traps)
            fail_msg("%s: %u traps", plain[i].name, r->found.traps);
    }
}

static void bases_by_instruction_where_they_are_allowed(void **state)
{
    struct rig *r = *state;

    r->g.s.cr4 |= CR4_FSGSBASE;
    r->g.vcpu->ops->set_state(r->g.vcpu, &r->g.s);
    put(r, FAR, &(struct piece)PIECE("wrfsbase", 0xf3, 0x48, 0x0f, 0xae, 0xd0));
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 0);
}

/* 0F is the page's last byte: the next page says what it is. */
static void the_last_instruction_goes_on_in_the_next_page(void **state)
{
    struct rig *r = *state;

    r->page[LAST] = 0x0f;
    r->next[0] = 0xa2;
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 1);
    assert_int_equal(r->found.trap[0], LAST);
    assert_false(r->found.is_guess);
    assert_true(scan(r, NULL));
    assert_int_equal(r->found.traps, 1);
    assert_true(r->found.is_guess);
    r->next[0] = 0xaf; /* imul */
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 0);
    assert_false(r->found.is_guess);
    memcpy(r->next, (const uint8_t[]){0x01, 0xf0}, 2); /* LMSW faults, LSL does not */
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 0);
    memcpy(r->next, (const uint8_t[]){0x03, 0xc1}, 2);
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 1);
    r->page[LAST] = 0xe8; /* call */
    assert_true(scan(r, NULL));
    assert_int_equal(r->found.traps, 0);
    memcpy(r->page + LAST - 1, (const uint8_t[]){0x48, 0x0f}, 2);
    memcpy(r->next, (const uint8_t[]){0xb2, 0x00}, 2); /* lss */
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 1);
    assert_int_equal(r->found.trap[0], LAST - 1);
    r->page[LAST - 1] = NOP;
    r->page[LAST] = 0x8e; /* mov to a segment register */
    assert_true(scan(r, NULL));
    assert_int_equal(r->found.traps, 1);
}

/* 06 (PUSH ES once) is nothing in 64-bit code. */
static void data_among_the_code(void **state)
{
    struct rig *r = *state;

    r->page[FAR] = 0x06;
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 0);
    memcpy(r->page + 0x800, (const uint8_t[]){0x0f, 0xa2}, 2);
    assert_false(scan(r, r->next));
    /* Hidden in what seems to be an instruction: perhaps it is none. */
    memcpy(r->page + 0x800, (const uint8_t[]){0xb8, 0x0f, 0xa2}, 3);
    assert_false(scan(r, r->next));
    r->page[FAR] = NOP;
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, 0);
}

static void too_many_refuse(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < SCAN_TRAPS; i++)
        memcpy(r->page + 64 + 4 * i, (const uint8_t[]){0x0f, 0x31}, 2);
    assert_true(scan(r, r->next));
    assert_int_equal(r->found.traps, SCAN_TRAPS);
    for (unsigned i = 0; i < SCAN_TRAPS; i++)
        assert_int_equal(r->found.trap[i], 64 + 4 * i);
    r->page[LAST] = 0xcb;
    assert_false(scan(r, r->next));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(traps_are_where_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(at_the_beginning_they_refuse, setup, teardown),
        cmocka_unit_test_setup_teardown(all_else_may_run, setup, teardown),
        cmocka_unit_test_setup_teardown(bases_by_instruction_where_they_are_allowed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_last_instruction_goes_on_in_the_next_page, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(data_among_the_code, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_refuse, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
