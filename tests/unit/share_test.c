/* SPDX-License-Identifier: Apache-2.0 */
/* Shared copies against a model: who finds what, users, collisions, hints, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mem/store/share.h"
#include "store_model.h"

#define MIB (UINT64_C(1) << 20)

static struct share *open_share(void)
{
    struct share *sh;

    assert_int_equal(share_create(&sh), ERR_OK);
    return sh;
}

static void check(const struct share *sh, uint64_t users)
{
    if (!share_check(sh, users))
        fail_msg("%s", err_text());
}

static void find_add_drop(void **state)
{
    struct share *sh = open_share();
    uint64_t page[PAGE_SIZE / 8], other[PAGE_SIZE / 8];
    uint64_t hash, other_hash;
    share_id id;
    (void)state;

    model_fill(page, 1, 4096);
    model_fill(other, 1, 4096);
    other[511] ^= UINT64_C(1) << 63; /* the last bit */
    hash = share_hash(page);
    other_hash = share_hash(other);
    assert_int_not_equal(hash, other_hash);
    assert_int_equal(share_find(sh, hash, page), 0);
    id = share_add(sh, hash, page);
    assert_int_not_equal(id, 0);
    assert_int_equal(share_users(sh, id), 1);
    assert_memory_equal(hva_ptr(share_hva(sh, id)), page, PAGE_SIZE);
    assert_int_equal(share_hva(sh, id).v % PAGE_SIZE, 0);
    assert_int_equal(share_find(sh, hash, page), id);
    assert_int_equal(share_users(sh, id), 2);
    check(sh, 2);
    assert_false(share_check(sh, 3)); /* and it says so when somebody miscounts */
    assert_int_equal(share_find(sh, other_hash, other), 0);
    assert_int_equal(share_copies(sh), 1);
    share_drop(sh, id);
    check(sh, 1);
    share_drop(sh, id);
    check(sh, 0);
    assert_int_equal(share_copies(sh), 0);
    assert_int_equal(share_find(sh, hash, page), 0);
    share_destroy(sh);
    share_destroy(NULL);
}

/* Many different pages said to have the same hash: nobody gets another's. */
static void collisions_never_share(void **state)
{
    struct share *sh = open_share();
    uint64_t page[PAGE_SIZE / 8];
    share_id id[300];
    (void)state;

    for (unsigned i = 0; i < 300; i++) {
        model_fill(page, i, 100);
        assert_int_equal(share_find(sh, 42, page), 0);
        id[i] = share_add(sh, 42, page);
        assert_int_not_equal(id[i], 0);
    }
    for (unsigned i = 0; i < 300; i += 2)
        share_drop(sh, id[i]);
    for (unsigned i = 0; i < 300; i++) {
        model_fill(page, i, 100);
        assert_int_equal(share_find(sh, 42, page), i % 2 ? id[i] : 0);
    }
    share_destroy(sh);
}

static void writing_to_a_copy_is_seen(void **state)
{
    struct share *sh = open_share();
    uint64_t page[PAGE_SIZE / 8];
    share_id id;
    (void)state;

    model_fill(page, 1, 4096);
    id = share_add(sh, share_hash(page), page);
    check(sh, 1);
    *(uint8_t *)hva_ptr(share_hva(sh, id)) ^= 1;
    assert_false(share_check(sh, 1));
    assert_non_null(strstr(err_text(), "written"));
    *(uint8_t *)hva_ptr(share_hva(sh, id)) ^= 1;
    check(sh, 1);
    share_destroy(sh);
}

static void hints(void **state)
{
    struct share *sh = open_share();
    uint64_t seed = 3, found = 0;
    (void)state;

    assert_int_equal(share_hint(sh, 77, 5), UINT64_MAX);
    assert_int_equal(share_hint(sh, 77, 6), 5);
    assert_int_equal(share_hint(sh, 77, 0), 6);
    assert_int_equal(share_hint(sh, 77, 1), 0);
    assert_int_equal(share_hint(sh, 0, 9), UINT64_MAX);
    assert_int_equal(share_hint(sh, 0, 9), 9);
    /* bounded: a guest of any size is remembered as far as there is room, the newest first */
    for (uint64_t who = 0; who < 1000000; who++)
        share_hint(sh, model_next(&seed), who);
    seed = 3;
    for (uint64_t who = 0; who < 1000000; who++) {
        uint64_t before = share_hint(sh, model_next(&seed), who);
        assert_true(before == UINT64_MAX || before == who);
        found += before == who;
    }
    assert_true(found < 100000);
    share_drop_all(sh);
    assert_int_equal(share_hint(sh, 77, 5), UINT64_MAX);
    share_destroy(sh);
}

/* ---- random ---- */

#define CONTENTS 6000

static void against_a_model(void **state)
{
    struct share *sh = open_share();
    static share_id id[CONTENTS];
    static uint32_t users[CONTENTS];
    uint64_t page[PAGE_SIZE / 8], seed = 11, sum = 0, copies = 0;
    (void)state;

    for (unsigned step = 0; step < 300000; step++) {
        unsigned i = (unsigned)model_below(&seed, CONTENTS);
        /* phases that grow and phases that shrink */
        bool wants = model_below(&seed, 100) < (step / 50000 % 2 ? 35 : 65);
        model_fill(page, i, 64);
        /* every third has one of 256 hashes: long chains */
        uint64_t hash = i % 3 ? share_hash(page) : share_hash(page) & 0xff;
        if (wants) {
            share_id got = share_find(sh, hash, page);
            assert_int_equal(got, users[i] ? id[i] : 0);
            if (!got) {
                got = share_add(sh, hash, page);
                assert_int_not_equal(got, 0);
                copies++;
            }
            id[i] = got;
            users[i]++;
            sum++;
        } else if (users[i]) {
            assert_true(model_is(hva_ptr(share_hva(sh, id[i])), i, 64));
            share_drop(sh, id[i]);
            sum--;
            copies -= !--users[i];
        }
        assert_int_equal(share_copies(sh), copies);
    }
    for (unsigned i = 0; i < CONTENTS; i++)
        if (users[i])
            assert_int_equal(share_users(sh, id[i]), users[i]);
    share_drop_all(sh);
    check(sh, 0);
    share_destroy(sh);
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu %llu", &size, &resident), 2);
    fclose(f);
    return resident * PAGE_SIZE;
}

static void memory_comes_back(void **state)
{
    enum { COPIES = 10000 };
    struct share *sh = open_share();
    static share_id id[COPIES];
    uint64_t page[PAGE_SIZE / 8], before = resident_bytes(), half;
    (void)state;

    for (unsigned i = 0; i < COPIES; i++) {
        model_fill(page, i, 64);
        id[i] = share_add(sh, share_hash(page), page);
        assert_int_not_equal(id[i], 0);
    }
    check(sh, COPIES);
    assert_true(resident_bytes() > before + COPIES * PAGE_SIZE - MIB);
    for (unsigned i = 0; i < COPIES; i += 2)
        share_drop(sh, id[i]);
    half = COPIES / 2 * PAGE_SIZE;
    assert_true(resident_bytes() < before + half + 4 * MIB);
    check(sh, COPIES / 2);
    for (unsigned i = 1; i < COPIES; i += 2)
        share_drop(sh, id[i]);
    assert_true(resident_bytes() < before + 4 * MIB);
    check(sh, 0);
    share_destroy(sh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find_add_drop),
        cmocka_unit_test(collisions_never_share),
        cmocka_unit_test(writing_to_a_copy_is_seen),
        cmocka_unit_test(hints),
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(memory_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
