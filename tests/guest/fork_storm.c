/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address spaces come and go: each new one is a copy of another with all pages read-only in both;
 * the first write to a page of two owners copies it; an ended one gives back its frames, and its
 * tables are the next one's. What every space should hold is kept beside it.
 */
#include "guest.h"

#define SPACES 8u
#define PAGES  48u
#define FRAMES (SPACES * PAGES + 8u)
#define ROUNDS 1500u

struct space {
    bool used;
    word root;
    void *tables[3]; /* of the levels 3, 2 and 1; PAE has no level 3 of its own but the root */
    uint16_t frame[PAGES];
    uint32_t want[PAGES];
};

static struct space spaces[SPACES];
static uint32_t *frames[FRAMES];
static uint8_t owners[FRAMES];
static uint32_t seed = 88172645;

static uint32_t chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

static unsigned index_of(unsigned level)
{
    return (uint64_t)SCRATCH >> (12 + 9 * (level - 1)) & 511;
}

static uint64_t *leaf(struct space *s, unsigned page)
{
    return (uint64_t *)s->tables[2] + index_of(1) + page;
}

static volatile uint32_t *at(unsigned page)
{
    return (volatile uint32_t *)(SCRATCH + page * 4096ul);
}

static void chain(uint64_t *table, unsigned index, void *next, uint64_t flags)
{
    table[index] = (word)next | flags;
}

/* Fresh tables around a copy of the running space's upper ones. */
static void build(struct space *s)
{
    word now = get_cr3() & ~0xffful;
    uint64_t *root = (uint64_t *)s->root;

    memcpy(root, (void *)now, 4096);
    memset(s->tables[1], 0, 4096);
    memset(s->tables[2], 0, 4096);
    if (GUEST_BITS == 64) {
        memcpy(s->tables[0], (void *)(word)(*(uint64_t *)now & 0xffffffffff000), 4096);
        chain(root, 0, s->tables[0], P_RWU);
        chain(s->tables[0], index_of(3), s->tables[1], P_RWU);
    } else {
        chain(root, index_of(3), s->tables[1], P_P);
    }
    chain(s->tables[1], index_of(2), s->tables[2], P_RWU);
    s->used = true;
}

static unsigned frame_alloc(void)
{
    for (unsigned f = 0; f < FRAMES; f++)
        if (!owners[f]) {
            owners[f] = 1;
            return f;
        }
    fail(120, "no frame is free");
}

static void fork_space(struct space *from, struct space *to)
{
    build(to);
    for (unsigned p = 0; p < PAGES; p++) {
        to->frame[p] = from->frame[p];
        to->want[p] = from->want[p];
        owners[from->frame[p]]++;
        *leaf(from, p) &= ~P_W;
        *leaf(to, p) = (word)frames[from->frame[p]] | P_P | P_U;
    }
    set_cr3(get_cr3()); /* the parent's write permissions are gone */
}

static void end_space(struct space *s)
{
    for (unsigned p = 0; p < PAGES; p++) {
        owners[s->frame[p]]--;
        *leaf(s, p) = 0;
    }
    s->used = false;
}

/* The running space is s. */
static void write_page(struct space *s, unsigned p, uint32_t v)
{
    asm volatile(FAULTS("movl %1, (%0)")::"r"(at(p)), "r"(v) : "memory");
    if (last.f.vector != NO_FAULT) {
        unsigned old = s->frame[p];

        check_pf(1, 3, at(p));
        if (owners[old] > 1) {
            unsigned fresh = frame_alloc();

            memcpy(frames[fresh], frames[old], 64);
            owners[old]--;
            s->frame[p] = (uint16_t)fresh;
        }
        *leaf(s, p) = (word)frames[s->frame[p]] | P_RWU;
        invlpg(at(p));
        *at(p) = v;
    }
    s->want[p] = v;
}

static void check_space(struct space *s)
{
    for (unsigned p = 0; p < PAGES; p++)
        check(2, *at(p), s->want[p]);
}

GUEST
{
    unsigned now = 0;

    paging_on();
    set_cr0(get_cr0() | 0x10000);
    for (unsigned i = 0; i < FRAMES; i++)
        frames[i] = page_alloc();
    for (unsigned i = 0; i < SPACES; i++) {
        spaces[i].root = (word)page_alloc();
        for (unsigned t = 0; t < 3; t++)
            spaces[i].tables[t] = page_alloc();
    }
    build(&spaces[0]);
    for (unsigned p = 0; p < PAGES; p++) {
        spaces[0].frame[p] = (uint16_t)frame_alloc();
        *leaf(&spaces[0], p) = (word)frames[spaces[0].frame[p]] | P_RWU;
    }
    set_cr3(spaces[0].root);

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t r = chance();
        unsigned other = r >> 8 & (SPACES - 1);
        struct space *s = &spaces[now], *o = &spaces[other];

        if (other != now && !o->used)
            fork_space(s, o);
        else if (other != now && (r & 3) == 0)
            end_space(o);
        if (o->used) {
            set_cr3(o->root);
            now = other;
            s = o;
        }
        for (unsigned n = 0; n < 6; n++)
            write_page(s, chance() % PAGES, chance());
        if ((r & 0x70) == 0)
            check_space(s);
        check(3, *at(r >> 16 & 31), s->want[r >> 16 & 31]);
    }
    for (unsigned i = 0; i < SPACES; i++)
        if (spaces[i].used) {
            set_cr3(spaces[i].root);
            check_space(&spaces[i]);
        }
}
