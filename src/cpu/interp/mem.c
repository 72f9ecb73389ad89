/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slow half of mem.h: segmentation, alignment, data breakpoints, translation through the shadow
 * MMU, pages crossed, tracked frames and devices.
 *
 * Every access is first resolved into one or two pieces (one per page); only then does the first
 * byte move.
 */
#include "cpu/interp/mem.h"

#include <string.h>

#include "cpu/interp/mem_as.h"

struct piece {
    struct mmu_result r;
    unsigned bytes;
};

_Noreturn void mem_raise_address(struct interp *c, const struct uop *u)
{
    exc_raise_code(c, u, u && u->seg == SEG_SS ? VEC_SS : VEC_GP, 0);
}

/* SDM 3A 5.3 and 5.5: limit and type of a data access. */
static bool segment_allows(const struct interp *c, const struct x86_segment *s, uint64_t ea,
                           unsigned bytes, enum mmu_access_kind kind)
{
    unsigned type = s->attr & SEG_ATTR_TYPE;
    bool is_code = type & 8u;
    uint64_t last = ea + bytes - 1;

    if ((s->attr & SEG_ATTR_UNUSABLE) || !(s->attr & SEG_ATTR_P))
        return false;
    if ((c->s.cr0 & CR0_PE) && !(c->s.rflags & RFLAGS_VM)) {
        if (kind == MMU_WRITE && (is_code || !(type & 2u)))
            return false;
        if (kind == MMU_READ && is_code && !(type & 2u))
            return false;
    }
    if (!is_code && (type & 4u)) {
        uint64_t top = s->attr & SEG_ATTR_DB ? UINT32_MAX : UINT16_MAX;
        return ea > s->limit && last <= top;
    }
    return last <= s->limit;
}

