/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential fuzzing of user-mode instructions: one random instruction with random registers and
 * memory runs on the host CPU (native.c) and on an Umbra engine (guest.c); everything that a user
 * program could see is compared.
 *
 *   gen.c     makes a case from a number: bytes, registers, operands
 *   native.c  runs it on the host CPU by a signal return, single-stepped or up to an INT3, in a
 *             process of its own (native_process.c)
 *   guest.c   runs it on the engine at CPL 3 behind 4-level tables that map the same addresses
 *   insn_fuzz.c  compares, reports, counts
 */
#ifndef UMBRA_TESTS_FUZZ_INSN_H
#define UMBRA_TESTS_FUZZ_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

/*
 * The little world both sides see. After CODE and after DATA nothing is mapped. CODE is writable on
 * the host only: it is not 2^28 bytes away from DATA, where BTS with bit offset 2^31 ends.
 */
#define CODE_BASE  UINT64_C(0x11000000)
#define DATA_BASE  UINT64_C(0x20000000)
#define RW_BYTES   8192u /* two writable pages, then */
#define RO_BYTES   4096u /* one read-only page */
#define DATA_BYTES (RW_BYTES + RO_BYTES)
#define GS_BASE    (DATA_BASE + 0x100)

/* How the run ends after the instruction. */
enum end_mode { END_TRAP_FLAG, END_INT3 };

struct cpu {
    uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8.. */
    uint64_t rip, rflags;
    uint8_t fx[512] __attribute__((aligned(64)));
};

struct outcome {
    struct cpu cpu;
    int vector; /* of the exception that ended the run: 1 or 3 for a good end */
    uint32_t error;
    uint64_t cr2;
};

struct test_case {
    uint64_t number;
    bool code32;
    enum end_mode end;
    uint8_t bytes[16];
    unsigned length;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    struct cpu start;
    uint64_t poke_at; /* DATA offset of 64 bytes of operand values, ~0: none */
    uint8_t poke[64];
};

/* The same 12 KiB of start data for both sides, from a seed. */
void gen_data(uint8_t *data, uint64_t seed);

/* False: this number gives no usable case (not an instruction, or one that cannot be compared). */
bool gen_case(struct test_case *t, uint64_t number);

/* Random bytes that look like an instruction; answers how many (15 or so). */
unsigned gen_bytes(uint8_t *b, uint64_t *s, bool code32);
/* ISA extensions that the guest CPU offers (or faults on exactly as the host does at CPL 3). */
bool gen_is_offered(const ZydisDecodedInstruction *i);
/* Values at the edges of integer arithmetic, else random of a random width. */
uint64_t gen_integer(uint64_t *s);
/* A random FXSAVE image. */
void gen_fpu(uint8_t *fx, uint64_t *s);

bool native_setup(void);
void native_run(const struct test_case *t, const uint8_t *data, struct outcome *out);
const uint8_t *native_data(void);

/* native_process.c: the same in another process; call before anything of an engine exists. */
bool oracle_setup(void);
bool oracle_run(const struct test_case *t, const uint8_t *data, struct outcome *out);
const uint8_t *oracle_data(void);

bool guest_setup(const char *engine);
/* False: the engine ended in a way it must not; text on stderr. */
bool guest_run(const struct test_case *t, const uint8_t *data, struct outcome *out);
void guest_data(uint8_t *out);
void guest_teardown(void);

#endif
