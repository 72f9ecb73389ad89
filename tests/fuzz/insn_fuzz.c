/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insn_fuzz [--engine E] [--seed N] [--count N] [--case N] [--corpus FILE] [--keep-going N]
 * Runs N comparable random instructions on the host CPU and on an engine and compares all that user
 * code can see: general and vector registers, flags (undefined ones masked by the instruction's
 * documented mask), x87 state, memory, and the exception with its error code and address. Prints
 * each mismatch with its case number; --case runs one again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "insn.h"

static uint8_t data_start[DATA_BYTES], data_now[DATA_BYTES];

struct options {
    const char *engine, *corpus;
    uint64_t seed, count, one, keep_going;
    bool has_one;
};

#define REG(i) ((unsigned long long)t->start.gpr[i])

static void print_case(const struct test_case *t)
{
    char text[128];
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterFormatInstruction(&formatter, &t->insn, t->op, t->insn.operand_count_visible,
                                    text, sizeof text, t->start.rip, ZYAN_NULL);
    printf("case %llu: %s  (%d-bit, %s) bytes", (unsigned long long)t->number, text,
           t->code32 ? 32 : 64, t->end == END_INT3 ? "int3" : "single-step");
    for (unsigned i = 0; i < t->length; i++)
        printf(" %02x", t->bytes[i]);
    printf("\n    start rax %llx rcx %llx rdx %llx rbx %llx rsp %llx rbp %llx rsi %llx rdi %llx "
           "flags %llx\n",
           REG(0), REG(1), REG(2), REG(3), REG(4), REG(5), REG(6), REG(7),
           (unsigned long long)t->start.rflags);
}

static int diffs;
static const struct test_case *current, *printed;

static void differ(const char *what, uint64_t start, uint64_t host, uint64_t guest)
{
    if (printed != current)
        print_case(current);
    printed = current;
    printf("    %-10s start %016llx host %016llx engine %016llx\n", what, (unsigned long long)start,
           (unsigned long long)host, (unsigned long long)guest);
    diffs++;
}

static uint64_t load(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    return v;
}

static void compare_fpu(const struct test_case *t, const uint8_t *host, const uint8_t *guest)
{
    static const struct {
        const char *name;
        unsigned at, bytes;
    } words[] = {{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"mxcsr", 24, 4}};
    char name[16];
    for (unsigned i = 0; i < 4; i++) {
        uint64_t h = load(host + words[i].at, words[i].bytes),
                 g = load(guest + words[i].at, words[i].bytes);
        if (h != g)
            differ(words[i].name, load(t->start.fx + words[i].at, words[i].bytes), h, g);
    }
    for (unsigned i = 0; i < 8; i++) {
        const unsigned at = 32 + 16 * i;
        snprintf(name, sizeof name, "st%u", i);
        if (memcmp(host + at, guest + at, 10) != 0) {
            differ(name, load(t->start.fx + at, 8), load(host + at, 8), load(guest + at, 8));
            differ("  exponent", load(t->start.fx + at + 8, 2), load(host + at + 8, 2),
                   load(guest + at + 8, 2));
        }
    }
    for (unsigned i = 0; i < 32; i++) {
        const unsigned at = 160 + 8 * i;
        snprintf(name, sizeof name, "xmm%u.%c", i / 2, i % 2 ? 'h' : 'l');
        if (i / 2 >= 8 && t->code32)
            break;
        if (load(host + at, 8) != load(guest + at, 8))
            differ(name, load(t->start.fx + at, 8), load(host + at, 8), load(guest + at, 8));
    }
}

/* Flags that the manual leaves undefined (a divide error leaves them changed on some CPUs, too). */
static uint64_t flags_mask(const struct test_case *t)
{
    bool by_one = (t->insn.opcode == 0xd0 || t->insn.opcode == 0xd1) &&
                  t->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
    uint64_t mask = 0x3f7fd7;
    if (t->insn.cpu_flags)
        mask &= ~(uint64_t)t->insn.cpu_flags->undefined;
    if (by_one) /* OF is defined for these */
        return mask | 0x800;
    if ((t->insn.mnemonic == ZYDIS_MNEMONIC_SHL || t->insn.mnemonic == ZYDIS_MNEMONIC_SHR) &&
        t->insn.operand_width < 32) /* CF after more shifts than bits */
        mask &= ~UINT64_C(1);
    return mask;
}

