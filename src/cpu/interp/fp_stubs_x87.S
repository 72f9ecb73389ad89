/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stubs of x87: rdi = FXSAVE64 image of the guest, which is loaded, used and stored back. The
 * host's own x87 unit is left as the ABI wants it (empty, default control word); FXSAVE and FNINIT
 * do not wait, so that an unmasked exception only shows in the stored status word. The guest's
 * MXCSR stays loaded: the caller puts the host's back. FP_STRIDE_X87 (32) bytes each.
 */
#include "cpu/interp/fp_stubs.h"

/*
 * Register forms D8 C0 .. DF FF, in order: rsi = flags in (LAHF and SETO format of flags.h), rax =
 * flags out. FXRSTOR sits between SAHF and the instruction as it leaves the flags alone.
 */
    .balign 32
    fp_label fp_x87_reg_stubs
    .set fp_op, 0xd8
    .rept 8
    .set fp_rm, 0xc0
    .rept 64
    .balign 32
    mov %esi, %eax
    sahf
    fxrstor64 (%rdi)
    .byte fp_op, fp_rm
    lahf
    seto %al
    fxsave64 (%rdi)
    fninit
    movzwl %ax, %eax
    ret
    .set fp_rm, fp_rm + 1
    .endr
    .set fp_op, fp_op + 1
    .endr

/* Memory forms D8 /0 .. DF /7, in order: rsi = operand. */
    .balign 32
    fp_label fp_x87_mem_stubs
    .set fp_op, 0xd8
    .rept 8
    .set fp_rm, 0x06
    .rept 8
    .balign 32
    fxrstor64 (%rdi)
    .byte fp_op, fp_rm
    fxsave64 (%rdi)
    fninit
    ret
    .set fp_rm, fp_rm + 8
    .endr
    .set fp_op, fp_op + 1
    .endr

/*
 * void fp_x87_normalize(void *image): lets the CPU work out what it keeps of an image (ES and B,
 * reserved bits).
 */
    .balign 32
    fp_label fp_x87_normalize
    fxrstor64 (%rdi)
    fxsave64 (%rdi)
    fninit
    ret
