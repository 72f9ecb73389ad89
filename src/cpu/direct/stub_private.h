/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the stub share: its state, its own place and the list of calls that lies there.
 *
 * Invariants
 *  1 Between two functions of stub.h the process is stopped, or gone (pid 0).
 *  2 The process makes no system call but those of the list, by the code at STUB_PLACE, under
 *    PTRACE_CONT. Code of the guest runs under PTRACE_SYSEMU only.
 *  3 `set` is what the process has in its registers when set_valid, fx when fx_valid.
 *  4 The stub's own place is a mapping of a file that is empty while guest code runs: whatever
 *    touches it there gets SIGBUS. It has contents only while a list is carried out (is_open).
 */
#ifndef UMBRA_CPU_DIRECT_STUB_PRIVATE_H
#define UMBRA_CPU_DIRECT_STUB_PRIVATE_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/user.h>

#include "cpu/direct/stub.h"

#define STUB_PAGE       UINT64_C(4096)
#define STUB_PLACE      UINT64_C(0x10000) /* the lowest address that kernels allow by default */
#define STUB_PLACE_SIZE (16 * STUB_PAGE)
#define STUB_PLACE_END  (STUB_PLACE + STUB_PLACE_SIZE)
#define STUB_CODE_SIZE  UINT64_C(64)
#define STUB_LIST       (STUB_PLACE + STUB_CODE_SIZE)
#define STUB_TOP        UINT64_C(0x7ffffffff000) /* the end of what user code can have */
#define STUB_RAM_FD     3                        /* in the process */
#define STUB_PLACE_FD   4

/* One system call of the list, as stub_batch.S reads it. */
struct stub_call {
    uint64_t number, address, bytes, prot, offset;
};

/* The last one is for the end of the list. */
#define STUB_CALLS ((STUB_PLACE_SIZE - STUB_CODE_SIZE) / sizeof(struct stub_call) - 1)

/* What lies in the file of the stub's place while it is open; as much of the list as is queued. */
struct stub_place {
    uint8_t code[STUB_CODE_SIZE];
    struct stub_call calls[STUB_CALLS + 1];
};
static_assert(sizeof(struct stub_place) <= STUB_PLACE_SIZE, "mapped as such");

/* Told by the new process, in memory that it shares with us until its first stop. */
struct stub_birth {
    int step; /* enum stub_step: what the process was about to do */
    int error;
};

struct stub {
    pid_t pid;  /* 0: gone */
    int pidfd;  /* -1: none */
    int status; /* of the newest waitpid */
    clockid_t clock;
    atomic_bool running, kicked;
    bool set_valid, fx_valid, empty_xstate, copies;
    struct user_regs_struct set;
    uint8_t fx[512];
    struct stub_place place;
    int place_fd; /* -1: none */
    bool is_open;
    uint32_t calls; /* queued in the list */
    void *xstate;   /* the empty extended state */
    size_t xstate_bytes;
};

/* The code of the list: begin, where each call returns to, an INT3, where it takes flags, end. */
extern const uint8_t stub_batch_code[], stub_batch_called[], stub_batch_stop[], stub_batch_flags[],
    stub_batch_end[];

/* What a new process does, in order: the X-macro gives the constant and the text of its failure. */
#define STUB_STEPS(X)                                                                              \
    X(SIGNALS, "its signals")                                                                      \
    X(PARENT, "to end with its parent")                                                            \
    X(RSEQ, "to leave restartable sequences")                                                      \
    X(RIGHTS, "to read memory without executing it")                                               \
    X(PLACE, "to map its own place (vm.mmap_min_addr above 65536?)")                               \
    X(FILES, "to close its files")                                                                 \
    X(NAME, "its name")                                                                            \
    X(TRACE, "to be traced (ptrace)")                                                              \
    X(SECCOMP, "to refuse system calls (seccomp)")

enum stub_step {
#define X(name, text) STUB_STEP_##name,
    STUB_STEPS(X)
#undef X
};

/* stub_child.c: the new process from its first instruction on. Stops at an INT3 or exits. */
_Noreturn void stub_child(struct stub_birth *birth, int place_fd, int ram_fd, pid_t parent);

/* ptrace with the answer 0 or an error, which says that the process is gone where it is. */
enum err MUST_USE stub_ask(struct stub *s, int request, uintptr_t address, void *data,
                           const char *what);

/*
 * Lets the process go on as `request` says and waits until it stops: s->status. has_gone_on, unless
 * NULL, becomes true when it does, also where it ends then.
 */
enum err MUST_USE stub_resume(struct stub *s, int request, bool *has_gone_on);

/* Empties the extended state and carries out the list. */
enum err MUST_USE stub_batch_run(struct stub *s);

/* Gives the process these flags, with ID. Nothing is queued. */
enum err MUST_USE stub_batch_set_flags(struct stub *s, uint64_t flags);

/* Queues the end of everything in [from, to), without a look at who owns it. */
void stub_batch_clear(struct stub *s, uint64_t from, uint64_t to);

#endif
