/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of mappings, and the run of the stub's own code that carries it out. */
#include <errno.h>
#include <linux/elf.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/invariant.h"
#include "cpu/direct/stub_private.h"

bool stub_owns(uint64_t lin)
{
    return lin < STUB_PLACE_END || lin >= STUB_TOP;
}

static bool is_page(uint64_t number)
{
    return number % STUB_PAGE == 0;
}

static struct stub_call *newest(struct stub *s)
{
    return s->calls ? &s->place.calls[s->calls - 1] : NULL;
}

static enum err add(struct stub *s, struct stub_call call)
{
    if (s->calls == STUB_CALLS) {
        enum err e = stub_batch_run(s);
        if (e)
            return e;
    }
    s->place.calls[s->calls++] = call;
    return ERR_OK;
}

enum err stub_map(struct stub *s, uint64_t lin, uint64_t offset, unsigned prot)
{
    struct stub_call *before = newest(s);

    invariant(is_page(lin) && is_page(offset) && !stub_owns(lin));
    if (before && before->number == SYS_mmap && before->prot == prot &&
        before->address + before->bytes == lin && before->offset + before->bytes == offset) {
        before->bytes += STUB_PAGE;
        return ERR_OK;
    }
    return add(s, (struct stub_call){.number = SYS_mmap,
                                     .address = lin,
                                     .bytes = STUB_PAGE,
                                     .prot = prot,
                                     .offset = offset});
}

enum err stub_unmap(struct stub *s, uint64_t lin, uint64_t bytes)
{
    struct stub_call *before = newest(s);
    uint64_t from = lin < STUB_PLACE_END ? STUB_PLACE_END : lin;
    uint64_t to = bytes > STUB_TOP || lin > STUB_TOP - bytes ? STUB_TOP : lin + bytes;

    invariant(is_page(lin) && is_page(bytes));
    if (from >= to)
        return ERR_OK;
    if (before && before->number == SYS_munmap && before->address + before->bytes == from) {
        before->bytes += to - from;
        return ERR_OK;
    }
    return add(s, (struct stub_call){.number = SYS_munmap, .address = from, .bytes = to - from});
}

void stub_batch_clear(struct stub *s, uint64_t from, uint64_t to)
{
    invariant(s->calls < STUB_CALLS);
    s->place.calls[s->calls++] =
        (struct stub_call){.number = SYS_munmap, .address = from, .bytes = to - from};
}

void stub_unmap_all(struct stub *s)
{
    s->calls = 0;
    s->empty_xstate = true;
    stub_batch_clear(s, STUB_PLACE_END, STUB_TOP);
}

static enum err failed_call(const struct stub *s, const struct user_regs_struct *regs)
{
    const struct stub_call *call = s->place.calls;
    int error = -(int)regs->rax;

    invariant(regs->rbx >= STUB_LIST &&
              regs->rbx <= STUB_LIST + s->calls * sizeof(struct stub_call));
    call += (regs->rbx - STUB_LIST) / sizeof *call;
    errno = error;
    return err_errno(error == ENOMEM ? ERR_NOMEM : ERR_INTERNAL,
                     "cannot %s %llu bytes at 0x%llx in the process that runs guest code",
                     call->number == SYS_mmap ? "map" : "unmap", (unsigned long long)call->bytes,
                     (unsigned long long)call->address);
}

static uint64_t address_of(const uint8_t *code)
{
    return STUB_PLACE + (uint64_t)(code - stub_batch_code);
}

/* All calls are carried out, and the place is closed. */
static bool is_done(const struct stub *s, const struct user_regs_struct *regs)
{
    return regs->rip == address_of(stub_batch_called) && !regs->rax &&
           regs->rbx == STUB_LIST + s->calls * sizeof(struct stub_call);
}

/*
 * A signal that is not of its end. From outside: it waits for the run that follows, as a kick.
 * From the code itself: it cannot do its work, say because guest code has taken all rights to
 * memory away (WRPKRU).
 */
static enum err look_at_signal(struct stub *s)
{
    int signal = WSTOPSIG(s->status);
    siginfo_t info;
    enum err e = stub_ask(s, PTRACE_GETSIGINFO, 0, &info, "ask for the signal of");

    if (e)
        return e;
    if (info.si_code > 0 && signal == SIGSYS)
        return err_new(ERR_INTERNAL, "the process that runs guest code may not map memory");
    if (info.si_code > 0)
        return err_new(ERR_INTERNAL,
                       "the process that runs guest code cannot map memory: signal %d (%s)", signal,
                       strsignal(signal));
    if (signal != SIGUSR1)
        atomic_store(&s->kicked, true);
    return ERR_OK;
}

