/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every combination of entry states at every level x page size x kind of access x control bits, in
 * every format, against a model written down here: fault or not, the exact error code, the exact
 * accessed and dirty bits, and the same answer again from the shadow.
 *
 * RIGHTS_FULL=1 in the environment runs all cases; otherwise one in 37 is taken.
 */
#include <stdio.h>

#include "mmu_guest.h"

/* States of one entry: eight times rights, then not present, then a reserved bit. */
enum { ENTRY_ABSENT = 8, ENTRY_RESERVED = 9, ENTRY_STATES = 10 };
#define BIT_W  1u
#define BIT_U  2u
#define BIT_NX 4u

#define GVA UINT64_C(0x40201000) /* index 1 at levels 3, 2 and 1 of the 8-byte formats */

struct shape {
    const char *name;
    unsigned levels; /* tables in memory */
    unsigned bytes;
    uint32_t cr4;
    uint32_t efer;
    unsigned largest; /* level of the largest page */
};

static const struct shape shapes[] = {
    {"2-level", 2, 4, C4_PSE, 0, 2},
    {"PAE", 2, 8, C4_PAE, 0, 2},
    {"4-level", 4, 8, C4_PAE, EF_LM, 3},
    {"5-level", 5, 8, C4_PAE | C4_LA57, EF_LM, 3},
};

/* One control state and access, by bits of a number. */
struct how {
    bool wp, smep, smap, nxe, ac, user, implicit;
    enum mmu_access_kind kind;
    unsigned key; /* 0: keys off; 1..4: on, with the two bits of the page's key = key - 1 */
};

#define HOWS (16u * 2 * 3 * 3 * 5)

static struct how how_of(unsigned n)
{
    struct how h;
    h.wp = n & 1;
    h.smep = n & 2;
    h.smap = n & 4;
    h.nxe = n & 8;
    n /= 16;
    h.ac = n % 2;
    n /= 2;
    h.user = n % 3 == 1;
    h.implicit = n % 3 == 2;
    n /= 3;
    h.kind = (enum mmu_access_kind)(n % 3);
    h.key = n / 3;
    return h;
}

struct expect {
    bool fault;
    uint32_t code;
    unsigned stop; /* level where the walk ended */
};

static struct expect model(const struct shape *s, const unsigned *entry, unsigned leaf,
                           struct how h)
{
    struct expect e = {.stop = leaf};
    unsigned all = BIT_W | BIT_U, nx = 0;
    bool has_nx = h.nxe && s->bytes == 8;

    if (h.kind == MMU_WRITE)
        e.code |= PF_W;
    if (h.user)
        e.code |= PF_U;
    if (h.kind == MMU_FETCH && (has_nx || h.smep))
        e.code |= PF_I;
    for (unsigned l = s->levels; l >= leaf; l--) {
        bool nx_reserved = s->bytes == 8 && !h.nxe && entry[l] < 8 && (entry[l] & BIT_NX);
        if (entry[l] == ENTRY_ABSENT || entry[l] == ENTRY_RESERVED || nx_reserved) {
            e.fault = true;
            e.stop = l;
            e.code |= entry[l] == ENTRY_ABSENT ? 0 : PF_P | PF_RSVD;
            return e;
        }
        all &= entry[l];
        nx |= entry[l] & BIT_NX;
    }
    bool refused = false;
    if (h.user) {
        refused = !(all & BIT_U) || (h.kind == MMU_WRITE && !(all & BIT_W));
    } else if (h.kind == MMU_FETCH) {
        refused = (all & BIT_U) && h.smep;
    } else {
        refused = (h.kind == MMU_WRITE && !(all & BIT_W) && h.wp) ||
                  ((all & BIT_U) && h.smap && (h.implicit || !h.ac));
    }
    if (h.kind == MMU_FETCH && nx && has_nx)
        refused = true;
    if (h.key && s->levels >= 4 && (all & BIT_U) && h.kind != MMU_FETCH) {
        unsigned two = h.key - 1; /* bit 0: no access, bit 1: no write */
        if ((two & 1) || ((two & 2) && h.kind == MMU_WRITE && (h.user || h.wp))) {
            refused = true;
            e.code |= PF_PK;
        }
    }
    e.fault = refused;
    if (refused)
        e.code |= PF_P;
    return e;
}

static unsigned shift_of(const struct shape *s, unsigned level)
{
    return s->bytes == 4 ? (level == 2 ? 22 : 12) : 12 + 9 * (level - 1);
}

static uint64_t table_of(unsigned level)
{
    return UINT64_C(0x10000) + 0x1000 * level;
}

static uint64_t entry_at(const struct shape *s, unsigned level)
{
    return table_of(level) + s->bytes * (GVA >> shift_of(s, level) & (s->bytes == 4 ? 1023 : 511));
}

#define KEY 5u

static uint64_t make_entry(const struct shape *s, unsigned level, unsigned leaf, unsigned state)
{
    uint64_t e = level > leaf ? table_of(level - 1) : level == 1 ? 0x30000 : 0;
    if (level == leaf && level > 1)
        e |= PS_;
    if (level == leaf && s->levels >= 4)
        e |= (uint64_t)KEY << 59;
    if (state == ENTRY_ABSENT)
        return e | W_ | U_;
    e |= P_;
    if (state == ENTRY_RESERVED) {
        if (s->bytes == 8)
            return e | W_ | U_ | UINT64_C(1) << 45;
        return e | W_ | U_ | (level == leaf && level > 1 ? 1u << 21 : 0);
    }
    return e | (state & BIT_W ? W_ : 0) | (state & BIT_U ? U_ : 0) |
           ((state & BIT_NX) && s->bytes == 8 ? NX_ : 0);
}

