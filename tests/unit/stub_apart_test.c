/* SPDX-License-Identifier: Apache-2.0 */
/* A stub as a process: kicks, signals and death from outside, and what lies in its memory. */
#include "stub_rig.h"

#include <sys/personality.h>

#include "cpu/direct/stub_private.h"

static void *kicker(void *arg)
{
    struct rig *rig = arg;
    volatile uint64_t *counter = (volatile uint64_t *)(rig->ram + PAGE);
    uint64_t start = *counter;

    while (*counter == start) /* until the loop runs */
        sched_yield();
    stub_kick(rig->stub);
    return NULL;
}

static void kicks(void **state)
{
    struct rig *rig = rig_of(state);
    pthread_t thread;

    CODE_IS(rig, 0x48, 0xff, 0x03, 0xeb, 0xfb); /* 1: incq (%rbx); jmp 1b */
    rig->r.gpr[RBX] = DATA;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pthread_create(&thread, NULL, kicker, rig), 0);
        RUNS(rig);
        assert_int_equal(rig->exit.why, STUB_KICKED);
        pthread_join(thread, NULL);
    }
    stub_kick(rig->stub); /* before the run */
    stub_kick(rig->stub);
    uint64_t counter;
    memcpy(&counter, rig->ram + PAGE, 8);
    RUNS(rig);
    assert_int_equal(rig->exit.why, STUB_KICKED);
    assert_memory_equal(rig->ram + PAGE, &counter, 8);
    CODE_IS(rig, 0x0f, 0x0b);
    rig->r.rip = CODE;
    RUNS(rig); /* no kick is left */
    fault(rig, SIGILL, ILL_ILLOPN, CODE);
}

struct bell {
    struct stub *stub;
    atomic_bool over;
};

static void *ring(void *arg)
{
    struct bell *bell = arg;

    while (!bell->over) {
        stub_kick(bell->stub);
        sched_yield();
    }
    return NULL;
}

/* Kicks at any moment of runs and batches: no register is lost and nothing waits for ever. */
static void kicks_anywhere(void **state)
{
    struct rig *rig = rig_of(state);
    struct bell bell = {.stub = rig->stub};
    pthread_t thread;
    uint64_t done = 0;

    CODE_IS(rig, 0x48, 0xff, 0xc0, 0x0f, 0x05); /* inc %rax; syscall */
    rig->r.gpr[RAX] = 0;
    assert_int_equal(pthread_create(&thread, NULL, ring, &bell), 0);
    for (int i = 0; i < 2000; i++) {
        uint64_t lin = UINT64_C(0x500000) + (unsigned)i % 7 * PAGE;

        if (i % 3 == 0)
            assert_int_equal(stub_map(rig->stub, lin, PAGE, PROT_READ), ERR_OK);
        RUNS(rig);
        if (rig->exit.why == STUB_SYSCALL) {
            done++;
            rig->r.rip = CODE;
        } else {
            assert_int_equal(rig->exit.why, STUB_KICKED);
        }
        assert_int_equal(rig->r.gpr[RAX], done + (rig->r.rip == CODE + 3));
    }
    bell.over = true;
    pthread_join(thread, NULL);
}

static void *sender(void *arg)
{
    struct rig *rig = arg;

    kicker(arg); /* only its wait is wanted: one kick more does no harm */
    kill(stub_pid(rig->stub), SIGINT);
    kill(stub_pid(rig->stub), SIGSEGV);
    kill(stub_pid(rig->stub), SIGSTOP);
    return NULL;
}

static void signals_from_outside(void **state)
{
    struct rig *rig = rig_of(state);
    pthread_t thread;

    CODE_IS(rig, 0x48, 0xff, 0x03, 0xeb, 0xfb);
    rig->r.gpr[RBX] = DATA;
    assert_int_equal(pthread_create(&thread, NULL, sender, rig), 0);
    for (int i = 0; i < 4; i++) {
        RUNS(rig);
        assert_int_equal(rig->exit.why, STUB_KICKED);
    }
    pthread_join(thread, NULL);
}

