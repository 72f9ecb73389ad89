/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page-fault error codes and CR2 for each kind: read, write, fetch; not there, protected; both
 * rings; NX.
 */
#include "guest.h"

#define PAGE(i) ((volatile uint32_t *)(SCRATCH + (i) * 0x1000ul))
enum { ABSENT, SUPER, SUPER_RO, USER, USER_RO, USER_NX };
#define READ(p)  asm volatile(FAULTS("movl (%0), %%eax") ::"r"(p) : "eax", "memory")
#define WRITE(p) asm volatile(FAULTS("movl $1, (%0)") ::"r"(p) : "memory")
#define FETCH(p) asm volatile(FAULTS("jmp *%0") ::"r"(p) : "memory")

static word user(word fetch_bit)
{
    READ(PAGE(ABSENT));
    check_pf(1, 4, PAGE(ABSENT));
    WRITE(PAGE(ABSENT) + 3);
    check_pf(2, 6, PAGE(ABSENT) + 3);
    FETCH(PAGE(ABSENT));
    check_pf(4, 4 | fetch_bit, PAGE(ABSENT));
    READ(PAGE(SUPER));
    check_pf(5, 5, PAGE(SUPER));
    WRITE(PAGE(SUPER));
    check_pf(6, 7, PAGE(SUPER));
    FETCH(PAGE(SUPER));
    check_pf(7, 5 | fetch_bit, PAGE(SUPER));
    check(7, last.f.ip, (word)PAGE(SUPER));
    WRITE(PAGE(SUPER_RO));
    check_pf(8, 7, PAGE(SUPER_RO));
    READ(PAGE(USER));
    check_no_fault(9);
    WRITE(PAGE(USER));
    check_no_fault(10);
    READ(PAGE(USER_RO));
    check_no_fault(11);
    WRITE(PAGE(USER_RO));
    check_pf(12, 7, PAGE(USER_RO));
    if (fetch_bit) {
        FETCH(PAGE(USER_NX));
        check_pf(14, 0x15, PAGE(USER_NX));
        READ(PAGE(USER_NX));
        check_no_fault(15);
    }
    return 0;
}

static void supervisor(word fetch_bit)
{
    READ(PAGE(ABSENT));
    check_pf(20, 0, PAGE(ABSENT));
    WRITE(PAGE(ABSENT));
    check_pf(21, 2, PAGE(ABSENT));
    FETCH(PAGE(ABSENT));
    check_pf(22, fetch_bit, PAGE(ABSENT));
    WRITE(PAGE(SUPER_RO));
    check_pf(23, 3, PAGE(SUPER_RO));
    WRITE(PAGE(USER_RO));
    check_pf(24, 3, PAGE(USER_RO));
    WRITE(PAGE(USER));
    check_no_fault(25);
    if (fetch_bit) {
        FETCH(PAGE(USER_NX));
        check_pf(26, 0x11, PAGE(USER_NX));
    }
    /* The walk fails above the leaf: same codes. */
    READ(0x3ffff000 + (word)PAGE(1));
    check_pf(27, 0, (char *)(0x3ffff000 + (word)PAGE(1)));
}

GUEST
{
    paging_on();
    set_cr0(get_cr0() | 0x10000);
    for (unsigned i = SUPER; i <= USER_NX; i++) {
        uint8_t *page = page_alloc();
        uint64_t flags = i == SUPER || i == SUPER_RO ? P_P : P_P | P_U;

        page[0] = 0xc3;
        page_map((word)PAGE(i), (word)page,
                 flags | (i == SUPER || i == USER || i == USER_NX ? P_W : 0));
    }
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x800ull);
    supervisor(0);
    call_user(user, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
    pte_write((word)PAGE(USER_NX), 1, pte_read((word)PAGE(USER_NX), 1) | P_NX);
    invlpg(PAGE(USER_NX));
    supervisor(0x10);
    call_user(user, 0x10);

    /* With NXE off again bit 63 is reserved: any access to the page faults. RSVD comes with P. */
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x800ull);
    READ(PAGE(USER_NX));
    check(30, last.f.vector, PF);
    check(31, last.f.error & 8, 8);

    /* NX on an upper level holds for all below. */
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
    pte_write(SCRATCH, 2, pte_read(SCRATCH, 2) | P_NX);
    invlpg(PAGE(USER));
    FETCH(PAGE(USER));
    check_pf(32, 0x11, PAGE(USER));
    /* So does a missing W or U. */
    pte_write(SCRATCH, 2, pte_read(SCRATCH, 2) & ~P_W);
    invlpg(PAGE(USER));
    WRITE(PAGE(USER));
    check_pf(33, 3, PAGE(USER));
    READ(PAGE(USER));
    check_no_fault(34);
}
