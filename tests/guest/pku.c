/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protection keys, where CPUID offers them: RDPKRU, WRPKRU, faults of both rings, PKRU in XSAVE
 * areas.
 */
#include "guest.h"

#define VA  ((volatile uint32_t *)SCRATCH)
#define KEY 5u
#define AD  (1u << 2 * KEY)
#define WD  (2u << 2 * KEY)

#define READ()  asm volatile(FAULTS("movl (%0), %%eax") ::"r"(VA) : "eax", "memory")
#define WRITE() asm volatile(FAULTS("movl $0xc3c3c3c3, (%0)") ::"r"(VA) : "memory")
#define FETCH() asm volatile(FAULTS("call *%0") ::"r"(VA) : "memory")

static uint8_t area[4096] __attribute__((aligned(64)));

static void wrpkru(uint32_t pkru)
{
    asm volatile(FAULTS(".byte 0x0f, 0x01, 0xef") ::"a"(pkru), "c"(0), "d"(0) : "memory");
}

static uint64_t rdpkru(void)
{
    uint32_t lo, hi;
    asm volatile(".byte 0x0f, 0x01, 0xee" : "=a"(lo), "=d"(hi) : "c"(0), "d"(1));
    return (uint64_t)hi << 32 | lo;
}

static void key_of_page(unsigned key)
{
    pte_write(SCRATCH, 1, (pte_read(SCRATCH, 1) & ~(15ull << 59)) | (uint64_t)key << 59);
    invlpg(VA);
}

static word user_accesses(word unused)
{
    (void)unused;
    READ();
    check_no_fault(40);
    WRITE();
    check_pf(41, 0x27, VA);
    wrpkru(AD); /* any ring may */
    READ();
    check_pf(42, 0x25, VA);
    FETCH(); /* fetches know no keys */
    check_no_fault(43);
    return 0;
}

static void check_xsave(void)
{
    struct cpuid nine = cpuid(13, 9);
    volatile uint32_t *saved = (volatile uint32_t *)(area + nine.b);

    set_cr4(get_cr4() | 0x40000);
    check(50, cpuid(13, 0).a >> 9 & 1, 1);
    check(51, nine.a, 8);
    asm volatile(FAULTS("xsetbv") ::"c"(0), "a"(0x203), "d"(0) : "memory");
    check_no_fault(52);
    check(53, cpuid(13, 0).b, nine.b + 8);
    wrpkru(WD);
    memset(area, 0, sizeof area);
    asm volatile("xsave %0" : "+m"(area) : "a"(0x200), "d"(0));
    check(54, *saved, WD);
    check(55, *(uint64_t *)(area + 512), 0x200);
    *saved = AD;
    asm volatile("xrstor %0" ::"m"(area), "a"(0x200), "d"(0));
    check(56, rdpkru(), AD);
    READ();
    check_pf(57, 0x21, VA);
    *(uint64_t *)(area + 512) = 0; /* initial state: all keys open */
    asm volatile("xrstor %0" ::"m"(area), "a"(0x200), "d"(0));
    check(58, rdpkru(), 0);
    READ();
    check_no_fault(59);
    asm volatile("xsave %0" : "+m"(area) : "a"(0x200), "d"(0));
    check(60, *(uint64_t *)(area + 512), 0);
}

GUEST
{
    uint8_t *page = page_alloc();

    page_map(SCRATCH, (word)page, P_RWU);
    memset(page, 0xc3, 16);
    if (!(cpuid(7, 0).c >> 3 & 1))
        return;
    check(1, cpuid(7, 0).c >> 4 & 1, 0);
    wrpkru(0);
    check_fault(2, UD, 0, 0);
    set_cr4(get_cr4() | 0x400000);
    check(3, cpuid(7, 0).c >> 4 & 1, 1);
    check(4, rdpkru(), 0);
    asm volatile(FAULTS(".byte 0x0f, 0x01, 0xee") ::"c"(1) : "eax", "edx", "memory");
    check_fault(5, GP, 0, 0);
    asm volatile(FAULTS(".byte 0x0f, 0x01, 0xef") ::"a"(0), "c"(0), "d"(1) : "memory");
    check_fault(6, GP, 0, 0);

    key_of_page(KEY);
    READ();
    WRITE();
    check_no_fault(10);
    wrpkru(WD);
    check(11, rdpkru(), WD);
    READ();
    check_no_fault(12);
    set_cr0(get_cr0() & ~0x10000ul);
    WRITE(); /* the supervisor without WP may */
    check_no_fault(13);
    set_cr0(get_cr0() | 0x10000);
    WRITE();
    check_pf(14, 0x23, VA);
    wrpkru(AD);
    READ();
    check_pf(15, 0x21, VA);
    WRITE();
    check_pf(16, 0x23, VA);
    FETCH();
    check_no_fault(17);
    set_cr0(get_cr0() & ~0x10000ul);
    WRITE();
    check_pf(18, 0x23, VA);
    set_cr0(get_cr0() | 0x10000);
    key_of_page(KEY + 1);
    READ();
    check_no_fault(19);
    key_of_page(KEY);
    pte_write(SCRATCH, 1, pte_read(SCRATCH, 1) & ~P_U); /* keys are for user pages */
    invlpg(VA);
    READ();
    check_no_fault(20);
    pte_write(SCRATCH, 1, pte_read(SCRATCH, 1) | P_U);
    set_cr4(get_cr4() & ~0x400000ul);
    READ();
    check_no_fault(21);
    set_cr4(get_cr4() | 0x400000);
    READ();
    check_pf(22, 0x21, VA);

    wrpkru(WD);
    call_user(user_accesses, 0);
    wrpkru(0);
    check_xsave();
}