/* From regs->rip until its INT3, or the end of its place. */
static enum err run_code(struct stub *s, struct user_regs_struct *regs)
{
    enum err e;

    s->set_valid = false;
    regs->orig_rax = ~0ULL;
    regs->eflags = 0x202;
    regs->cs = 0x33;
    regs->ss = 0x2b;
    e = stub_ask(s, PTRACE_SETREGS, 0, regs, "set the registers of");
    while (!e) {
        e = stub_resume(s, PTRACE_CONT, NULL);

        if (!e)
            e = stub_ask(s, PTRACE_GETREGS, 0, regs, "read the registers of");
        if (!e && (regs->rip == address_of(stub_batch_stop) + 1 ||
                   (is_done(s, regs) && WSTOPSIG(s->status) == SIGBUS)))
            break;
        if (!e)
            e = look_at_signal(s);
    }
    if (!e)
        s->set.eflags = regs->eflags;
    return e;
}

static enum err open_place(struct stub *s, size_t calls)
{
    size_t bytes = offsetof(struct stub_place, calls) + calls * sizeof(struct stub_call);
    ssize_t done;

    s->is_open = true;
    do
        done = pwrite(s->place_fd, &s->place, bytes, 0);
    while (done < 0 && errno == EINTR);
    if (done == (ssize_t)bytes)
        return ERR_OK;
    return err_errno(ERR_NOMEM, "cannot write to the process that runs guest code");
}

/* Runs code in the place, with so many calls behind it. It is closed afterwards. */
static enum err run_in_place(struct stub *s, size_t calls, struct user_regs_struct *regs)
{
    enum err e = open_place(s, calls);

    if (!e)
        e = run_code(s, regs);
    s->is_open = (e || !is_done(s, regs)) && ftruncate(s->place_fd, 0);
    if (!e && s->is_open)
        e = err_errno(ERR_INTERNAL, "cannot close the place of the process that runs guest code");
    return e;
}

static enum err run_list(struct stub *s)
{
    struct user_regs_struct regs = {
        .rip = STUB_PLACE,
        .rbx = STUB_LIST,
        .r8 = STUB_RAM_FD,
        .r10 = MAP_FIXED | (s->copies ? MAP_PRIVATE : MAP_SHARED),
    };
    enum err e;

    s->place.calls[s->calls] =
        (struct stub_call){.number = SYS_ftruncate, .address = STUB_PLACE_FD};
    e = run_in_place(s, s->calls + 1, &regs);
    return e || is_done(s, &regs) ? e : failed_call(s, &regs);
}

enum err stub_batch_set_flags(struct stub *s, uint64_t flags)
{
    struct user_regs_struct regs = {
        .rip = address_of(stub_batch_flags),
        .rsp = STUB_LIST,
    };

    invariant(!s->calls);
    memcpy(s->place.calls, &flags, sizeof flags);
    return run_in_place(s, 1, &regs);
}

enum err stub_batch_run(struct stub *s)
{
    enum err e = ERR_OK;

    if (s->empty_xstate) {
        struct iovec state = {.iov_base = s->xstate, .iov_len = s->xstate_bytes};

        s->fx_valid = false;
        e = stub_ask(s, PTRACE_SETREGSET, NT_X86_XSTATE, &state, "set the vector registers of");
        s->empty_xstate = e != ERR_OK;
    }
    if (!e && (s->calls || s->is_open))
        e = run_list(s);
    s->calls = 0;
    return e;
}

enum err stub_flush(struct stub *s)
{
    return s->calls || s->empty_xstate || s->is_open ? stub_batch_run(s) : ERR_OK;
}

/* PTRACE_POKETEXT writes eight bytes, into a copy of the page. */
static enum err poke(struct stub *s, uint64_t page, const uint8_t *bytes, unsigned offset)
{
    unsigned start = offset & ~7u;
    uint64_t word;

    memcpy(&word, bytes + start, sizeof word);
    return stub_ask(s, PTRACE_POKETEXT, page + start, (void *)(uintptr_t)word, "write code of");
}

enum err stub_map_copy(struct stub *s, uint64_t lin, uint64_t offset, unsigned prot,
                       const uint8_t *page, const uint16_t *at, unsigned count)
{
    enum err e = stub_flush(s);

    invariant(is_page(lin) && is_page(offset) && !stub_owns(lin));
    if (e)
        return e;
    s->copies = true;
    e = add(s, (struct stub_call){.number = SYS_mmap,
                                  .address = lin,
                                  .bytes = STUB_PAGE,
                                  .prot = prot,
                                  .offset = offset});
    if (!e)
        e = stub_batch_run(s);
    s->copies = false;
    for (unsigned i = 0; !e && i < count; i++)
        e = poke(s, lin, page, at[i]);
    return e;
}
