/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same code at two addresses, with operands that count from its own: each has its data, and
 * finds it where it was mapped last.
 */
#include "guest.h"

#define FIRST  SCRATCH
#define SECOND (SCRATCH + 0x123000)
#define ROUNDS 300u /* often enough for what an engine learns about code and pages */

struct data {
    uint64_t value, count, more;
    void (*nothing)(void);
    uint64_t shared[3];
};

typedef uint64_t fn(void);

asm(".pushsection .text\n\t.balign 4096\n"
    "places: mov places+4096(%rip), %rax\n\t"
    "incq places+4096+8(%rip)\n\t"
    "add places+4096+16(%rip), %rax\n\t"
    "add places+8192-4(%rip), %rax\n\t" /* across two pages */
    "call *places+4096+24(%rip)\n\t"
    "mov %rax, places+4096+32(%rip)\n\tmov places+4096+40(%rip), %rdx\n\t"
    "mov %rdx, places+4096+48(%rip)\n\t"
    "ret\n"
    "nothing: ret\n\t.balign 4096\n\t.popsection");
extern uint8_t places[], nothing[];

/* Its code, its data, and the page behind. */
static struct data *place_at(word at, uint64_t *across)
{
    uint8_t *data = page_alloc(), *behind = page_alloc();

    page_map(at, (word)places, P_RWU);
    page_map(at + 0x1000, (word)data, P_RWU);
    page_map(at + 0x2000, (word)behind, P_RWU);
    memcpy(data + 4092, across, 4);
    memcpy(behind, (uint8_t *)across + 4, 4);
    ((struct data *)data)->nothing = (void (*)(void))(at + (word)(nothing - places));
    return (struct data *)data;
}

static void run_at(unsigned n, word at, struct data *d, uint64_t across, uint64_t value)
{
    uint64_t count = d->count;

    d->value = value;
    d->more = 3 * value;
    d->shared[1] = ~value;
    check(n, ((fn *)at)(), 4 * value + across);
    check(n + 1, d->count, count + 1);
    check(n + 2, d->shared[0], 4 * value + across);
    check(n + 3, d->shared[2], ~value);
}

GUEST
{
    uint64_t across[2] = {0x1122334455667788, 0x0102030405060708};
    struct data *first, *second, *third;

    paging_on();
    first = place_at(FIRST, &across[0]);
    second = place_at(SECOND, &across[1]);
    for (unsigned i = 0; i < ROUNDS; i++)
        run_at(10, FIRST, first, across[0], i);
    for (unsigned i = 0; i < ROUNDS; i++) {
        run_at(20, SECOND, second, across[1], i + 1000000);
        run_at(30, FIRST, first, across[0], i + 2000000);
    }
    /* Another frame under the first one's data. */
    third = page_alloc();
    memcpy(third, first, 4096);
    page_map(FIRST + 0x1000, (word)third, P_RWU);
    invlpg((void *)(FIRST + 0x1000));
    for (unsigned i = 0; i < ROUNDS; i++) {
        run_at(40, FIRST, third, across[0], i + 3000000);
        run_at(50, SECOND, second, across[1], i + 4000000);
    }
}