uint64_t seg_linear(struct interp *c, const struct uop *u, unsigned seg, uint64_t ea,
                    unsigned bytes, enum mmu_access_kind kind)
{
    const struct x86_segment *s = &c->s.seg[seg];

    if (c->mode == CODE_64)
        return seg >= SEG_FS ? s->base + ea : ea;
    if (c->flat && seg_is_flat(seg))
        return ea;
    if (unlikely(!segment_allows(c, s, ea, bytes, kind)))
        exc_raise_code(c, u, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
    return (uint32_t)(s->base + ea);
}

/*
 * With a budget, an instruction that talks to a device runs alone: what the device raises is then
 * taken right behind it, wherever its block would have ended, and that depends on what was decoded.
 */
static void to_device(struct interp *c, const struct uop *u)
{
    if (c->budgeted && !c->alone && u && !c->delivering && !c->task.waits)
        leave_to_run_alone(c, u);
}

void mem_translate(struct interp *c, const struct uop *u, const struct mmu_access *a,
                   struct mmu_result *r)
{
    interp_translate(c, a, !a->implicit && (c->s.rflags & RFLAGS_AC), r);
    if (unlikely(r->kind == MMU_GUEST_FAULT))
        exc_raise_pf(c, u, a->gva.v, r->error_code);
    if (unlikely(r->kind == MMU_HOST_ERROR))
        leave_host_error(c, u);
    if (unlikely(r->kind == MMU_DEVICE))
        to_device(c, u);
}

/* One page's part. */
static void translate(struct interp *c, const struct uop *u, uint64_t lin,
                      enum mmu_access_kind kind, enum mem_as as, struct mmu_result *r)
{
    struct mmu_access a = {
        .gva = gva_make(lin),
        .kind = kind,
        .user = as == AS_USER || (as == AS_CPL && c->cpl == 3),
        .implicit = as == AS_IMPLICIT,
    };

    mem_translate(c, u, &a, r);
}

/* DR7 data breakpoints (SDM 3B 17.2.4): sets the B bits of those that the access touches. */
static void note_watchpoints(struct interp *c, uint64_t lin, unsigned bytes,
                             enum mmu_access_kind kind)
{
    static const uint8_t length[4] = {1, 2, 8, 4};

    for (unsigned i = 0; i < 4; i++) {
        unsigned rw = (c->s.dr[7] >> (16 + 4 * i)) & 3u;
        uint64_t len = length[(c->s.dr[7] >> (18 + 4 * i)) & 3u];
        uint64_t at = c->s.dr[i] & ~(len - 1);

        if (!((c->s.dr[7] >> (2 * i)) & 3u) || !(rw == 3 || (rw == 1 && kind == MMU_WRITE)))
            continue;
        if (lin < at + len && at < lin + bytes)
            c->dr6_pending |= UINT64_C(1) << i;
    }
}

/* Checks that only the slow views need. */
static void check_slow_view(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                            enum mmu_access_kind kind)
{
    bool power_of_two = bytes == 2 || bytes == 4 || bytes == 8;

    if (power_of_two && (lin & (bytes - 1)) && c->cpl == 3 && (c->s.cr0 & CR0_AM) &&
        (c->s.rflags & RFLAGS_AC))
        exc_raise_code(c, u, VEC_AC, 0);
    if (c->s.dr[7] & 0xffu)
        note_watchpoints(c, lin, bytes, kind);
}

/* The part of an access that begins at lin, if the TLB knows its page. */
static bool is_known(struct interp *c, uint64_t lin, enum mmu_access_kind kind, struct piece *out)
{
    const struct tlb_entry *e = tlb_slot(c, lin);

    if ((kind == MMU_WRITE ? e->wtag : e->rtag) != tlb_want(c, lin))
        return false;
    out->r = (struct mmu_result){.kind = MMU_MAPPED,
                                 .hva = hva_make((lin & PAGE_MASK) + e->addend),
                                 .gpa = gpa_make(lin & (PAGE_SIZE - 1))};
    return true;
}

/* Resolves an access into its pieces; leaves by an exception when any part of it faults. */
static unsigned resolve(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                        enum mmu_access_kind kind, enum mem_as as, struct piece out[2])
{
    uint64_t next = (lin & PAGE_MASK) + PAGE_SIZE;
    unsigned first = MEM_FITS(lin, bytes) ? bytes : (unsigned)(next - lin);

    if (c->mode == CODE_64 || (as == AS_IMPLICIT && (c->s.efer & EFER_LMA))) {
        if (unlikely(!is_canonical(c, lin) || !is_canonical(c, lin + bytes - 1)))
            mem_raise_address(c, u);
    } else {
        /* A flat segment ends at 4 GiB; with another base the linear address wraps. */
        if (unlikely(lin + bytes > UINT64_C(1) << 32) && c->flat && u && seg_is_flat(u->seg) &&
            as == AS_CPL)
            mem_raise_address(c, u);
        next = (uint32_t)next;
    }
    if (unlikely(c->view[0] == VIEW_SLOW) && as == AS_CPL)
        check_slow_view(c, u, lin, bytes, kind);
    out[0].bytes = first;
    out[1].bytes = bytes - first;
    if (first < bytes && as == AS_CPL && is_known(c, lin, kind, &out[0]) &&
        is_known(c, next, kind, &out[1]))
        return 2;
    translate(c, u, lin, kind, as, &out[0].r);
    if (likely(first == bytes))
        return 1;
    translate(c, u, next, kind, as, &out[1].r);
    return 2;
}

static void device_read(struct interp *c, const struct uop *u, gpa_t gpa, uint8_t *buf,
                        unsigned bytes)
{
    enum engine_phase before = bus_begin(c, u);

    while (bytes) {
        unsigned n = bytes < 8 ? bytes : 8;
        uint64_t v = c->bus->mmio_read(c->bus->arg, gpa, n);

        c->stats.exits_mmio_read++;
        memcpy(buf, &v, n);
        buf += n;
        bytes -= n;
        gpa = gpa_add(gpa, n);
    }
    bus_end(c, before);
}

static void device_write(struct interp *c, const struct uop *u, gpa_t gpa, const uint8_t *buf,
                         unsigned bytes)
{
    enum engine_phase before = bus_begin(c, u);

    while (bytes) {
        unsigned n = bytes < 8 ? bytes : 8;
        uint64_t v = 0;

        memcpy(&v, buf, n);
        c->bus->mmio_write(c->bus->arg, gpa, n, v);
        c->stats.exits_mmio_write++;
        buf += n;
        bytes -= n;
        gpa = gpa_add(gpa, n);
    }
    bus_end(c, before);
}

static char *piece_host(const struct piece *p)
{
    return (char *)hva_ptr(p->r.hva) + gpa_offset(p->r.gpa);
}

static void piece_read(struct interp *c, const struct uop *u, const struct piece *p, uint8_t *buf)
{
    if (p->r.kind == MMU_DEVICE)
        device_read(c, u, p->r.gpa, buf, p->bytes);
    else
        memcpy(buf, piece_host(p), p->bytes);
}

static void piece_write(struct interp *c, const struct uop *u, const struct piece *p,
                        const uint8_t *buf)
{
    if (p->r.kind == MMU_DEVICE) {
        device_write(c, u, p->r.gpa, buf, p->bytes);
        return;
    }
    memcpy(piece_host(p), buf, p->bytes);
    if (p->r.tracked)
        mem_note_written(c->mem, p->r.gpa, p->bytes);
}

static void access_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf,
                        unsigned bytes, enum mem_as as)
{
    struct piece p[2];
    unsigned n = resolve(c, u, lin, bytes, MMU_READ, as, p);

    if (n == 1 && p[0].r.kind == MMU_MAPPED)
        tlb_fill(c, lin, as, &p[0].r);
    piece_read(c, u, &p[0], buf);
    if (n == 2)
        piece_read(c, u, &p[1], (uint8_t *)buf + p[0].bytes);
}

