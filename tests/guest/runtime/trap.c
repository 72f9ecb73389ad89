/* SPDX-License-Identifier: Apache-2.0 */
/* Trap recorder, descriptors, entry to user mode. */
#include "guest.h"

extern const uint8_t trap_stubs[256][16];
void leave_user(void);
void user_entry(void);
void trap_handle(struct frame *f);
_Noreturn void report_failure(void);
extern word guarded_sp;

struct trap last;
word resume_ip, faults_ip;
trap_hook *hook[256];
uint64_t idt[512] __attribute__((aligned(4096)));
uint32_t tss[64] __attribute__((aligned(256)));

/* Names for the asm of FAULTS, which cannot compute member offsets. */
#define LAST_VECTOR (GUEST_BITS == 64 ? 120 : 48)
#define LAST_COUNT  (GUEST_BITS == 64 ? 192 : 84)
_Static_assert(offsetof(struct trap, f.vector) == LAST_VECTOR, "FAULTS");
_Static_assert(offsetof(struct trap, count) == LAST_COUNT, "FAULTS");
asm(".globl last_vector, last_count\n"
#ifdef __x86_64__
    ".set last_vector, last + 120\n.set last_count, last + 192\n"
#else
    ".set last_vector, last + 48\n.set last_count, last + 84\n"
#endif
);

uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

void gate_set(uint64_t *slot, word offset, uint16_t selector, uint8_t type, uint8_t count)
{
    slot[0] = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)count << 32 |
              (uint64_t)type << 40 | (uint64_t)(offset >> 16 & 0xffff) << 48;
#ifdef __x86_64__
    slot[1] = offset >> 32;
#endif
}

static uint64_t *idt_slot(unsigned vector)
{
    return &idt[vector * (GUEST_BITS / 32)];
}

void idt_set(unsigned vector, void (*fn)(void), uint8_t type)
{
    gate_set(idt_slot(vector), (word)fn, SEL_KCODE, type, 0);
}

void idt_dpl(unsigned vector, unsigned dpl)
{
    *idt_slot(vector) = (*idt_slot(vector) & ~(3ull << 45)) | (uint64_t)dpl << 45;
}

void idt_load(void)
{
    for (unsigned v = 0; v < 256; v++)
        gate_set(idt_slot(v), (word)trap_stubs[v], SEL_KCODE, 0x8e, 0);
    idt_set(VECTOR_LEAVE_USER, leave_user, 0xee);
    asm volatile("lidt %0" ::"m"(idt_ptr));
    idt_dpl(VECTOR_USER_FAILED, 3);
    gdt[SEL_TSS / 8] = descriptor((uint32_t)(word)tss, sizeof(tss) - 1, 0x89, 0);
    gdt[SEL_TSS / 8 + 1] = 0;
    if (GUEST_BITS == 32)
        tss[2] = SEL_KDATA;
    tss[25] = sizeof(tss) << 16; /* no I/O bitmap */
    asm volatile("lldt %w0\n\tltr %w1" ::"r"(0), "r"(SEL_TSS));
}

static void unexpected(struct frame *f)
{
    static const char *const names[] = {"vector", "error", "ip", "cs", "flags"};

    say("FAIL ");
    say(guest_name);
    say(" unexpected");
    for (unsigned i = 0; i < 5; i++) {
        say(" ");
        say(names[i]);
        say("=");
        say_hex((&f->vector)[i]);
    }
    say(" cr2=");
    say_hex(get_cr2());
    say("\n");
    for (;;)
        outb(0xf4, 127);
}

void trap_handle(struct frame *f)
{
    if (f->vector == VECTOR_USER_FAILED)
        report_failure();
    if (hook[f->vector]) {
        hook[f->vector](f);
        return;
    }
    if (!resume_ip && !guarded_sp)
        unexpected(f);
    memcpy(&last.f, f, (f->cs & 3) || GUEST_BITS == 64 ? sizeof(*f) : offsetof(struct frame, sp));
    last.cr2 = get_cr2();
    last.dr6 = get_dr6();
    last.count++;
    if (resume_ip) {
        f->ip = resume_ip;
        f->flags &= ~0x10100ul; /* RF, TF */
        return;
    }
    asm volatile("jmp guarded_return" ::"D"(f->vector));
    __builtin_unreachable();
}

void check_fault(unsigned n, unsigned vector, word error, word offset)
{
    check(n, last.f.vector, vector);
    check(n, last.f.error, error);
    check(n, last.f.ip - faults_ip, offset);
}

void check_pf(unsigned n, word error, const volatile void *cr2)
{
    check(n, last.f.vector, PF);
    check(n, last.f.error, error);
    check(n, last.cr2, (word)cr2);
}

void check_no_fault(unsigned n)
{
    check(n, last.f.vector, NO_FAULT);
}

word call_user(word (*fn)(word), word arg)
{
    word *sp = (word *)user_stack_top - 1;

    *sp = (word)fn;
    return enter_user((word)user_entry, SEL_UCODE, (word)sp, SEL_UDATA, arg);
}
