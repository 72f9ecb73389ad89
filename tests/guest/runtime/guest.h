/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runtime of the guest tests: a freestanding Multiboot image, 32-bit or 64-bit, that checks the CPU
 * it runs on and tells the outcome by COM1 and by the debug-exit port.
 *
 *   entry        start.S    GDT, stack, long mode (64-bit guests), guest_start
 *   traps        trap.S     256 IDT stubs, rings; trap.c: recorder, FAULTS, hooks
 *   paging       paging.c   2-level, PAE and 4-level tables under one interface
 *   chips        chips.c    PIC, PIT, LAPIC, IOAPIC
 *
 * A guest is one file: `GUEST { ... check(1, got, want); ... }`. The first check that fails ends
 * it, with the check's number (1..126) as the exit value; 127 means a trap that nobody asked for.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Selectors. Two sets in the order that SYSCALL/SYSRET and SYSENTER/SYSEXIT want. */
#define SEL_K32    0x08
#define SEL_KDATA  0x10
#define SEL_U32    (0x18 | 3)
#define SEL_UDATA  (0x20 | 3)
#define SEL_K16    0x28
#define SEL_D16    0x30
#define SEL_K64    0x38
#define SEL_KDATA2 0x40
#define SEL_U32B   (0x48 | 3)
#define SEL_UDATA2 (0x50 | 3)
#define SEL_U64    (0x58 | 3)
#define SEL_UDATA3 (0x60 | 3)
#define SEL_TSS    0x68 /* and 0x70 in 64-bit guests */
#define SEL_FREE   0x78 /* from here on the table is the test's */
#define GDT_SLOTS  64

#ifdef __x86_64__
#define GUEST_BITS 64
#define SEL_KCODE  SEL_K64
#define SEL_UCODE  SEL_U64
#define W          "q" /* suffix of a natural word */
#define A(reg)     "%%r" #reg
#else
#define GUEST_BITS 32
#define SEL_KCODE SEL_K32
#define SEL_UCODE SEL_U32
#define W         "l"
#define A(reg)    "%%e" #reg
#endif

typedef unsigned long word;

extern const char guest_name[];
void guest_main(void);
#define GUEST                                                                                      \
    const char guest_name[] = GUEST_NAME;                                                          \
    void guest_main(void)

/* --- outcome --- */
void say(const char *text);
void say_hex(uint64_t value);
void check(unsigned n, uint64_t got, uint64_t want);
_Noreturn void fail(unsigned n, const char *why);
_Noreturn void pass(void);

/* --- traps --- */
enum {
    DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11,
    SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, XM = 19, NO_FAULT = 0x100,
    VECTOR_LEAVE_USER = 0x81,
    VECTOR_USER_FAILED = 0x82
};

/*
 * What the stubs leave on the stack, lowest address first. sp and ss: 32-bit only when the ring
 * changed.
 */
struct frame {
#ifdef __x86_64__
    word r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
#else
    word gs, fs, es, ds, di, si, bp, unused, bx, dx, cx, ax;
#endif
    word vector, error, ip, cs, flags, sp, ss;
};

/* The newest trap that had no hook. error is 0 for vectors without one. */
struct trap {
    struct frame f;
    word cr2, dr6;
    unsigned count; /* since FAULTS began */
};
extern struct trap last;
extern word resume_ip;

/* hook[v] takes the vector over: it may change the frame; the trap returns to it. */
typedef void trap_hook(struct frame *f);
extern trap_hook *hook[256];

/*
 * Instructions that may fault, inside an asm statement: a trap is recorded in `last` and execution
 * goes on behind the text. last.f.vector is NO_FAULT when nothing happened. The fault must come
 * with flat segments.
 */
#define FAULTS(text)                                                                               \
    "mov" W " $98f, resume_ip\n\t"                                                                 \
    "mov" W " $0x100, last_vector\n\t"                                                             \
    "mov" W " $0, last_count\n\t"                                                                  \
    "97: " text "\n\t"                                                                             \
    "98: mov" W " $0, resume_ip\n\t"                                                               \
    "mov" W " $97b, faults_ip\n\t"