static void *killer(void *arg)
{
    struct rig *rig = arg;
    volatile uint64_t *counter = (volatile uint64_t *)(rig->ram + PAGE);

    while (!*counter)
        sched_yield();
    kill(stub_pid(rig->stub), SIGKILL);
    return NULL;
}

static void killed(void **state)
{
    struct rig *rig = rig_of(state);
    struct stub_regs before;
    pthread_t thread;

    CODE_IS(rig, 0x48, 0xff, 0x03, 0xeb, 0xfb);
    rig->r.gpr[RBX] = DATA;
    before = rig->r;
    assert_int_equal(pthread_create(&thread, NULL, killer, rig), 0);
    assert_int_equal(stub_run(rig->stub, &rig->r, rig->fx, &rig->exit), ERR_IO);
    assert_non_null(strstr(err_text(), "signal 9"));
    pthread_join(thread, NULL);
    assert_memory_equal(&before, &rig->r, sizeof before);
    stub_kick(rig->stub);
    assert_int_equal(stub_run(rig->stub, &rig->r, rig->fx, &rig->exit), ERR_OK); /* the kick */
    assert_int_equal(stub_run(rig->stub, &rig->r, rig->fx, &rig->exit), ERR_IO);
    assert_int_equal(stub_map(rig->stub, CODE, 0, PROT_READ), ERR_OK);
    assert_int_equal(stub_run(rig->stub, &rig->r, rig->fx, &rig->exit), ERR_IO);
}

/* While it is stopped, also where it had all registers already: nothing is lost. */
static void killed_between(void **state)
{
    struct rig *rig = rig_of(state);
    pthread_t thread;

    CODE_IS(rig, 0x48, 0xff, 0x03, 0xeb, 0xfb);
    rig->r.gpr[RBX] = DATA;
    assert_int_equal(pthread_create(&thread, NULL, kicker, rig), 0);
    RUNS(rig);
    pthread_join(thread, NULL);
    kill(stub_pid(rig->stub), SIGKILL);
    assert_int_equal(stub_run(rig->stub, &rig->r, rig->fx, &rig->exit), ERR_IO);
    assert_non_null(strstr(err_text(), "signal 9"));
    assert_false(rig->exit.has_begun);
}

/* Its own code may fault when guest code has taken rights away: an error, not a loop. */
static void list_out_of_reach(void **state)
{
    struct rig *rig = rig_of(state);

    stub_batch_clear(rig->stub, STUB_PLACE, STUB_PLACE + PAGE);
    CODE_IS(rig, 0x0f, 0x0b);
    assert_int_equal(stub_run(rig->stub, &rig->r, rig->fx, &rig->exit), ERR_INTERNAL);
    assert_non_null(strstr(err_text(), "cannot map memory"));
    assert_false(rig->exit.has_begun);
}

/* A page to read is not to be executed, whoever has started us. */
static void reading_is_not_executing(void **state)
{
    struct rig *rig = rig_of(state);
    int before = personality(0xffffffff);
    struct stub *other;

    assert_true(personality((unsigned)before | READ_IMPLIES_EXEC) >= 0);
    assert_int_equal(stub_create(&other, rig->fd), ERR_OK);
    assert_true(personality((unsigned)before) >= 0);
    assert_int_equal(stub_map(other, CODE, 0, PROT_READ), ERR_OK);
    CODE_IS(rig, 0x0f, 0x0b);
    assert_int_equal(stub_run(other, &rig->r, rig->fx, &rig->exit), ERR_OK);
    fault(rig, SIGSEGV, SEGV_ACCERR, CODE);
    stub_destroy(other);
}

