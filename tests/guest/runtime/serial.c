/* SPDX-License-Identifier: Apache-2.0 */
/* Console, outcome, and the few C library functions that a compiler may call. */
#include "guest.h"

void guest_start(void);
_Noreturn void report_failure(void);

#define COM1 0x3f8

void say(const char *text)
{
    for (; *text; text++) {
        while (!(inb(COM1 + 5) & 0x20)) {
        }
        outb(COM1, (uint8_t)*text);
    }
}

void say_hex(uint64_t value)
{
    char text[19] = "0x";
    unsigned n = 2;

    for (int shift = 60; shift >= 0; shift -= 4)
        if (value >> shift || shift == 0)
            text[n++] = "0123456789abcdef"[value >> shift & 15];
    text[n] = 0;
    say(text);
}

static _Noreturn void leave(unsigned code)
{
    for (;;)
        outb(0xf4, (uint8_t)code);
}

static struct {
    unsigned n;
    const char *why; /* NULL: got and want */
    uint64_t got, want;
} failure;

void report_failure(void)
{
    say("FAIL ");
    say(guest_name);
    say(" check=");
    say_hex(failure.n);
    say(failure.why ? " " : " got=");
    if (failure.why) {
        say(failure.why);
    } else {
        say_hex(failure.got);
        say(" want=");
        say_hex(failure.want);
    }
    say("\n");
    leave(failure.n);
}

/* User code has no right to the ports: its failures go through a gate. */
static _Noreturn void give_up(void)
{
    uint16_t cs;

    asm volatile("mov %%cs, %0" : "=r"(cs));
    if (cs & 3)
        asm volatile("int %0" ::"i"(VECTOR_USER_FAILED) : "memory");
    report_failure();
}

void fail(unsigned n, const char *why)
{
    failure.n = n;
    failure.why = why;
    give_up();
}

void check(unsigned n, uint64_t got, uint64_t want)
{
    if (got == want)
        return;
    failure.n = n;
    failure.got = got;
    failure.want = want;
    give_up();
}

void pass(void)
{
    say("PASS ");
    say(guest_name);
    say("\n");
    leave(0);
}

void guest_start(void)
{
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    idt_load();
    pic_init();
    guest_main();
    pass();
}

void *memcpy(void *to, const void *from, size_t n)
{
    void *d = to;

    asm volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n)::"memory");
    return to;
}

void *memset(void *to, int v, size_t n)
{
    void *d = to;

    asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *p = a, *q = b;

    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}
