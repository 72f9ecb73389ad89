/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads of segment registers: null, table limits, type, DPL and RPL, presence; LAR, LSL, VERR, LDT,
 * LTR.
 */
#include "guest.h"

#define S(i) (SEL_FREE + 8 * (i))
enum { ABSENT, READONLY, XONLY, USER_DATA, CONFORMING, SYSTEM, FRESH, CODE_R, BASED };

#define LOAD(reg, sel) asm volatile(FAULTS("mov %0, %%" #reg) ::"r"(sel) : "memory")
#define FAULTY(n, reg, sel, vector, error)                                                         \
    LOAD(reg, sel);                                                                                \
    check_fault(n, vector, error, 0)
#define FINE(n, reg, sel)                                                                          \
    LOAD(reg, sel);                                                                                \
    check_no_fault(n)

static uint32_t get_es(void)
{
    uint32_t v;
    asm volatile("mov %%es, %0" : "=r"(v));
    return v;
}

static word user(word arg)
{
    (void)arg;
    FAULTY(40, es, SEL_KDATA, GP, SEL_KDATA);
    FAULTY(41, es, SEL_KDATA | 3, GP, SEL_KDATA);
    FINE(42, es, SEL_UDATA);
    FINE(43, es, SEL_UDATA & ~3);
    FAULTY(44, ss, SEL_UDATA & ~3, GP, SEL_UDATA & ~3); /* SS wants RPL = CPL = DPL */
    FINE(45, ss, SEL_UDATA);
    FAULTY(46, ss, SEL_KDATA | 3, GP, SEL_KDATA);
    FINE(47, es, S(CONFORMING));
    FAULTY(48, es, S(CODE_R), GP, S(CODE_R));
    FINE(49, es, 3); /* null with any RPL */
    FINE(50, es, SEL_UDATA);
    return 0;
}

#define LAR(sel)                                                                                   \
    ({                                                                                             \
        uint32_t v_ = 0xdead;                                                                      \
        asm volatile("lar %1, %0\n\tjz 1f\n\tmovl $0xbad, %0\n1:" : "+r"(v_) : "r"(sel) : "cc");   \
        v_;                                                                                        \
    })
#define LSL(sel)                                                                                   \
    ({                                                                                             \
        uint32_t v_ = 0xdead;                                                                      \
        asm volatile("lsl %1, %0\n\tjz 1f\n\tmovl $0xbad, %0\n1:" : "+r"(v_) : "r"(sel) : "cc");   \
        v_;                                                                                        \
    })
#define VERIFY(insn, sel)                                                                          \
    ({                                                                                             \
        uint8_t z_;                                                                                \
        asm volatile(insn " %w1\n\tsetz %0" : "=q"(z_) : "r"(sel) : "cc");                         \
        z_;                                                                                        \
    })

