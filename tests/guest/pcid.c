/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCID, where CPUID offers it: contexts do not mix, bit 63 keeps them, INVPCID; what CR3 and CR4
 * refuse.
 */
#include "guest.h"

#define VA ((volatile uint32_t *)SCRATCH)

static void invpcid(uint64_t type, uint64_t pcid, word address)
{
    struct {
        uint64_t pcid, address;
    } d = {pcid, address};

    asm volatile(FAULTS("invpcid (%0), %1") ::"r"(&d), "r"(type) : "memory");
}

GUEST
{
    uint32_t *a = page_alloc(), *b = page_alloc();
    bool has_invpcid = cpuid(7, 0).b >> 10 & 1;

    if (!(cpuid(1, 0).c >> 17 & 1))
        return;
    a[0] = 0xa;
    b[0] = 0xb;
    page_map(SCRATCH, (word)a, P_RWU);
    word space_a = get_cr3();
    uint64_t *top = page_alloc(), *pdpt = page_alloc(), *pd = page_alloc(), *pt = page_alloc();
    memcpy(top, (void *)space_a, 4096);
    memcpy(pdpt, (void *)(word)(top[0] & ~0xfffull), 4096);
    top[0] = (word)pdpt | P_RWU;
    pdpt[SCRATCH >> 30 & 511] = (word)pd | P_RWU;
    pd[0] = (word)pt | P_RWU;
    pt[0] = (word)b | P_RWU;
    word space_b = (word)top;

    set_cr3(space_a | 0x18);
    asm volatile(FAULTS("mov %0, %%cr4") ::"r"(get_cr4() | 1ul << 17) : "memory");
    check_fault(1, GP, 0, 0); /* CR3 must have PCID 0 */
    set_cr3(space_a);
    set_cr4(get_cr4() | 1ul << 17);
    for (unsigned i = 0; i < 100; i++) {
        set_cr3(space_a | 1);
        check(2, *VA, 0xa);
        set_cr3(space_b | 2 | (i ? 1ul << 63 : 0));
        check(3, *VA, 0xb);
    }
    check(4, get_cr3(), space_b | 2); /* bit 63 is not kept */
    /* A load without bit 63 drops what that PCID held. */
    pt[0] = (word)a | P_RWU;
    set_cr3(space_b | 2);
    check(5, *VA, 0xa);
    pt[0] = (word)b | P_RWU;
    invlpg(VA);
    check(6, *VA, 0xb);
    if (has_invpcid) {
        set_cr3(space_a | 1);
        pt[0] = (word)a | P_RWU;
        invpcid(0, 2, SCRATCH);
        check_no_fault(10);
        set_cr3(space_b | 2 | 1ul << 63);
        check(11, *VA, 0xa);
        pt[0] = (word)b | P_RWU;
        invpcid(1, 2, 0);
        check(12, *VA, 0xb);
        pt[0] = (word)a | P_RWU | P_G;
        invpcid(2, 0, 0);
        check(13, *VA, 0xa);
        pt[0] = (word)b | P_RWU;
        invpcid(3, 0, 0);
        invlpg(VA);
        check(14, *VA, 0xb);
        invpcid(4, 0, 0);
        check(15, last.f.vector, GP);
        invpcid(0, 0x1000, 0);
        check(16, last.f.vector, GP);
        invpcid(0, 1, 0x800000000000);
        check(17, last.f.vector, GP);
    }
    asm volatile(FAULTS("mov %0, %%cr0") ::"r"(get_cr0() & ~0x80000000ul) : "memory");
    check_fault(20, GP, 0, 0); /* paging stays on with PCIDE */
    set_cr3(space_a);
    set_cr4(get_cr4() & ~(1ul << 17));
    check(21, *VA, 0xa);
}
