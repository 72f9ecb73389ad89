/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/jumps.h"

#include <sys/mman.h>

#include "cpu/translate/window.h"

#define NONE (-1)

/* A used entry, in the list of its fetch entry. */
struct node {
    int32_t prev, next;
    uint16_t fetch;
};

struct jumps {
    struct node node[WINDOWS * JUMPS]; /* window * JUMPS + index */
    int32_t head[FETCH_ENTRIES];
    uint64_t used[WINDOWS][JUMPS / 64];
};

static void no_heads(struct jumps *j)
{
    for (unsigned i = 0; i < FETCH_ENTRIES; i++)
        j->head[i] = NONE;
}

struct jumps *jumps_create(void)
{
    void *p = mmap(NULL, sizeof(struct jumps), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    no_heads(p);
    return p;
}

void jumps_destroy(struct jumps *j)
{
    if (j)
        munmap(j, sizeof *j);
}

void jumps_reset(struct jumps *j)
{
    madvise(j, sizeof *j, MADV_DONTNEED);
    no_heads(j);
}

/* An address that does not look into entry i. */
static uint64_t no_address(unsigned i)
{
    return i ? 0 : UINT64_C(1) << JUMP_ALIGN_SHIFT;
}

void jumps_init(struct jump_entry *table)
{
    table[0].lin = no_address(0); /* fresh memory has the others */
}

static bool is_used(const struct jumps *j, unsigned window, unsigned i)
{
    return j->used[window][i / 64] >> i % 64 & 1;
}

static void drop(struct jumps *j, struct jump_entry *table, unsigned window, unsigned i)
{
    const struct node *n = &j->node[window * JUMPS + i];

    if (n->prev == NONE)
        j->head[n->fetch] = n->next;
    else
        j->node[n->prev].next = n->next;
    if (n->next != NONE)
        j->node[n->next].prev = n->prev;
    j->used[window][i / 64] &= ~(UINT64_C(1) << i % 64);
    table[i].lin = no_address(i);
}

void jumps_drop(struct jumps *j, struct jump_entry *table, unsigned window, unsigned i)
{
    if (is_used(j, window, i))
        drop(j, table, window, i);
}

void jumps_add(struct jumps *j, struct jump_entry *table, unsigned window, uint64_t lin,
               const uint8_t *code, unsigned fetch)
{
    unsigned i = jump_index(lin);
    int32_t self = (int32_t)(window * JUMPS + i);

    jumps_drop(j, table, window, i);
    j->node[self] = (struct node){.prev = NONE, .next = j->head[fetch], .fetch = (uint16_t)fetch};
    if (j->head[fetch] != NONE)
        j->node[j->head[fetch]].prev = self;
    j->head[fetch] = self;
    j->used[window][i / 64] |= UINT64_C(1) << i % 64;
    table[i] = (struct jump_entry){.lin = lin, .code = code};
}

void jumps_drop_window(struct jumps *j, struct jump_entry *table, unsigned window)
{
    for (unsigned word = 0; word < JUMPS / 64; word++)
        while (j->used[window][word])
            drop(j, table, window, word * 64 + (unsigned)__builtin_ctzll(j->used[window][word]));
}

void jumps_drop_fetch(struct jumps *j, struct jump_entry *const *tables, unsigned fetch)
{
    while (j->head[fetch] != NONE) {
        unsigned window = (unsigned)j->head[fetch] / JUMPS;

        drop(j, tables[window], window, (unsigned)j->head[fetch] % JUMPS);
    }
}