/* Address of the text of the FAULTS that ran last. */
extern word faults_ip;

/* vector, error code and IP (offset from the FAULTS text) of the newest trap. */
void check_fault(unsigned n, unsigned vector, word error, word offset);
void check_pf(unsigned n, word error, const volatile void *cr2);
void check_no_fault(unsigned n);

/*
 * Calls fn(arg) and returns NO_FAULT, or the vector of a trap, from whatever ring, stack and
 * segments.
 */
unsigned guarded(void (*fn)(word), word arg);

/*
 * Runs fn(arg) at CPL 3 on a stack of its own; answers its value. Flags: user_flags. FAULTS works
 * inside.
 */
word call_user(word (*fn)(word), word arg);
/* The same for any far address; the code ends with `int $0x81`, EAX/RAX is the answer. */
word enter_user(word ip, word cs, word sp, word ss, word arg);
extern word user_flags;
extern uint8_t user_stack[4096], user_stack_top[];

/* 32-bit guests, paging off: runs code (ends with lret) at 1000:0000 in real mode; see real.S. */
void real_run(const void *code, size_t size);
/* REAL_CODE(name, text): 16-bit code for real_run(name, name##_size) */
#define REAL_CODE(name, text)                                                                      \
    extern const uint8_t name[], name##_end[];                                                     \
    asm(".pushsection .text\n.code16\n" #name ":\n" text "\n" #name "_end:\n.code32\n.popsection")
#define REAL_RUN(name) real_run(name, (size_t)(name##_end - name))
#define REAL_DATA      ((volatile uint8_t *)0x20000)  /* its DS and ES */
#define REAL_STACK     ((volatile uint8_t *)0x30000)
static inline uint32_t real16(unsigned offset)
{
    return *(volatile uint16_t *)(REAL_DATA + offset);
}
static inline uint32_t real32(unsigned offset)
{
    return *(volatile uint32_t *)(REAL_DATA + offset);
}

/* --- descriptors --- */
struct __attribute__((packed)) table_ptr {
    uint16_t limit;
    word base;
};
extern uint64_t gdt[GDT_SLOTS];
extern struct table_ptr idt_ptr, gdt_ptr;
extern uint64_t idt[512];
extern uint32_t tss[64]; /* hardware layout; has room for an I/O bitmap of the first ports */

/* access: bits 40..47, flags: 0x8 G, 0x4 D/B, 0x2 L. Limit in units of G. */
uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags);
/*
 * A gate in the GDT or IDT, at `slot` (two words in 64-bit guests). type: 0x8e interrupt, 0x8f
 * trap, | DPL
 */
void gate_set(uint64_t *slot, word offset, uint16_t selector, uint8_t type, uint8_t count);
void idt_set(unsigned vector, void (*fn)(void), uint8_t type);
void idt_dpl(unsigned vector, unsigned dpl);
void idt_load(void);

/* --- paging --- */
#define P_P   0x001ull
#define P_W   0x002ull
#define P_U   0x004ull
#define P_PWT 0x008ull
#define P_PCD 0x010ull
#define P_A   0x020ull
#define P_D   0x040ull
#define P_PS  0x080ull
#define P_G   0x100ull
#define P_NX  (1ull << 63)
#define P_RWU (P_P | P_W | P_U)

/* 32-bit guests: builds an identity map of 16 MiB and the chips, and turns paging on. */
enum paging_format { PAGING_NONE, PAGING_2LEVEL, PAGING_PAE, PAGING_4LEVEL, PAGING_5LEVEL };
extern enum paging_format paging_format;
void paging_start(enum paging_format format);
/* Maps one 4 KiB page; upper levels get P_RWU. Does not invalidate. */
void page_map(word va, uint64_t pa, uint64_t flags);
/* Maps one large page (4 MiB, 2 MiB). */
void page_map_large(word va, uint64_t pa, uint64_t flags);
/* The entry of va at a level: 1 leaf of 4 KiB, 2 to 5. Tables down to it exist afterwards. */
void *page_entry(word va, unsigned level);
uint64_t pte_read(word va, unsigned level);
void pte_write(word va, unsigned level, uint64_t value);
/* Fresh zeroed page, identity mapped. */
void *page_alloc(void);

