/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor tables in pages that are not there or may not be written: what the CPU reads and
 * writes of them by itself faults as an access of the supervisor, whoever asked for it.
 */
#include "guest.h"

#define VA(i) (SCRATCH + (i) * 0x1000ul)

static uint8_t *low, *high;

static void load_gdt(word base)
{
    struct table_ptr ptr = {sizeof(gdt) - 1, base};

    asm volatile("lgdt %0" ::"m"(ptr));
}

static void load_idt(word base, uint16_t limit)
{
    struct table_ptr ptr = {limit, base};

    asm volatile("lidt %0" ::"m"(ptr));
}

static void map(word va, const void *to, uint64_t flags)
{
    page_map(va, (word)to, flags);
    invlpg((void *)va);
}

static word user_int(word arg)
{
    (void)arg;
    asm volatile(FAULTS("int $0xe0") ::: "memory");
    return 0;
}

static word user_load(word sel)
{
    asm volatile(FAULTS("mov %0, %%fs") ::"r"(sel) : "memory");
    return 0;
}

/* The slot lies at the beginning of the second page. */
static void gdt_pages(void)
{
    unsigned n = GDT_SLOTS - 4;
    word at = VA(1) - n * 8;
    uint64_t *slot = (uint64_t *)high;
    word sel = n * 8 | 3;

    memcpy(low + 4096 - n * 8, gdt, n * 8);
    *slot = descriptor(0, 0xfffff, 0xf2, 0xc); /* user data, not accessed yet */
    load_gdt(at);
    for (unsigned round = 0; round < 3; round++) {
        map(VA(1), high, P_P);
        asm volatile(FAULTS("mov %0, %%fs") ::"r"(sel) : "memory");
        check(1, last.f.vector, PF);
        check(1, last.f.error, 3);
        check(1, last.cr2 - VA(1) < 8, 1);
        check(2, call_user(user_load, sel), 0);
        check(3, last.f.vector, PF);
        check(3, last.f.error, 3); /* not a user's access */
        check(4, *slot >> 40 & 1, 0);
        /* Without WP the supervisor may write. */
        set_cr0(get_cr0() & ~0x10000ul);
        asm volatile(FAULTS("mov %0, %%fs") ::"r"(sel) : "memory");
        check_no_fault(5);
        check(5, *slot >> 40 & 1, 1);
        set_cr0(get_cr0() | 0x10000);
        /* Accessed already: nothing is written. */
        asm volatile(FAULTS("mov %0, %%fs") ::"r"(sel) : "memory");
        check_no_fault(6);
        check(6, call_user(user_load, sel), 0);
        check_no_fault(6);
        *slot &= ~(1ull << 40);
        pte_write(VA(1), 1, 0);
        invlpg((void *)VA(1));
        asm volatile(FAULTS("mov %0, %%fs") ::"r"(sel) : "memory");
        check(7, last.f.vector, PF);
        check(7, last.f.error, 0);
        check(7, last.cr2 - VA(1) < 8, 1);
        check(8, call_user(user_load, sel), 0);
        check(8, last.f.vector, PF);
        check(8, last.f.error, 0);
        uint32_t rights = 0x77;
        asm volatile(FAULTS("lar %1, %0") : "+r"(rights) : "r"((uint32_t)sel) : "memory", "cc");
        check(9, last.f.vector, PF);
        check(9, last.f.error, 0);
        check(9, rights, 0x77);
    }
    asm volatile("mov %0, %%fs" ::"r"((word)SEL_KDATA));
    load_gdt((word)gdt);
}

/* Vectors from 0xe0 on lie in the second page. */
static void idt_pages(void)
{
    unsigned bytes = 0xe0 * 16;
    word at = VA(1) - bytes;

    memcpy(low + 4096 - bytes, idt, bytes);
    memcpy(high, (uint8_t *)idt + bytes, 0x20 * 16);
    for (unsigned i = 0; i < 0x20; i++)
        ((uint64_t *)high)[i * 2] |= 3ull << 45;
    load_idt(at, 256 * 16 - 1);
    for (unsigned round = 0; round < 3; round++) {
        map(VA(1), high, P_P);
        asm volatile(FAULTS("int $0xe0") ::: "memory");
        check(20, last.f.vector, 0xe0);
        call_user(user_int, 0);
        check(21, last.f.vector, 0xe0);
        pte_write(VA(1), 1, 0);
        invlpg((void *)VA(1));
        asm volatile(FAULTS("int $0xe0") ::: "memory");
        check_fault(22, PF, 0, 0);
        check(22, last.cr2 - VA(1) < 16, 1);
        call_user(user_int, 0);
        check_fault(23, PF, 0, 0);
        check(23, last.cr2 - VA(1) < 16, 1);
        check(24, last.f.cs & 3, 3);
    }
    idt_load();
}

GUEST
{
    paging_on();
    set_cr0(get_cr0() | 0x10000);
    low = page_alloc();
    high = page_alloc();
    page_map(VA(0), (word)low, P_P | P_W);
    gdt_pages();
    idt_pages();
}