/*
 * A store to a tracked frame that the TLB knows: no translation, only the word to the trackers, if
 * it is one for them: code that is written as it was stays right. When nobody tracks the frame any
 * more, the entry becomes an ordinary one. False: not such a store.
 */
static bool noted_write(struct interp *c, uint64_t lin, const void *buf, unsigned bytes)
{
    struct tlb_entry *e = tlb_slot(c, lin);
    uint64_t want = tlb_want(c, lin);

    if (e->rtag != want || !(e->note & TLB_NOTED) || !MEM_FITS(lin, bytes))
        return false;
    gpa_t gpa = gpa_make((e->note & PAGE_MASK) | (lin & (PAGE_SIZE - 1)));
    unsigned track = mem_track(c->mem, gpa_gfn(gpa));
    void *to = (void *)(uintptr_t)(lin + e->addend);

    if (track == MEM_TRACK_CODE && memcmp(to, buf, bytes) == 0)
        return true;
    memcpy(to, buf, bytes);
    if (track) {
        c->stats.stores_noted++;
        mem_note_written(c->mem, gpa, bytes);
    } else {
        e->wtag = want;
        e->note &= ~(uint64_t)TLB_NOTED;
    }
    return true;
}

static void access_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf,
                         unsigned bytes, enum mem_as as)
{
    struct piece p[2];
    unsigned n = resolve(c, u, lin, bytes, MMU_WRITE, as, p);

    if (n == 1 && p[0].r.kind == MMU_MAPPED)
        tlb_fill(c, lin, as, &p[0].r);
    piece_write(c, u, &p[0], buf);
    if (n == 2)
        piece_write(c, u, &p[1], (const uint8_t *)buf + p[0].bytes);
}

uint64_t mem_load_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes)
{
    uint64_t v = 0;

    c->stats.tlb_misses_data++;
    access_read(c, u, lin, &v, bytes, AS_CPL);
    return v;
}

void mem_store_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
                    uint64_t value)
{
    if (noted_write(c, lin, &value, bytes))
        return;
    c->stats.tlb_misses_data++;
    access_write(c, u, lin, &value, bytes, AS_CPL);
}

void lin_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes)
{
    const struct tlb_entry *e = tlb_slot(c, lin);

    if (likely(e->rtag == tlb_want(c, lin) && MEM_FITS(lin, bytes))) {
        memcpy(buf, (const void *)(uintptr_t)(lin + e->addend), bytes);
        return;
    }
    c->stats.tlb_misses_data++;
    access_read(c, u, lin, buf, bytes, AS_CPL);
}

