/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stub: a process that holds nothing but pages of a guest's RAM and computes with them on the
 * host's CPU (docs/direct.md).
 *
 * The stub is a child of ours that the thread which made it traces (ptrace). Its address space is
 * filled with pages of one memfd at the guest's own linear addresses; a place of its own of a few
 * pages, by which it is asked for them, is empty while the guest's code runs. Code runs in it at
 * CPL 3, in 64-bit mode, until it does what is not plain computation: whatever the host's CPU or
 * kernel stops ends the run, and the registers tell from where to go on. A system call of that code
 * is never carried out, wherever the code jumps to.
 *
 * What the stub cannot stop, because the CPU does not: instructions that are not privileged and yet
 * answer for the host (CPUID, RDTSC, RDTSCP, RDPID, XGETBV, RDPKRU, LAR, LSL, VERR, VERW, AVX and
 * later extensions, SYSENTER on Intel's CPUs). Who maps a page as executable has looked for them.
 *
 * Caution: all functions but stub_kick belong to the thread that called stub_create; the stub ends
 * with that thread. Processor time of the stub is that of a child, not of this process.
 */
#ifndef UMBRA_CPU_DIRECT_STUB_H
#define UMBRA_CPU_DIRECT_STUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct stub;

/* In the order of the encoding: rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15. */
struct stub_regs {
    uint64_t gpr[16];
    uint64_t rip, rflags, fs_base, gs_base;
};

/*
 * SYSCALL: SYSCALL or INT 80h is next at rip. It was not executed; lost are rcx and r11 (SYSCALL)
 * or the upper half of rax (INT 80h).
 * FAULT: the instruction at rip cannot be executed here. Nothing of it was, but for the iterations
 * of a string instruction that are done.
 * TRAP: SIGTRAP. Code SI_KERNEL: INT3 is next at rip. TRAP_TRACE: the code has set TF and executed
 * one instruction more. TRAP_BRKPT: INT1 was executed.
 * KICKED: by stub_kick or a signal from outside; nothing is to be done for the guest.
 */
enum stub_why { STUB_KICKED, STUB_SYSCALL, STUB_FAULT, STUB_TRAP };

struct stub_exit {
    enum stub_why why;
    int signal;           /* FAULT, TRAP: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP */
    int code;             /* FAULT, TRAP: si_code: SEGV_MAPERR, SEGV_ACCERR, SI_KERNEL (#GP), ... */
    bool has_begun;       /* guest code ran, perhaps; told with errors, too */
    uint64_t address;     /* FAULT: of the access for SEGV_*ERR and SIGBUS, else no meaning */
    bool selectors_moved; /* the code has loaded a segment register */
    uint16_t
        selectors[6]; /* es cs ss ds fs gs as the code left them; 0 33h 2bh 0 0 0 if not moved */
};

/*
 * Whether stubs work on this host: makes one and lets it run. Takes a few milliseconds: ask once.
 * False: *why (unless NULL) says what is missing, until the thread's next error.
 */
bool stub_is_possible(const char **why);

/*
 * A stub for pages of ram_fd (a memfd or another file that can be mapped shared), of which it keeps
 * a descriptor. ERR_UNSUPPORTED: this host (a container) does not allow it; ERR_IO, ERR_NOMEM.
 */
enum err MUST_USE stub_create(struct stub **out, int ram_fd);

/* Ends the process and forgets it. NULL is fine. */
void stub_destroy(struct stub *s);

/* The process, for who counts its time or its memory. */
int stub_pid(const struct stub *s);

/* The processor time that it has taken in its life. */
uint64_t stub_cpu_ns(const struct stub *s);

/*
 * No page can be mapped at `lin`: the stub's own place, all below it, what is no user address. Code
 * that gets there ends the run with STUB_FAULT, as anywhere where nothing is mapped.
 */
bool stub_owns(uint64_t lin);

/*
 * A page of the file at `offset`, both multiples of 4096, appears at `lin` with prot (PROT_READ,
 * PROT_WRITE, PROT_EXEC), in place of what was there. Never where stub_owns. Queued; carried out by
 * the next stub_run, or at once when the queue is full: then with its errors.
 */
enum err MUST_USE stub_map(struct stub *s, uint64_t lin, uint64_t offset, unsigned prot);

/*
 * The same, but the stub has a copy of the page as it is now, in which the bytes at these offsets
 * are those of `page`. At once, with its errors.
 */
enum err MUST_USE stub_map_copy(struct stub *s, uint64_t lin, uint64_t offset, unsigned prot,
                                const uint8_t *page, const uint16_t *at, unsigned count);

/* Nothing is mapped any more in [lin, lin + bytes), multiples of 4096. Queued as stub_map. */
enum err MUST_USE stub_unmap(struct stub *s, uint64_t lin, uint64_t bytes);

/*
 * Nothing is mapped any more but the stub's own place, and what was queued is dropped. Vector
 * registers beyond XMM0-15 become empty. Queued.
 */
void stub_unmap_all(struct stub *s);

/* Carries out what is queued now; without it the next stub_run does. Errors as stub_run. */
enum err MUST_USE stub_flush(struct stub *s);

/*
 * Runs from the registers *r and fx (an image as FXSAVE64 makes; 512 bytes) until something stops
 * it, and leaves the registers there. Of rflags the user's flags are taken and given (CF PF AF ZF
 * SF DF OF NT AC ID; TF is given only), the others stay as they are. What the host's kernel would
 * not take (a base of fs or gs or an rip that is no user address, TF) is answered with STUB_FAULT,
 * SIGSEGV, SI_KERNEL, and nothing executed. Errors leave *r and fx as they were: ERR_NOMEM: too
 * many mappings (vm.max_map_count), after which stub_unmap_all starts afresh; ERR_IO: the process
 * is gone, and only stub_destroy helps; ERR_INTERNAL: it does not do what it is told, likewise.
 */
enum err MUST_USE stub_run(struct stub *s, struct stub_regs *r, uint8_t fx[512],
                           struct stub_exit *exit);

/*
 * The running or else the next stub_run ends with STUB_KICKED. From any thread and from signal
 * handlers, between stub_create and stub_destroy. A run that ends for another reason meanwhile
 * leaves the kick to the next one.
 */
void stub_kick(struct stub *s);

#endif
