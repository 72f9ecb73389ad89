/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Five-level paging: turned on and off outside long mode, rights and A bits at all five levels,
 * addresses of 57 bits.
 */
#include "guest.h"

#define CR4_LA57 0x1000u
#define LOW      0x00a3456789000000ul
#define HIGH     0xff12345678900000ul
#define BEYOND   0x0100000000000000ul /* not canonical even with 57 bits */

/* Out of long mode, the other root and the other value of LA57, and back. Addresses are low. */
void la57_switch(word cr3);
asm(".pushsection .text\n"
    "la57_switch: pushq $0x08\n\tpushq $1f\n\tlretq\n"
    ".code32\n"
    "1: mov %cr0, %eax\n\tand $0x7fffffff, %eax\n\tmov %eax, %cr0\n\t"
    "mov %edi, %cr3\n\t"
    "mov %cr4, %eax\n\txor $0x1000, %eax\n\tmov %eax, %cr4\n\t"
    "mov %cr0, %eax\n\tor $0x80000000, %eax\n\tmov %eax, %cr0\n\t"
    "ljmp $0x38, $2f\n"
    ".code64\n"
    "2: ret\n"
    ".popsection");

static word toggle(void)
{
    asm volatile(FAULTS("mov %0, %%cr4")::"r"(get_cr4() ^ CR4_LA57) : "memory");
    return last.f.vector;
}

static word reads(word at)
{
    asm volatile(FAULTS("movl (%0), %%eax")::"r"(at) : "eax", "memory");
    return last.f.vector == NO_FAULT ? 0 : last.f.vector << 8 | last.f.error;
}

static word writes(word at)
{
    asm volatile(FAULTS("movl $1, (%0)")::"r"(at) : "memory");
    return last.f.vector == NO_FAULT ? 0 : last.f.vector << 8 | last.f.error;
}

static void all_levels(word va, volatile uint32_t *page)
{
    page[0] = 0xfeed;
    page_map(va, (word)page, P_RWU);
    check(20, *(volatile uint32_t *)va, 0xfeed);
    for (unsigned level = 1; level <= 5; level++)
        check(21, pte_read(va, level) & P_A, P_A);
    check(22, pte_read(va, 1) & P_D, 0);
    check(23, writes(va + 4), 0);
    check(24, pte_read(va, 1) & P_D, P_D);
    for (unsigned level = 5; level >= 1; level--) {
        uint64_t old = pte_read(va, level);

        pte_write(va, level, old & ~P_U);
        invlpg((void *)va);
        check(30 + level, call_user(reads, va), PF << 8 | 5);
        pte_write(va, level, old & ~P_W);
        invlpg((void *)va);
        check(40 + level, writes(va), PF << 8 | 3);
        check(40 + level, call_user(reads, va), 0);
        pte_write(va, level, old & ~P_P);
        invlpg((void *)va);
        check(50 + level, reads(va), PF << 8);
        pte_write(va, level, old);
        invlpg((void *)va);
        check(60 + level, call_user(writes, va), 0);
    }
    check(70, page[0], 1);
}

GUEST
{
    uint64_t *pml5 = page_alloc();
    uint8_t *code = page_alloc();
    word pml4 = get_cr3();

    if (!(cpuid(7, 0).c >> 16 & 1))
        return;
    set_cr0(get_cr0() | 0x10000);
    check(1, cpuid(0x80000008, 0).a >> 8 & 0xff, 57);
    check(2, toggle(), GP); /* not in long mode */
    check(3, reads(LOW), GP << 8);
    pml5[0] = pml4 | P_RWU;
    la57_switch((word)pml5);
    paging_format = PAGING_5LEVEL;
    check(4, get_cr4() & CR4_LA57, CR4_LA57);
    check(5, toggle(), GP);
    check(6, reads(LOW), PF << 8);
    check(7, reads(BEYOND), GP << 8);
    check(8, reads(~BEYOND), GP << 8);

    all_levels(LOW, page_alloc());
    all_levels(HIGH, page_alloc());

    /* Instructions, too: mov $77, %eax; ret */
    memcpy(code, "\xb8\x4d\0\0\0\xc3", 6);
    page_map(LOW + 0x1000, (word)code, P_P);
    check(80, ((word(*)(void))(LOW + 0x1000))(), 77);
    page_map(HIGH + 0x1000, (word)code, P_P);
    check(81, ((word(*)(void))(HIGH + 0x1000))(), 77);

    /* PS is reserved in the upper two levels. */
    for (unsigned level = 4; level <= 5; level++) {
        uint64_t old = pte_read(HIGH, level);

        pte_write(HIGH, level, old | P_PS);
        invlpg((void *)HIGH);
        check(82, reads(HIGH) & ~1ul, PF << 8 | 8);
        pte_write(HIGH, level, old);
        invlpg((void *)HIGH);
    }

    /* A table that maps itself. */
    pml5[256] = (word)pml5 | P_P | P_W;
    check(83, ((volatile uint64_t *)0xff00804020100000ul)[256] & ~0xfffull, (word)pml5);

    wrmsr(MSR_FS_BASE, HIGH);
    check(84, rdmsr(MSR_FS_BASE), HIGH);
    wrmsr(MSR_FS_BASE, 0);

    la57_switch(pml4);
    paging_format = PAGING_4LEVEL;
    check(90, get_cr4() & CR4_LA57, 0);
    check(91, reads(LOW), GP << 8);
    check(92, reads(HIGH), GP << 8);
    wrmsr(MSR_FS_BASE, HIGH); /* a base is held against what the CPU could use */
    check(93, rdmsr(MSR_FS_BASE), HIGH);
    wrmsr(MSR_FS_BASE, 0);
}