/* Paging of some kind: PAE in 32-bit guests, where it was off. */
static inline void paging_on(void)
{
    if (paging_format == PAGING_NONE)
        paging_start(PAGING_PAE);
}

#define SCRATCH 0x40000000ul /* virtual addresses that nothing uses, one GiB */

static inline void invlpg(const volatile void *p)
{
    asm volatile("invlpg (%0)" ::"r"(p) : "memory");
}

/* --- instructions --- */
static inline void outb(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    asm volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}
struct cpuid {
    uint32_t a, b, c, d;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
    struct cpuid r;
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
#define REG_ACCESS(name)                                                                           \
    static inline word get_##name(void)                                                            \
    {                                                                                              \
        word v;                                                                                    \
        asm volatile("mov %%" #name ", %0" : "=r"(v)::"memory");                                   \
        return v;                                                                                  \
    }                                                                                              \
    static inline void set_##name(word v)                                                          \
    {                                                                                              \
        asm volatile("mov %0, %%" #name ::"r"(v) : "memory");                                      \
    }
REG_ACCESS(cr0)
REG_ACCESS(cr2)
REG_ACCESS(cr3)
REG_ACCESS(cr4)
REG_ACCESS(dr0)
REG_ACCESS(dr1)
REG_ACCESS(dr2)
REG_ACCESS(dr3)
REG_ACCESS(dr6)
REG_ACCESS(dr7)

static inline word get_flags(void)
{
    word v;
    asm volatile("pushf\n\tpop %0" : "=r"(v)::"memory");
    return v;
}
static inline void set_flags(word v)
{
    asm volatile("push %0\n\tpopf" ::"r"(v) : "memory", "cc");
}
static inline void sti(void)
{
    asm volatile("sti" ::: "memory");
}
static inline void cli(void)
{
    asm volatile("cli" ::: "memory");
}

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int v, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* --- chips --- */
#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_SYSENTER_CS  0x174
#define MSR_EFER         0xc0000080u
#define MSR_STAR         0xc0000081u
#define MSR_LSTAR        0xc0000082u
#define MSR_CSTAR        0xc0000083u
#define MSR_SFMASK       0xc0000084u
#define MSR_FS_BASE      0xc0000100u
#define MSR_GS_BASE      0xc0000101u
#define MSR_KERNEL_GS    0xc0000102u

#define PIC_BASE 0x20 /* vectors of IRQ 0..15 */
/* Both PICs initialised to PIC_BASE, all lines masked; LINT0 passes them to the CPU. */
void pic_init(void);
void pic_unmask(unsigned irq);
void pic_mask_all(void);
void pic_eoi(unsigned irq);
/* Channel 0: mode 2 or 0 with this count. */
void pit_start(unsigned mode, unsigned count);
#define PIT_HZ 1193182
/* Busy-waits by PIT channel 2, at most 50 ms. */
void pit_wait_us(unsigned us);

enum {
    APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_SVR = 0xf0,
    APIC_ISR = 0x100, APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_ICR = 0x300, APIC_ICR_HI = 0x310,
    APIC_LVT_TIMER = 0x320, APIC_LINT0 = 0x350, APIC_LINT1 = 0x360, APIC_TIMER_INIT = 0x380,
    APIC_TIMER_NOW = 0x390,
    APIC_TIMER_DIV = 0x3e0
};
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t v);
void apic_enable(void);
uint32_t ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, uint32_t v);

/* Hook that counts in irq_count[vector] and ends the interrupt at LAPIC (vector >= 0x30) or PIC. */
extern volatile unsigned irq_count[256];
void irq_counter(struct frame *f);

#endif