struct run {
    struct guest g;
    uint64_t cases, taken, step;
    uint32_t *cells; /* guest memory at 0 */
};

static uint64_t get_entry(struct run *r, const struct shape *s, unsigned level)
{
    uint8_t *p = (uint8_t *)r->cells + entry_at(s, level);
    uint64_t v = 0;
    memcpy(&v, p, s->bytes);
    return v;
}

static void put_entry(struct run *r, const struct shape *s, unsigned level, uint64_t v)
{
    memcpy((uint8_t *)r->cells + entry_at(s, level), &v, s->bytes);
}

static void try_case(struct run *r, const struct shape *s, const unsigned *entry, unsigned leaf,
                     unsigned n)
{
    struct how h = how_of(n);
    struct expect want = model(s, entry, leaf, h);
    uint64_t raw[6];

    for (unsigned l = s->levels; l >= leaf; l--) {
        raw[l] = make_entry(s, l, leaf, entry[l]);
        put_entry(r, s, l, raw[l]);
    }
    r->g.ctx = (struct mmu_context){
        .cr0 = h.wp ? CR0_PG_WP : CR0_PG_ONLY,
        .cr3 = table_of(s->levels),
        .cr4 = s->cr4 | (h.smep ? C4_SMEP : 0) | (h.smap ? C4_SMAP : 0) | (h.key ? C4_PKE : 0),
        .efer = s->efer | (h.nxe ? EF_NXE : 0),
        .pkru = h.key ? (h.key - 1) << (2 * KEY) : 0,
        .pdpte = {0, table_of(2) | P_, 0, 0},
    };
    enter(&r->g, MMU_SWITCH_FLUSH_ALL);
    struct mmu_access a = {
        .gva = gva_make(GVA | 0x10), .kind = h.kind, .user = h.user, .implicit = h.implicit};
    for (unsigned again = 0; again < 2; again++) {
        struct mmu_result got;
        memset(&got, 0, sizeof got);
        mmu_translate(r->g.mmu, &a, h.ac, &got);
        if (want.fault != (got.kind == MMU_GUEST_FAULT) ||
            (want.fault && got.error_code != want.code) ||
            (!want.fault && !(h.kind == MMU_READ    ? got.may_read
                              : h.kind == MMU_WRITE ? got.may_write
                                                    : got.may_exec)))
            fail_msg(
                "%s leaf=%u entries=%u%u%u%u%u how=%u turn=%u: fault=%d code=0x%x, wanted %d 0x%x",
                s->name, leaf, entry[1], entry[2], entry[3], entry[4], entry[5], n, again, got.kind,
                got.error_code, want.fault, want.code);
        for (unsigned l = s->levels; l >= leaf; l--) {
            uint64_t expect = raw[l];
            if (l > want.stop || (l == want.stop && !want.fault))
                expect |= A_;
            if (l == leaf && !want.fault && h.kind == MMU_WRITE)
                expect |= D_;
            if (get_entry(r, s, l) != expect)
                fail_msg("%s leaf=%u level=%u how=%u: entry 0x%llx, wanted 0x%llx", s->name, leaf,
                         l, n, (unsigned long long)get_entry(r, s, l), (unsigned long long)expect);
        }
    }
    r->taken++;
}

/*
 * All states of all levels from `level` down. Below an entry that stops the walk nothing matters.
 */
static void all_entries(struct run *r, const struct shape *s, unsigned *entry, unsigned level,
                        unsigned leaf)
{
    if (level < leaf) {
        for (unsigned n = 0; n < HOWS; n++) {
            if (s->levels < 4 && how_of(n).key)
                break;
            if (r->cases++ % r->step == 0)
                try_case(r, s, entry, leaf, n);
        }
        return;
    }
    for (unsigned state = 0; state < ENTRY_STATES; state++) {
        if (s->bytes == 4 && (state == ENTRY_RESERVED ? !(level == leaf && level > 1)
                                                      : state < 8 && (state & BIT_NX)))
            continue;
        entry[level] = state;
        bool stops = state >= ENTRY_ABSENT;
        if (stops) {
            for (unsigned l = leaf; l < level; l++)
                entry[l] = BIT_W | BIT_U;
        }
        all_entries(r, s, entry, stops ? leaf - 1 : level - 1, leaf);
    }
}

static void every_combination(void **state)
{
    struct run r = {.step = getenv("RIGHTS_FULL") ? 1 : 37};
    size_t count;
    (void)state;

    guest_open(&r.g, 16 << 20, false);
    for (uint64_t a = 0; a < 0x40000; a += 0x1000)
        wr32(&r.g, a, 0);
    /* Resident, so that the cases can write their entries directly. */
    hva_t hva;
    bool writable;
    for (uint64_t f = 0; f < 0x400; f++)
        assert_int_equal(mem_make_resident(r.g.mem, gfn_make(f), MEM_FOR_WRITE, &hva, &writable),
                         MEM_OK);
    r.cells = hva_ptr(mem_slots(r.g.mem, &count)->userspace_addr);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (unsigned leaf = 1; leaf <= shapes[i].largest; leaf++) {
            unsigned entry[6] = {0};
            all_entries(&r, &shapes[i], entry, shapes[i].levels, leaf);
        }
    }
    printf("rights: %llu cases of %llu, no mismatch\n", (unsigned long long)r.taken,
           (unsigned long long)r.cases);
    guest_close(&r.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