void lin_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf, unsigned bytes)
{
    const struct tlb_entry *e = tlb_slot(c, lin);

    if (likely(e->wtag == tlb_want(c, lin) && MEM_FITS(lin, bytes))) {
        memcpy((void *)(uintptr_t)(lin + e->addend), buf, bytes);
        return;
    }
    if (noted_write(c, lin, buf, bytes))
        return;
    c->stats.tlb_misses_data++;
    access_write(c, u, lin, buf, bytes, AS_CPL);
}

void lin_probe(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
               enum mmu_access_kind kind)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    struct piece p[2];

    if (likely((kind == MMU_WRITE ? e->wtag : e->rtag) == tlb_want(c, lin) && MEM_FITS(lin, bytes)))
        return;
    resolve(c, u, lin, bytes, kind, AS_CPL, p);
}

static void read_as(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes,
                    enum mem_as as)
{
    const void *host = known_host(c, lin, bytes, MMU_READ, as);

    if (likely(host))
        memcpy(buf, host, bytes);
    else
        access_read(c, u, lin, buf, bytes, as);
}

static void write_as(struct interp *c, const struct uop *u, uint64_t lin, const void *buf,
                     unsigned bytes, enum mem_as as)
{
    void *host = known_host(c, lin, bytes, MMU_WRITE, as);

    if (likely(host))
        memcpy(host, buf, bytes);
    else
        access_write(c, u, lin, buf, bytes, as);
}

void sys_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes)
{
    read_as(c, u, lin, buf, bytes, AS_IMPLICIT);
}

void sys_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf, unsigned bytes)
{
    write_as(c, u, lin, buf, bytes, AS_IMPLICIT);
}

void sys_probe(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes,
               enum mmu_access_kind kind)
{
    struct piece p[2];
    unsigned n;

    if (likely(known_host(c, lin, bytes, kind, AS_IMPLICIT)))
        return;
    n = resolve(c, u, lin, bytes, kind, AS_IMPLICIT, p);
    if (n == 1 && p[0].r.kind == MMU_MAPPED)
        tlb_fill(c, lin, AS_IMPLICIT, &p[0].r);
}

void priv_read(struct interp *c, const struct uop *u, uint64_t lin, void *buf, unsigned bytes,
               bool user)
{
    read_as(c, u, lin, buf, bytes, user ? AS_USER : AS_SUPERVISOR);
}

void priv_write(struct interp *c, const struct uop *u, uint64_t lin, const void *buf,
                unsigned bytes, bool user)
{
    write_as(c, u, lin, buf, bytes, user ? AS_USER : AS_SUPERVISOR);
}

void *rmw_begin_slow(struct interp *c, const struct uop *u, uint64_t lin, unsigned bytes)
{
    const struct tlb_entry *e = tlb_slot(c, lin);
    struct piece p[2];
    unsigned n;

    if (e->rtag == tlb_want(c, lin) && (e->note & TLB_NOTED) && MEM_FITS(lin, bytes)) {
        memcpy(c->rmw_buf, (const void *)(uintptr_t)(lin + e->addend), bytes);
        c->rmw_lin = lin;
        c->rmw_bytes = bytes;
        return c->rmw_buf;
    }
    c->stats.tlb_misses_data++;
    n = resolve(c, u, lin, bytes, MMU_WRITE, AS_CPL, p);
    if (n == 1 && p[0].r.kind == MMU_MAPPED) {
        tlb_fill(c, lin, AS_CPL, &p[0].r);
        if (!p[0].r.tracked)
            return piece_host(&p[0]);
    }
    piece_read(c, u, &p[0], c->rmw_buf);
    if (n == 2)
        piece_read(c, u, &p[1], c->rmw_buf + p[0].bytes);
    c->rmw_lin = lin;
    c->rmw_bytes = bytes;
    return c->rmw_buf;
}

void rmw_end_slow(struct interp *c, const struct uop *u)
{
    lin_write(c, u, c->rmw_lin, c->rmw_buf, c->rmw_bytes);
}