/* Native code keeps no flags at a fault that nobody can read (docs/translator.md). */
static bool keeps_dead_flags = true;

static int code_byte(void *arg, uint64_t va)
{
    const struct test_case *t = arg;
    uint64_t at = va - t->start.rip;

    return at < t->length ? t->bytes[at] : 0xcc;
}

static uint64_t flags_lost(const struct test_case *t, const struct outcome *host)
{
    struct test_case copy = *t;

    if (keeps_dead_flags || host->vector == 1 || host->vector == 3)
        return 0;
    return dead_flags(t->start.rip, t->code32, code_byte, &copy);
}

static bool is_fault_of_memory(int vector)
{
    return vector == 12 || vector == 13 || vector == 14;
}

/* Two memory operands that both fault: which one tells is the CPU's choice. */
static bool is_choice_of_fault(const struct test_case *t, const struct outcome *host,
                               const struct outcome *guest)
{
    unsigned operands = 0;
    for (unsigned i = 0; i < t->insn.operand_count; i++)
        operands += t->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY;
    if (t->insn.mnemonic == ZYDIS_MNEMONIC_ENTER || t->insn.mnemonic == ZYDIS_MNEMONIC_PUSHA ||
        t->insn.mnemonic == ZYDIS_MNEMONIC_PUSHAD)
        operands = 2;
    return operands > 1 && is_fault_of_memory(host->vector) && is_fault_of_memory(guest->vector);
}

/*
 * The destination of BSF and BSR is undefined for a source of 0; POPA loads register by register
 * until it faults.
 */
static bool is_undefined_register(const struct test_case *t, const struct outcome *host, int i)
{
    ZydisMnemonic m = t->insn.mnemonic;
    if (m == ZYDIS_MNEMONIC_BSF || m == ZYDIS_MNEMONIC_BSR)
        return (host->cpu.rflags & 0x40) && t->op[0].reg.value != ZYDIS_REGISTER_NONE &&
               (ZydisRegisterGetId(t->op[0].reg.value) & 15) == i;
    return (m == ZYDIS_MNEMONIC_POPA || m == ZYDIS_MNEMONIC_POPAD) &&
           is_fault_of_memory(host->vector);
}

/*
 * Linux reports every user fault in the kernel's half as a protection fault, to tell nothing of its
 * layout.
 */
static uint32_t error_mask(const struct outcome *host)
{
    return host->cr2 >> 47 ? ~1u : ~0u;
}

/*
 * ENTER and PUSHA write the stack bit by bit on the host, also when they fault later; Umbra is
 * atomic there.
 */
static bool memory_is_comparable(const struct test_case *t, const struct outcome *host)
{
    bool completed = host->vector == 1 || host->vector == 3;
    return completed ||
           (t->insn.mnemonic != ZYDIS_MNEMONIC_ENTER && t->insn.mnemonic != ZYDIS_MNEMONIC_PUSHA &&
            t->insn.mnemonic != ZYDIS_MNEMONIC_PUSHAD);
}

static void compare(const struct test_case *t, const struct outcome *host,
                    const struct outcome *guest)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    bool choice = is_choice_of_fault(t, host, guest);
    if (!choice && host->vector != guest->vector)
        differ("vector", 0, (uint64_t)host->vector, (uint64_t)guest->vector);
    else if (!choice && host->vector == 14 &&
             ((host->error ^ guest->error) & error_mask(host) || host->cr2 != guest->cr2)) {
        differ("error", 0, host->error, guest->error);
        differ("cr2", 0, host->cr2, guest->cr2);
    }
    for (int i = 0; i < (t->code32 ? 8 : 16); i++) {
        if (host->cpu.gpr[i] != guest->cpu.gpr[i] && !is_undefined_register(t, host, i))
            differ(names[i], t->start.gpr[i], host->cpu.gpr[i], guest->cpu.gpr[i]);
    }
    if (host->cpu.rip != guest->cpu.rip)
        differ("rip", t->start.rip, host->cpu.rip, guest->cpu.rip);
    uint64_t mask = flags_mask(t) & ~flags_lost(t, host);
    if ((host->cpu.rflags ^ guest->cpu.rflags) & mask)
        differ("rflags", t->start.rflags, host->cpu.rflags & mask, guest->cpu.rflags & mask);
    compare_fpu(t, host->cpu.fx, guest->cpu.fx);
    guest_data(data_now);
    if (memory_is_comparable(t, host) && memcmp(oracle_data(), data_now, DATA_BYTES) != 0) {
        for (unsigned i = 0; i < DATA_BYTES; i += 8) {
            if (load(oracle_data() + i, 8) != load(data_now + i, 8)) {
                char name[24];
                snprintf(name, sizeof name, "[%x]", (unsigned)DATA_BASE + i);
                differ(name, load(data_start + i, 8), load(oracle_data() + i, 8),
                       load(data_now + i, 8));
                break;
            }
        }
    }
}

