/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that run directly and end as the interpreter ends them: SAME(name, "asm") defines one,
 * whose text runs in the stub from its beginning on.
 */
#ifndef UMBRA_TESTS_DIRECT_SAME_H
#define UMBRA_TESTS_DIRECT_SAME_H

#include "direct_guest.h"

#define FX_END 416

/* Not pointers to the last x87 instruction, nor the mask of MXCSR, which is a constant. */
static inline bool is_compared(unsigned offset)
{
    return offset < 6 || (offset >= 24 && offset < 28) || offset >= 32;
}

/* Where the stack of the handler has rip and rflags, below that an error code. */
static inline void same_end(const uint8_t *code, const uint8_t *end, const char *name)
{
    struct guest d, i;

    direct_open(&d, "translate");
    direct_open(&i, "interp");
    start_at(&d, code, end, SPIN);
    start_at(&i, code, end, SPIN_NONE);
    run_to_halt(&d);
    run_to_halt(&i);
    if (!direct_runs(&d))
        fail_msg("%s: nothing ran directly", name);
    for (unsigned n = 0; n < 16; n++)
        if (d.s.gpr[n] != i.s.gpr[n])
            fail_msg("%s: register %u is %lx, not %lx", name, n, (unsigned long)d.s.gpr[n],
                     (unsigned long)i.s.gpr[n]);
    for (unsigned n = 1; n <= 6; n++)
        if (get64(&d, KSTACK - 8 * n) != get64(&i, KSTACK - 8 * n))
            fail_msg("%s: word %u of the stack is %lx, not %lx", name, n,
                     (unsigned long)get64(&d, KSTACK - 8 * n),
                     (unsigned long)get64(&i, KSTACK - 8 * n));
    assert_int_equal(d.s.rip, i.s.rip);
    assert_int_equal(d.s.dr[6], i.s.dr[6]);
    for (unsigned n = 0; n < FX_END; n++)
        if (is_compared(n) && d.s.fpu[n] != i.s.fpu[n])
            fail_msg("%s: byte %u of the FXSAVE image is %x, not %x", name, n, d.s.fpu[n],
                     i.s.fpu[n]);
    for (uint64_t at = 0; at < 16 * PAGE_SIZE; at += 8)
        assert_int_equal(get64(&d, DATA + at), get64(&i, DATA + at));
    guest_close(&d);
    guest_close(&i);
}

#define SAME(name, text) GUEST(name, 64, LONG "mov $0, %r14d\n mov $0, %r15d\n" text "\n" END)

struct same {
    const char *name;
    const uint8_t *code, *end;
};

#define ONE(name)                                                                                  \
    {                                                                                              \
#name, name, name##_end                                                                    \
    }

static inline void all_same(const struct same *all, size_t count)
{
    for (size_t n = 0; n < count; n++)
        same_end(all[n].code, all[n].end, all[n].name);
}

#endif