GUEST
{
    uint64_t *free = &gdt[SEL_FREE / 8];

    free[ABSENT] = descriptor(0, 0xfffff, 0x13, 0xc);
    free[READONLY] = descriptor(0, 0xfffff, 0x91, 0xc);
    free[XONLY] = descriptor(0, 0xfffff, 0x99, 0xc);
    free[USER_DATA] = descriptor(0, 0xfffff, 0xf3, 0xc);
    free[CONFORMING] = descriptor(0, 0xfffff, 0x9f, 0xc);
    free[SYSTEM] = descriptor(0, 0xfffff, 0x82, 0);
    free[FRESH] = descriptor(0, 0x12345, 0x92, 4);
    free[CODE_R] = descriptor(0, 0xfffff, 0x9b, 0xc);
    free[BASED] = descriptor(0x100, 0xffff, 0x93, 0x4);

    FINE(1, es, 0);
    FINE(2, es, 3);
    check(2, get_es(), 3);
    FAULTY(4, es, GDT_SLOTS * 8, GP, GDT_SLOTS * 8);
    check(4, get_es(), 3);
    FAULTY(5, es, SEL_KDATA | 4, GP, SEL_KDATA | 4); /* there is no LDT */
    FAULTY(6, es, S(ABSENT), NP, S(ABSENT));
    FAULTY(7, ss, S(ABSENT), SS, S(ABSENT));
    FAULTY(8, ss, 0, GP, 0);
    FAULTY(9, ss, SEL_UDATA, GP, SEL_UDATA & ~3);
    FAULTY(10, ss, S(READONLY), GP, S(READONLY));
    FAULTY(11, ss, S(CODE_R), GP, S(CODE_R));
    FINE(12, es, S(READONLY));
    FAULTY(13, es, S(XONLY), GP, S(XONLY));
    FAULTY(14, es, S(SYSTEM), GP, S(SYSTEM));
    FAULTY(15, es, SEL_TSS, GP, SEL_TSS);
    FINE(16, es, S(USER_DATA) | 3); /* as CPL 0 one may use the outer ring's */
    FAULTY(17, es, SEL_KDATA | 3, GP, SEL_KDATA);
    FINE(18, es, S(CODE_R));
    FINE(19, es, S(FRESH));
    check(19, free[FRESH] >> 40 & 0xff, 0x93); /* accessed */
    asm volatile(FAULTS(".byte 0x8e, 0xc8") ::"a"(SEL_KDATA) : "memory"); /* mov %eax, %cs */
    check_fault(20, UD, 0, 0);

    /* A base counts, far pointers load both halves, LES and the like. */
    static volatile uint32_t words[0x60];
    struct __attribute__((packed)) {
        uint32_t offset;
        uint16_t selector;
    } far = {(uint32_t)words, S(BASED)};
    uint32_t value, offset;

    free[BASED] = descriptor(0x40, 0xfffff, 0x93, 0xc);
    words[0x10] = 0x1234;
    asm volatile("les %2, %1\n\tmovl %%es:(%1), %0" : "=&r"(value), "=&r"(offset) : "m"(far));
    check(25, value, 0x1234);
    check(26, offset, (uint32_t)words);
    far.selector = S(ABSENT);
    asm volatile(FAULTS("lfs %0, %%eax") ::"m"(far), "a"(0x77) : "memory");
    check_fault(27, NP, S(ABSENT), 0);
    check(27, last.f.ax, 0x77);
    asm volatile("push %%ds\n\tpop %%es" ::: "memory");

    check(30, LAR(S(FRESH)) & 0xf0ff00, 0x409300);
    check(31, LSL(S(FRESH)), 0x12345);
    check(32, LSL(SEL_KDATA), 0xffffffff);
    check(33, LAR(0), 0xbad);
    check(34, LAR(S(SYSTEM)) & 0xff00, 0x8200);
    check(35, LSL(GDT_SLOTS * 8 + 8), 0xbad);
    check(36, VERIFY("verr", S(XONLY)), 0);
    check(37, VERIFY("verr", S(CODE_R)), 1);
    check(38, VERIFY("verw", S(READONLY)), 0);
    check(39, VERIFY("verw", S(FRESH)), 1);
    check(39, LAR(SEL_KDATA | 3), 0xbad);

    call_user(user, 0);

    /* LDT: loads of TI selectors; LLDT and LTR check their descriptors. */
    static uint64_t ldt[4];
    ldt[1] = descriptor(0x80, 0xfffff, 0x93, 0xc);
    free[0] = descriptor((uint32_t)ldt, sizeof(ldt) - 1, 0x82, 0);
    free[1] = descriptor((uint32_t)ldt, sizeof(ldt) - 1, 0x02, 0);
    asm volatile(FAULTS("lldt %w0") ::"r"(S(1)) : "memory");
    check_fault(60, NP, S(1), 0);
    asm volatile(FAULTS("lldt %w0") ::"r"(SEL_KDATA) : "memory");
    check_fault(61, GP, SEL_KDATA, 0);
    asm volatile(FAULTS("lldt %w0") ::"r"(S(0)) : "memory");
    check_no_fault(62);
    FINE(63, es, 8 | 4);
    words[0x20] = 0x4321;
    asm volatile("movl %%es:(%1), %0" : "=r"(value) : "r"(words));
    check(64, value, 0x4321);
    FAULTY(65, es, 32 | 4, GP, 32 | 4);
    asm volatile("push %%ds\n\tpop %%es\n\tlldt %w0" ::"r"(0) : "memory");
    FAULTY(66, es, 8 | 4, GP, 8 | 4);
    asm volatile(FAULTS("ltr %w0") ::"r"(SEL_TSS) : "memory"); /* busy */
    check_fault(67, GP, SEL_TSS, 0);
    gdt[SEL_TSS / 8] &= ~(1ull << 47 | 1ull << 41);
    asm volatile(FAULTS("ltr %w0") ::"r"(SEL_TSS) : "memory");
    check_fault(69, NP, SEL_TSS, 0);
    gdt[SEL_TSS / 8] |= 1ull << 47;
    asm volatile(FAULTS("ltr %w0") ::"r"(SEL_TSS) : "memory");
    check_no_fault(70);
    check(71, gdt[SEL_TSS / 8] >> 40 & 0xff, 0x8b);

    uint32_t rpl;
    uint8_t changed;
    asm volatile("arpl %w3, %w0\n\tsetz %1" : "=r"(rpl), "=q"(changed) : "0"(0x10), "r"(3) : "cc");
    check(72, rpl & 0xffff, 0x13);
    check(73, changed, 1);
    asm volatile("arpl %w3, %w0\n\tsetz %1" : "=r"(rpl), "=q"(changed) : "0"(0x13), "r"(1) : "cc");
    check(74, rpl & 0xffff, 0x13);
    check(75, changed, 0);
}