/* Lines of /proc/PID/maps outside the place, apart from the kernel's own page in the upper half. */
static unsigned foreign_mappings(const struct rig *rig)
{
    char path[64], line[512];
    unsigned found = 0;

    snprintf(path, sizeof path, "/proc/%d/maps", stub_pid(rig->stub));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long long from = 0;

        assert_int_equal(sscanf(line, "%llx-", &from), 1);
        if (from >= PLACE && stub_owns(from))
            continue;
        found++;
    }
    fclose(f);
    return found;
}

static unsigned descriptors(const struct rig *rig)
{
    char path[64], target[64];
    unsigned found = 0;

    for (int fd = 0; fd < 1024; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", stub_pid(rig->stub), fd);
        found += readlink(path, target, sizeof target) >= 0;
    }
    return found;
}

static void nothing_of_ours(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x0f, 0x0b);
    assert_int_equal(foreign_mappings(rig), 0);
    assert_int_equal(descriptors(rig), 2);
    RUNS(rig);
    assert_int_equal(foreign_mappings(rig), 2);
    stub_unmap_all(rig->stub);
    assert_int_equal(stub_flush(rig->stub), ERR_OK);
    assert_int_equal(foreign_mappings(rig), 0);
}

static void many_pages(void **state)
{
    struct rig *rig = rig_of(state);
    uint64_t base = UINT64_C(0x10000000);

    for (unsigned i = 2; i < PAGES; i++) {
        memcpy(rig->ram + i * PAGE, &(uint64_t){i}, 8);
        assert_int_equal(
            stub_map(rig->stub, base + (PAGES - i) * 2 * PAGE, i * PAGE, PROT_READ | PROT_WRITE),
            ERR_OK); /* no two of them are neighbours, and more than one list */
    }
    CODE_IS(rig, 0x48, 0x03, 0x03,              /* 1: add (%rbx),%rax */
            0x48, 0x81, 0xc3, 0x00, 0x20, 0, 0, /* add $0x2000,%rbx */
            0xff, 0xc9,                         /* dec %ecx */
            0x75, 0xf2,                         /* jnz 1b */
            0x0f, 0x0b);
    rig->r.gpr[RBX] = base + 2 * PAGE;
    rig->r.gpr[RCX] = PAGES - 2;
    RUNS(rig);
    fault(rig, SIGILL, ILL_ILLOPN, CODE + 14);
    assert_int_equal(rig->r.gpr[RAX], (uint64_t)(PAGES - 1) * PAGES / 2 - 1);
    assert_int_equal(foreign_mappings(rig), PAGES);
}

static void neighbours_are_one(void **state)
{
    struct rig *rig = rig_of(state);

    CODE_IS(rig, 0x0f, 0x0b);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(stub_map(rig->stub, UINT64_C(0x10000000) + i * PAGE, i * PAGE, PROT_READ),
                         ERR_OK);
    RUNS(rig);
    assert_int_equal(foreign_mappings(rig), 3);
}

static void two_stubs(void **state)
{
    struct rig *rig = rig_of(state);
    struct stub *other;

    assert_int_equal(stub_create(&other, rig->fd), ERR_OK);
    CODE_IS(rig, 0xff, 0xc0, 0x0f, 0x0b); /* inc %eax; ud2 */
    assert_int_equal(stub_map(other, CODE, 0, PROT_READ | PROT_EXEC), ERR_OK);
    for (int i = 0; i < 3; i++) {
        rig->r.rip = CODE;
        RUNS(rig);
        rig->r.rip = CODE;
        assert_int_equal(stub_run(other, &rig->r, rig->fx, &rig->exit), ERR_OK);
    }
    assert_int_equal(rig->r.gpr[RAX], 6);
    stub_destroy(other);
    stub_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kicks),
        TEST(kicks_anywhere),
        TEST(signals_from_outside),
        TEST(killed),
        TEST(killed_between),
        TEST(nothing_of_ours),
        TEST(list_out_of_reach),
        TEST(reading_is_not_executing),
        TEST(many_pages),
        TEST(neighbours_are_one),
        TEST(two_stubs),
    };

    begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