/* 0: no usable case of that number, 1: same, 2: mismatch, -1: the engine failed */
static int run_case(uint64_t number)
{
    static struct test_case t;
    struct outcome host, guest;
    uint8_t kept[sizeof t.poke];
    if (!gen_case(&t, number))
        return 0;
    if (t.poke_at != ~UINT64_C(0)) {
        memcpy(kept, data_start + t.poke_at, sizeof kept);
        memcpy(data_start + t.poke_at, t.poke, sizeof kept);
    }
    bool ran = oracle_run(&t, data_start, &host) && guest_run(&t, data_start, &guest);
    int before = diffs;
    current = &t;
    printed = NULL;
    if (ran)
        compare(&t, &host, &guest);
    else
        print_case(&t);
    if (t.poke_at != ~UINT64_C(0))
        memcpy(data_start + t.poke_at, kept, sizeof kept);
    return !ran ? -1 : diffs != before ? 2 : 1;
}

/* One case number a line; # starts a comment. */
static bool run_corpus(const char *path, uint64_t *ran, uint64_t *bad)
{
    char line[256];
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "insn_fuzz: %s: %s\n", path, strerror(errno));
        return false;
    }
    while (fgets(line, sizeof line, f)) {
        if (line[0] < '0' || line[0] > '9')
            continue;
        int r = run_case(strtoull(line, NULL, 10));
        *ran += r != 0;
        *bad += r == 2 || r == -1;
    }
    fclose(f);
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            return false;
        if (!strcmp(argv[i], "--engine"))
            o->engine = value;
        else if (!strcmp(argv[i], "--corpus"))
            o->corpus = value;
        else if (!strcmp(argv[i], "--seed"))
            o->seed = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            o->count = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--keep-going"))
            o->keep_going = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--case"))
            o->one = strtoull(value, NULL, 0), o->has_one = true;
        else
            return false;
    }
    return true;
}

/*
 * An address sanitizer maps memory of its own where random addresses fall: the host then answers.
 */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_OWN_MEMORY 1
#elif defined(__has_feature)
#define HAS_OWN_MEMORY __has_feature(address_sanitizer)
#else
#define HAS_OWN_MEMORY 0
#endif

#define EXIT_SKIPPED 77 /* what Meson counts as skipped */

int main(int argc, char **argv)
{
    struct options o = {.engine = "interp", .seed = 1, .count = 100000, .keep_going = 20};
    uint64_t ran = 0, bad = 0, number;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr,
                "usage: insn_fuzz [--engine E] [--seed N] [--count N] [--case N] [--corpus FILE] "
                "[--keep-going N]\n");
        return 2;
    }
    if (HAS_OWN_MEMORY) {
        puts("SKIP: under AddressSanitizer the host process has memory at unknown addresses");
        return EXIT_SKIPPED;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    gen_data(data_start, 42);
    keeps_dead_flags = strcmp(o.engine, "interp") == 0;
    if (!oracle_setup() || !guest_setup(o.engine))
        return 4;
    if (o.has_one) {
        int r = run_case(o.one);
        ran = r != 0;
        bad = r == 2 || r == -1;
    } else {
        if (o.corpus && !run_corpus(o.corpus, &ran, &bad))
            return 2;
        uint64_t want = ran + o.count;
        for (number = o.seed << 32; ran < want && bad < o.keep_going; number++) {
            int r = run_case(number);
            ran += r != 0;
            bad += r == 2 || r == -1;
        }
    }
    guest_teardown();
    printf("%llu instructions compared with the host CPU, %llu mismatches\n",
           (unsigned long long)ran, (unsigned long long)bad);
    return bad ? 1 : 0;
}
