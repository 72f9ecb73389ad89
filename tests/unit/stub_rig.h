/* SPDX-License-Identifier: Apache-2.0 */
/* A stub with a page of code and a page of data, for its tests. */
#ifndef UMBRA_TESTS_STUB_RIG_H
#define UMBRA_TESTS_STUB_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cpu/direct/stub.h"

#define PAGE   UINT64_C(4096)
#define PAGES  4096
#define CODE   UINT64_C(0x400000)
#define DATA   UINT64_C(0x7fff12345000)
#define PLACE  UINT64_C(0x10000)
#define MARKER UINT64_C(0x1122334455667788)

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct rig {
    struct stub *stub;
    uint8_t *ram; /* of the file, whose page 0 is at CODE (read, exec) and page 1 at DATA (write) */
    int fd;
    struct stub_regs r;
    uint8_t fx[512];
    struct stub_exit exit;
};

static bool possible; /* asked once by begin() */

#define RUNS(rig)                                                                                  \
    assert_int_equal(stub_run((rig)->stub, &(rig)->r, (rig)->fx, &(rig)->exit), ERR_OK)
#define CODE_IS(rig, ...)                                                                          \
    memcpy((rig)->ram, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline int setup(void **state)
{
    static struct rig rig;

    *state = &rig;
    if (!possible)
        return 0;
    memset(&rig, 0, sizeof rig);
    rig.fd = memfd_create("ram", MFD_CLOEXEC);
    assert_int_equal(ftruncate(rig.fd, PAGES * PAGE), 0);
    rig.ram = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rig.fd, 0);
    assert_ptr_not_equal(rig.ram, MAP_FAILED);
    assert_int_equal(stub_create(&rig.stub, rig.fd), ERR_OK);
    assert_int_equal(stub_map(rig.stub, CODE, 0, PROT_READ | PROT_EXEC), ERR_OK);
    assert_int_equal(stub_map(rig.stub, DATA, PAGE, PROT_READ | PROT_WRITE), ERR_OK);
    rig.r.rip = CODE;
    rig.r.rflags = 0x202;
    rig.r.gpr[RSP] = DATA + PAGE;
    rig.fx[0] = 0x7f; /* FCW 37Fh, MXCSR 1F80h */
    rig.fx[1] = 0x03;
    rig.fx[24] = 0x80;
    rig.fx[25] = 0x1f;
    return 0;
}

static inline int teardown(void **state)
{
    struct rig *rig = *state;

    if (possible) {
        stub_destroy(rig->stub);
        munmap(rig->ram, PAGES * PAGE);
        close(rig->fd);
    }
    return 0;
}

static inline struct rig *rig_of(void **state)
{
    if (!possible)
        skip();
    return *state;
}

static inline void fault(const struct rig *rig, int signal, int code, uint64_t rip)
{
    assert_int_equal(rig->exit.why, STUB_FAULT);
    assert_int_equal(rig->exit.signal, signal);
    assert_int_equal(rig->exit.code, code);
    assert_int_equal(rig->r.rip, rip);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Whether there are stubs here, or a word why all is skipped. */
static inline void begin(void)
{
    const char *why = "";

    possible = stub_is_possible(&why);
    if (!possible)
        print_message("SKIP: this host runs no guest code in a process of its own: %s\n", why);
}

#endif
