/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOVS STOS LODS CMPS SCAS with REP, REPE, REPNE.
 *
 * A repeated instruction works in strides: as many elements as lie in the present page of each
 * operand, or a single element where that cannot be (device, page crossed, DF set). The host moves
 * a stride at once, unless somebody is to be told of every write to the frame. Registers are up to
 * date after every element or stride, so a fault or an interrupt finds whole iterations only.
 * Time: a repeated instruction counts as one, plus one for each 16 elements of a stride, or part
 * of them, so that no stride leaves time where it was. Who is told of writes is not to be seen in
 * it: that depends on what is kept of the guest's code and tables, and so on the host.
 */
#define INTERP_HOT
#include "cpu/interp/integer.h"

static uint64_t cut_address(const struct uop *u, uint64_t ea)
{
    if (u->addrsize == 8)
        return ea;
    return u->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

static uint64_t src_linear(struct interp *c, const struct uop *u, unsigned bytes)
{
    return seg_linear(c, u, u->seg, cut_address(u, GPR64(REG_RSI)), bytes, MMU_READ);
}

static uint64_t dst_linear(struct interp *c, const struct uop *u, unsigned bytes,
                           enum mmu_access_kind kind)
{
    return seg_linear(c, u, SEG_ES, cut_address(u, GPR64(REG_RDI)), bytes, kind);
}

static int64_t direction(const struct interp *c, const struct uop *u)
{
    return c->s.rflags & RFLAGS_DF ? -(int64_t)u->opsize : u->opsize;
}

static void advance(struct interp *c, const struct uop *u, unsigned reg, int64_t bytes)
{
    gpr_set(c, reg, u->addrsize, GPR64(reg) + (uint64_t)bytes);
}

static uint64_t rep_count(const struct interp *c, const struct uop *u)
{
    return gpr_get(c, REG_RCX, u->addrsize);
}

/* Elements from lin to the end of its page, at most `most`. */
static uint64_t elements_in_page(const struct uop *u, uint64_t lin, uint64_t most)
{
    uint64_t n = (PAGE_SIZE - (lin & (PAGE_SIZE - 1))) / u->opsize;

    return n < most ? n : most;
}

/*
 * Strides need rising addresses whose linear form is a plain sum; single steps see every element.
 */
static bool can_stride(const struct interp *c, const struct uop *u)
{
    return c->flat && !c->slow_step && u->addrsize >= 4 && !(c->s.rflags & RFLAGS_DF) &&
           (c->mode == CODE_64 || u->seg < SEG_FS);
}

/* Takes n elements off the count of a repeated instruction, and answers n. */
static uint64_t count_down(struct interp *c, const struct uop *u, uint64_t n)
{
    gpr_set(c, REG_RCX, u->addrsize, GPR64(REG_RCX) - n);
    return n;
}

static uint64_t time_of_stride(uint64_t n)
{
    return (n + 15) / 16;
}

/* One by one: an element, or a stride that is told of. Answers n. */
static uint64_t count_elements(struct interp *c, const struct uop *u, uint64_t n,
                               void (*one)(struct interp *c, const struct uop *u))
{
    for (uint64_t i = 0; i < n; i++) {
        one(c, u);
        count_down(c, u, 1);
    }
    return n;
}

/* --- MOVS --- */

static void movs_one(struct interp *c, const struct uop *u)
{
    uint64_t from = src_linear(c, u, u->opsize);
    uint64_t to = dst_linear(c, u, u->opsize, MMU_WRITE);

    lin_store(c, u, to, u->opsize, lin_load(c, u, from, u->opsize));
    advance(c, u, REG_RSI, direction(c, u));
    advance(c, u, REG_RDI, direction(c, u));
}

/* Element by element as the CPU does it, where a rising copy feeds on itself. */
static void copy_overlapping(char *to, const char *from, uint64_t n, unsigned size)
{
    uint64_t v = 0;

    for (; n; n--, to += size, from += size) {
        memcpy(&v, from, size);
        memcpy(to, &v, size);
    }
}

/* Is it a whole page that the TLB has no answer for, so that what it held need not come in? */
static bool is_new_page(struct interp *c, const struct uop *u, uint64_t to, uint64_t count)
{
    return !(to & (PAGE_SIZE - 1)) && count >= PAGE_SIZE / u->opsize && !lin_knows_write(c, to);
}

/*
 * A whole page at once, by way of a buffer: once the target's old content is gone, nothing may
 * fault any more. Its source may lie in two pages; what would fault there, or be the last stride
 * before somebody else's turn, goes the ordinary way, and so does time.
 */
static __attribute__((noinline)) uint64_t movs_page(struct interp *c, const struct uop *u,
                                                    uint64_t from, uint64_t to)
{
    uint64_t n = PAGE_SIZE / u->opsize, first = elements_in_page(u, from, n);
    uint64_t bytes = first * u->opsize;
    gfn_t source[2] = {MMU_NO_SOURCE, MMU_NO_SOURCE};
    const char *src;
    char *dst;

    if ((from & (u->opsize - 1u)) ||
        (first < n && c->icount + time_of_stride(first) >= atomic_load(&c->icount_stop)))
        return 0;
    src = lin_try_span(c, from, &source[0]);
    if (!src)
        return 0;
    memcpy(c->page_buf, src, bytes);
    if (first < n) {
        src = lin_try_span(c, from + bytes, &source[1]);
        if (!src)
            return 0;
        memcpy(c->page_buf + bytes, src, PAGE_SIZE - bytes);
    }
    dst = lin_span_overwrite(c, u, to, source);
    if (!dst)
        return 0;
    memcpy(dst, c->page_buf, PAGE_SIZE);
    advance(c, u, REG_RSI, PAGE_SIZE);
    advance(c, u, REG_RDI, PAGE_SIZE);
    count_down(c, u, n);
    if (first == n)
        return n;
    c->icount += time_of_stride(first);
    return n - first;
}

static uint64_t movs_stride(struct interp *c, const struct uop *u, uint64_t count)
{
    uint64_t from = src_linear(c, u, u->opsize);
    uint64_t to = dst_linear(c, u, u->opsize, MMU_WRITE);
    uint64_t n = elements_in_page(u, to, elements_in_page(u, from, count));
    uint64_t bytes = n * u->opsize;
    char *src, *dst;
    gpa_t gpa;
    bool told;

    if (unlikely(is_new_page(c, u, to, count))) {
        uint64_t done = movs_page(c, u, from, to);
        if (done)
            return done;
    }
    if (n < 2 || !lin_span_read(c, u, from))
        return 0;
    dst = lin_span_write(c, u, to, &told);
    if (told)
        dst = lin_span_told(c, to, &gpa);
    if (told && !dst)
        return count_elements(c, u, n, movs_one);
    /* Again: making the target writable may have moved the source's frame. */
    src = lin_span_read(c, u, from);
    if (!dst || !src)
        return 0;
    if (dst > src && dst < src + bytes)
        copy_overlapping(dst, src, n, u->opsize);
    else
        memmove(dst, src, bytes);
    if (told)
        lin_span_tell(c, gpa, bytes);
    advance(c, u, REG_RSI, (int64_t)bytes);
    advance(c, u, REG_RDI, (int64_t)bytes);
    return count_down(c, u, n);
}

/* --- STOS --- */

static void stos_one(struct interp *c, const struct uop *u)
{
    lin_store(c, u, dst_linear(c, u, u->opsize, MMU_WRITE), u->opsize, GPR64(REG_RAX));
    advance(c, u, REG_RDI, direction(c, u));
}

static void fill(char *to, uint64_t value, uint64_t n, unsigned size)
{
    if (size == 1) {
        memset(to, (int)(value & 0xffu), n);
    } else if (size == 8) {
        for (; n; n--, to += 8)
            *(mem64_t *)(void *)to = value;
    } else {
        for (; n; n--, to += size)
            memcpy(to, &value, size);
    }
}

static __attribute__((noinline)) char *stos_page(struct interp *c, const struct uop *u, uint64_t to)
{
    const gfn_t source[2] = {MMU_NO_SOURCE, MMU_NO_SOURCE};

    return lin_span_overwrite(c, u, to, source);
}

static uint64_t stos_stride(struct interp *c, const struct uop *u, uint64_t count)
{
    uint64_t to = dst_linear(c, u, u->opsize, MMU_WRITE);
    uint64_t n = elements_in_page(u, to, count);
    char *dst = NULL;
    bool told = false;
    gpa_t gpa;

    if (n < 2)
        return 0;
    if (unlikely(is_new_page(c, u, to, count)))
        dst = stos_page(c, u, to);
    if (!dst)
        dst = lin_span_write(c, u, to, &told);
    if (told)
        dst = lin_span_told(c, to, &gpa);
    if (told && !dst)
        return count_elements(c, u, n, stos_one);
    if (!dst)
        return 0;
    fill(dst, GPR64(REG_RAX), n, u->opsize);
    if (told)
        lin_span_tell(c, gpa, n * u->opsize);
    advance(c, u, REG_RDI, (int64_t)(n * u->opsize));
    return count_down(c, u, n);
}

/* --- LODS --- */

static void lods_one(struct interp *c, const struct uop *u)
{
    gpr_set(c, REG_RAX, u->opsize, lin_load(c, u, src_linear(c, u, u->opsize), u->opsize));
    advance(c, u, REG_RSI, direction(c, u));
}

static uint64_t no_stride(struct interp *c, const struct uop *u, uint64_t count)
{
    (void)c;
    (void)u;
    (void)count;
    return 0;
}

/* --- CMPS and SCAS: flags as of CMP of the last pair --- */

#define COMPARE_AS(bits, sfx)                                                                      \
    __asm__("cmp" sfx " %[b], %[a]" FLAGS_ASM                                                      \
            : "=&a"(f)                                                                             \
            : [a] "r"((uint##bits##_t)a), [b] "r"((uint##bits##_t)b)                               \
            : "cc")

static void compare(struct interp *c, unsigned size, uint64_t a, uint64_t b)
{
    uint32_t f;

    if (size == 1)
        COMPARE_AS(8, "b");
    else if (size == 2)
        COMPARE_AS(16, "w");
    else if (size == 4)
        COMPARE_AS(32, "l");
    else
        COMPARE_AS(64, "q");
    c->flags16 = (uint16_t)f;
}

/*
 * Which operand is told when both fault: the ES one, but REPE CMPSB tells the other (seen on AMD
 * CPUs).
 */
static bool source_faults_first(const struct uop *u)
{
    return u->opsize == 1 && (u->prefix & UOP_REP);
}

static void cmps_one(struct interp *c, const struct uop *u)
{
    uint64_t a, b;

    if (source_faults_first(u))
        lin_probe(c, u, src_linear(c, u, u->opsize), u->opsize, MMU_READ);
    b = lin_load(c, u, dst_linear(c, u, u->opsize, MMU_READ), u->opsize);
    a = lin_load(c, u, src_linear(c, u, u->opsize), u->opsize);
    compare(c, u->opsize, a, b);
    advance(c, u, REG_RSI, direction(c, u));
    advance(c, u, REG_RDI, direction(c, u));
}

static void scas_one(struct interp *c, const struct uop *u)
{
    uint64_t b = lin_load(c, u, dst_linear(c, u, u->opsize, MMU_READ), u->opsize);

    compare(c, u->opsize, gpr_get(c, REG_RAX, u->opsize), b);
    advance(c, u, REG_RDI, direction(c, u));
}

static uint64_t element(const char *p, uint64_t i, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p + i * size, size);
    return v;
}

/* Number of elements looked at until the condition of REPE (equal) or REPNE ends the loop. */
static uint64_t cmps_stride(struct interp *c, const struct uop *u, uint64_t count)
{
    uint64_t from = src_linear(c, u, u->opsize);
    uint64_t to = dst_linear(c, u, u->opsize, MMU_READ);
    uint64_t n = elements_in_page(u, to, elements_in_page(u, from, count)), i = 0, a, b;
    bool while_equal = u->prefix & UOP_REP;
    const char *src, *dst;

    if (n < 2)
        return 0;
    if (source_faults_first(u))
        lin_span_read(c, u, from);
    dst = lin_span_read(c, u, to);
    src = lin_span_read(c, u, from);
    if (!src || !dst)
        return 0;
    do {
        a = element(src, i, u->opsize);
        b = element(dst, i, u->opsize);
        i++;
    } while (i < n && (a == b) == while_equal);
    compare(c, u->opsize, a, b);
    advance(c, u, REG_RSI, (int64_t)(i * u->opsize));
    advance(c, u, REG_RDI, (int64_t)(i * u->opsize));
    return count_down(c, u, i);
}

static uint64_t scas_stride(struct interp *c, const struct uop *u, uint64_t count)
{
    uint64_t to = dst_linear(c, u, u->opsize, MMU_READ);
    uint64_t n = elements_in_page(u, to, count), i = 0, a = gpr_get(c, REG_RAX, u->opsize), b;
    bool while_equal = u->prefix & UOP_REP;
    const char *dst;

    if (n < 2)
        return 0;
    dst = lin_span_read(c, u, to);
    if (!dst)
        return 0;
    do {
        b = element(dst, i, u->opsize);
        i++;
    } while (i < n && (a == b) == while_equal);
    compare(c, u->opsize, a, b);
    advance(c, u, REG_RDI, (int64_t)(i * u->opsize));
    return count_down(c, u, i);
}

/* --- the handlers --- */

#define DEFINE_STRING(op)                                                                          \
    HANDLER(op)                                                                                    \
    {                                                                                              \
        op##_one(c, u);                                                                            \
        NEXT;                                                                                      \
    }
DEFINE_STRING(movs)
DEFINE_STRING(stos)
DEFINE_STRING(lods)
DEFINE_STRING(cmps)
DEFINE_STRING(scas)

/*
 * A REP instruction that has overwritten itself goes on with what is there now, with the next
 * stride: else the moment would depend on when the run is interrupted. It never ends its block, and
 * what stands behind it is stale with it; a tier runs a copy of u with such a stop behind it.
 */
static inline bool rep_must_leave(struct interp *c, const struct uop *u)
{
    return must_leave(c) || u[1].fn == op_stale;
}

/* ends: false after an element whose comparison ends REPE or REPNE. */
#define DEFINE_REP(op, stride, goes_on)                                                            \
    HANDLER(rep_##op)                                                                              \
    {                                                                                              \
        bool strides = can_stride(c, u);                                                           \
        uint64_t count;                                                                            \
        while ((count = rep_count(c, u)) != 0) {                                                   \
            uint64_t n = strides ? stride(c, u, count) : 0;                                        \
            if (!n)                                                                                \
                n = count_elements(c, u, 1, op##_one);                                             \
            c->icount += time_of_stride(n);                                                        \
            if (!(goes_on))                                                                        \
                break;                                                                             \
            if (n < count && unlikely(rep_must_leave(c, u)))                                       \
                return leave_at(c, u);                                                             \
        }                                                                                          \
        NEXT;                                                                                      \
    }

#define WHILE_CONDITION (((c->flags16 & F16_ZF) != 0) == ((u->prefix & UOP_REP) != 0))

DEFINE_REP(movs, movs_stride, 1)
DEFINE_REP(stos, stos_stride, 1)
DEFINE_REP(lods, no_stride, 1)
DEFINE_REP(cmps, cmps_stride, WHILE_CONDITION)
DEFINE_REP(scas, scas_stride, WHILE_CONDITION)

static bool build(struct dec *d, struct uop *u, uop_fn *once, uop_fn *rep)
{
    u->seg = dec_override(d, SEG_DS);
    u->fn = u->prefix & (UOP_REP | UOP_REPNE) ? rep : once;
    return true;
}

bool int_build_string(struct dec *d, struct uop *u)
{
    switch (d->i.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSQ:
        return build(d, u, movs, rep_movs);
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        return build(d, u, stos, rep_stos);
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
        return build(d, u, lods, rep_lods);
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSQ:
        return build(d, u, cmps, rep_cmps);
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
        return build(d, u, scas, rep_scas);
    /* The names that SSE2 shares: the string instructions are those of the default opcode map. */
    case ZYDIS_MNEMONIC_MOVSD:
        return d->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && build(d, u, movs, rep_movs);
    case ZYDIS_MNEMONIC_CMPSD:
        return d->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && build(d, u, cmps, rep_cmps);
    default:
        return false;
    }
}
