/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIMD floating-point exceptions that the guest has unmasked. What the flags are then, and which of
 * several exceptions wins, is left to the host's CPU: the stub runs with the guest's MXCSR, the
 * host raises SIGFPE, and the handler makes the stub return with its result not stored. Guests
 * hardly ever unmask, so only such an instruction installs the handler.
 */
#include <signal.h>
#include <ucontext.h>

#include "cpu/interp/fp.h"

extern const char fp_mx_begin[], fp_mx_end[];

uint64_t fp_call_trapping(fp_stub *stub, void *dst, const void *src, uint32_t *mxcsr,
                          bool *trapped);

/* Runs on the thread of the stub; touches nothing but the interrupted registers. */
static void on_sigfpe(int signal, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)info;
    if (r[REG_RIP] < (greg_t)(uintptr_t)fp_mx_begin || r[REG_RIP] >= (greg_t)(uintptr_t)fp_mx_end) {
        /* Our own bug: let it happen again with the usual end. */
        struct sigaction fatal = {.sa_handler = SIG_DFL};
        sigaction(signal, &fatal, NULL);
        return;
    }
    r[REG_RBX] = 1;
    memcpy(&r[REG_RIP], (const void *)(uintptr_t)r[REG_RSP], sizeof r[REG_RIP]);
    r[REG_RSP] += 8;
}

static uint64_t call_unmasked(struct interp *c, const struct uop *u, fp_stub *stub, void *dst,
                              const void *src)
{
    uint32_t mxcsr = fp_get32(c, FPU_MXCSR);
    bool trapped;
    struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO};
    int failed = sigaction(SIGFPE, &action, NULL);
    invariant(!failed);
    uint64_t r = fp_call_trapping(stub, dst, src, &mxcsr, &trapped);
    fp_set32(c, FPU_MXCSR, mxcsr);
    if (trapped)
        exc_raise(c, u, c->s.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
    return r;
}

uint64_t fp_call_mx_slow(struct interp *c, const struct uop *u, fp_stub *stub, void *dst,
                         const void *src)
{
    uint32_t guest = fp_get32(c, FPU_MXCSR);
    if ((guest & FP_MXCSR_MASKS) != FP_MXCSR_MASKS)
        return call_unmasked(c, u, stub, dst, src);
    fp_set_host_mxcsr(guest);
    uint64_t r = stub(dst, src, NULL);
    fp_set32(c, FPU_MXCSR, fp_host_mxcsr());
    fp_set_host_mxcsr(FP_MXCSR_INIT);
    return r;
}
