/* SPDX-License-Identifier: Apache-2.0 */
/* States compared and told. */
#include <stdio.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "block_world.h"

static void record_print(const struct record *r)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

    fprintf(stderr, "  %s at instruction %llu, rip %llx rflags %llx cs %llx",
            r->kind == REC_STOP    ? "stop"
            : r->kind == REC_EVENT ? "event"
                                   : "end",
            (unsigned long long)r->icount, (unsigned long long)r->rip,
            (unsigned long long)r->rflags, (unsigned long long)r->cs);
    if (r->kind == REC_EVENT)
        fprintf(stderr, " vector %u error %llx cr2 %llx", r->vector, (unsigned long long)r->error,
                (unsigned long long)r->cr2);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, "%s%4s %016llx", i % 4 ? " " : "\n   ", names[i],
                (unsigned long long)r->gpr[i]);
    fprintf(stderr, "\n");
}

bool records_differ(const struct record *a, const struct record *b, uint64_t flags)
{
    return a->kind != b->kind || a->icount != b->icount || a->rip != b->rip || a->cs != b->cs ||
           a->vector != b->vector || a->error != b->error || a->cr2 != b->cr2 || a->sum != b->sum ||
           a->end != b->end || ((a->rflags ^ b->rflags) & flags) ||
           memcmp(a->gpr, b->gpr, sizeof a->gpr) != 0 || memcmp(a->fx, b->fx, 416) != 0;
}

void tell_difference(const struct world *w, const struct record *want, const struct record *got)
{
    fprintf(stderr, "seed %llu: record %u differs%s%s\n", (unsigned long long)w->config.seed, w->at,
            want->sum != got->sum ? " (memory)" : "",
            memcmp(want->fx, got->fx, 416) ? " (floating point)" : "");
    if (w->at) {
        fprintf(stderr, " before:\n");
        record_print(want - 1);
    }
    fprintf(stderr, " the engine under test:\n");
    record_print(want);
    fprintf(stderr, " the interpreter:\n");
    record_print(got);
    for (unsigned i = 0; i < 416; i += 8)
        if (memcmp(want->fx + i, got->fx + i, 8))
            fprintf(stderr, "  fx[%u] %016llx %016llx\n", i,
                    (unsigned long long)*(const uint64_t *)(want->fx + i),
                    (unsigned long long)*(const uint64_t *)(got->fx + i));
}

/* The instruction traced last as it was, even if it overwrote itself; what follows as it is. */
static int fetch_traced(void *arg, uint64_t va)
{
    struct world *w = arg;

    if (va - w->traced_rip < w->traced_length)
        return w->traced_bytes[va - w->traced_rip];
    return world_fetch(w, va);
}

void trace(struct world *w, uint64_t icount)
{
    struct x86_state s;
    uint8_t bytes[15];
    unsigned n = 0;
    bool narrow;
    ZydisDisassembledInstruction i;

    w->ops->get_state(w->vcpu, &s);
    if (w->traced_dead & ~dead_flags(w->traced_rip, w->traced_narrow, fetch_traced, w))
        w->saw_flags_revived = true;
    narrow = is_narrow(s.seg[SEG_CS].selector);
    for (int b; n < sizeof bytes && (b = world_fetch(w, s.rip + n)) >= 0; n++)
        bytes[n] = (uint8_t)b;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(narrow ? ZYDIS_MACHINE_MODE_LEGACY_32
                                                   : ZYDIS_MACHINE_MODE_LONG_64,
                                            s.rip, bytes, n, &i)))
        strcpy(i.text, "?"), n = 0;
    if (n && (i.info.attributes &
              (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)))
        w->saw_rep = true;
    if (n && (i.info.mnemonic == ZYDIS_MNEMONIC_RDRAND || i.info.mnemonic == ZYDIS_MNEMONIC_RDSEED))
        w->saw_random = true;
    w->traced_length = n ? i.info.length : 0;
    memcpy(w->traced_bytes, bytes, w->traced_length);
    w->traced_rip = s.rip;
    w->traced_narrow = narrow;
    w->traced_dead = dead_flags(s.rip, narrow, world_fetch, w);
    if (!w->config.loud)
        return;
    fprintf(stderr, "  %llu %llx flags %llx%s  %s\n", (unsigned long long)icount,
            (unsigned long long)s.rip, (unsigned long long)s.rflags,
            w->traced_dead ? " (dead)" : "", i.text);
}

void world_compare_memory(struct world *a, struct world *b)
{
    for (uint64_t at = 0;
         at < (CODE_GPA > DATA_GPA ? CODE_GPA : DATA_GPA) - CODE_GPA + DATA_POOL * 4096; at += 8) {
        uint64_t x, y;

        if (!mem_read(a->mem, gpa_make(CODE_GPA + at), &x, 8) ||
            !mem_read(b->mem, gpa_make(CODE_GPA + at), &y, 8))
            return;
        if (x != y) {
            fprintf(stderr, "  physical %llx: %016llx %016llx\n",
                    (unsigned long long)(CODE_GPA + at), (unsigned long long)x,
                    (unsigned long long)y);
            return;
        }
    }
}
