/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of plain integer code: arithmetic, hashing, sorting, calls, jumps hard to foresee. */
#include "rows.h"

#include <string.h>

#define SORTED       4096u
#define HASHED_BYTES 4096u
#define TARGETS      16u
#define LIMBS        16u

static uint64_t run_integer(uint64_t rounds)
{
    uint64_t a = 0x9e3779b97f4a7c15, sum = 0;
    row_begins();
    for (uint64_t i = 0; i < rounds; i++) {
        sum += row_random(&a);
        if (sum & 1)
            sum ^= i;
    }
    return sum;
}

/* FIPS 180-4, section 4.2.2. */
static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* Section 6.2.2: one block of 64 bytes. */
static void sha256_block(uint32_t h[8], const unsigned char *block)
{
    uint32_t w[64], v[8];
    for (unsigned t = 0; t < 16; t++) {
        uint32_t word;
        memcpy(&word, block + 4 * (size_t)t, 4);
        w[t] = __builtin_bswap32(word);
    }
    for (unsigned t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    memcpy(v, h, sizeof v);
    for (unsigned t = 0; t < 64; t++) {
        uint32_t e = v[4], a = v[0];
        uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t t1 = v[7] + s1 + ((e & v[5]) ^ (~e & v[6])) + sha256_k[t] + w[t];
        uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t t2 = s0 + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6], v[6] = v[5], v[5] = e, v[4] = v[3] + t1;
        v[3] = v[2], v[2] = v[1], v[1] = a, v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        h[i] += v[i];
}

static uint64_t run_sha256(uint64_t rounds)
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char *text = row_memory(HASHED_BYTES);
    for (unsigned i = 0; i < HASHED_BYTES; i++)
        text[i] = (unsigned char)(i * 7 + 1);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (unsigned at = 0; at < HASHED_BYTES; at += 64)
            sha256_block(h, text + at);
    }
    return (uint64_t)h[0] << 32 | h[7];
}

static void quicksort(uint32_t *v, long low, long high)
{
    while (low < high) {
        uint32_t pivot = v[low + (high - low) / 2];
        long i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i <= j) {
                uint32_t swapped = v[i];
                v[i++] = v[j];
                v[j--] = swapped;
            }
        }
        quicksort(v, low, j);
        low = i;
    }
}

static uint64_t run_sort(uint64_t rounds)
{
    uint32_t *v = row_memory(SORTED * sizeof *v);
    uint64_t state = 88172645463325252, sum = 0;
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < SORTED; i++)
            v[i] = (uint32_t)(row_random(&state) >> 32);
        quicksort(v, 0, SORTED - 1);
        for (unsigned i = 1; i < SORTED; i++)
            sum += (v[i - 1] <= v[i]) + v[i] % i;
    }
    return sum;
}

/* product = a * b; numbers of LIMBS words, the least first. */
static void multiply(uint64_t *product, const uint64_t *a, const uint64_t *b)
{
    memset(product, 0, 2 * LIMBS * sizeof *product);
    for (unsigned i = 0; i < LIMBS; i++) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < LIMBS; j++) {
            unsigned __int128 sum = (unsigned __int128)a[i] * b[j] + product[i + j] + carry;
            product[i + j] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        product[i + LIMBS] = carry;
    }
}

/* Long numbers, as in cryptography: multiplications with carries, and a division for each digit. */
static uint64_t run_bignum(uint64_t rounds)
{
    uint64_t a[LIMBS], b[LIMBS], product[2 * LIMBS], state = 31, sum = 0;
    for (unsigned i = 0; i < LIMBS; i++) {
        a[i] = row_random(&state);
        b[i] = row_random(&state);
    }
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        uint64_t rest = 0, divisor = b[r % LIMBS] % 1000003 + 2;
        multiply(product, a, b);
        for (unsigned i = 2 * LIMBS; i-- > LIMBS;)
            rest = (product[i] % divisor + rest * 7) % divisor;
        memcpy(a, product + LIMBS / 2, sizeof a);
        b[r % LIMBS] ^= rest | 1;
        sum = sum * 31 + rest;
    }
    return sum;
}

/* The result is kept from the compiler, or it would turn one of the two calls into a loop. */
static __attribute__((noinline)) uint64_t fibonacci(uint64_t n)
{
    uint64_t result = n;
    if (n > 1)
        result = fibonacci(n - 1) + fibonacci(n - 2);
    ROW_KEEP(result);
    return result;
}

static uint64_t run_calls(uint64_t rounds)
{
    uint64_t sum = 0;
    row_begins();
    for (uint64_t r = 0; r < rounds; r++)
        sum += fibonacci(16) + r;
    return sum;
}

#define TARGET(n)                                                                                  \
    static __attribute__((noinline)) uint64_t target_##n(uint64_t x)                               \
    {                                                                                              \
        return (x ^ (n)*0x9e3779b9u) + (x >> ((n) + 1));                                           \
    }
TARGET(0)
TARGET(1)
TARGET(2)
TARGET(3)
TARGET(4)
TARGET(5)
TARGET(6)
TARGET(7)
TARGET(8)
TARGET(9)
TARGET(10)
TARGET(11)
TARGET(12)
TARGET(13)
TARGET(14)
TARGET(15)

static uint64_t (*const targets[TARGETS])(uint64_t) = {
    target_0, target_1, target_2,  target_3,  target_4,  target_5,  target_6,  target_7,
    target_8, target_9, target_10, target_11, target_12, target_13, target_14, target_15};

/* Functions of a table in an order that repeats after 512 calls: virtual functions over a list. */
static uint64_t run_indirect(uint64_t rounds)
{
    unsigned char order[512];
    uint64_t state = 1234567, x = 1;
    for (unsigned i = 0; i < sizeof order; i++)
        order[i] = (unsigned char)(row_random(&state) >> 32 & (TARGETS - 1));
    uint64_t (*const *table)(uint64_t) = targets;
    ROW_KEEP(table);
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < sizeof order; i++)
            x = table[order[i]](x);
    }
    return x;
}

enum { OP_ADD, OP_SUB, OP_MUL, OP_LOAD, OP_STORE, OP_CONST, OP_JUMP_LESS, OP_XOR, OP_HALT };

/*
 * A stack machine's loop: a = 0; b = 1; do { t = a * 3 + b; b ^= t; a -= -1; } while (a < n).
 * One indirect jump per instruction, as interpreters of scripts have.
 */
static uint64_t interpret(const unsigned char *code, uint64_t n)
{
    static const void *const labels[] = {&&add,  &&sub,       &&mul,       &&load, &&store,
                                         &&push, &&jump_less, &&exclusive, &&halt};
    uint64_t stack[16] = {0}, variables[4] = {0, 1, 0, n}, *top = stack;
    const unsigned char *pc = code;
#define NEXT goto *labels[*pc++]
    NEXT;
add:
    top--, top[-1] += top[0];
    NEXT;
sub:
    top--, top[-1] -= top[0];
    NEXT;
mul:
    top--, top[-1] *= top[0];
    NEXT;
load:
    *top++ = variables[*pc++];
    NEXT;
store:
    variables[*pc++] = *--top;
    NEXT;
push:
    *top++ = (uint64_t)(signed char)*pc++;
    NEXT;
jump_less:
    top -= 2;
    pc = top[0] < top[1] ? code + *pc : pc + 1;
    NEXT;
exclusive:
    top--, top[-1] ^= top[0];
    NEXT;
halt:
    return variables[1];
#undef NEXT
}

static uint64_t run_interpreter(uint64_t rounds)
{
    unsigned char code[] = {OP_LOAD,      0,        OP_CONST, 3,       OP_MUL, OP_LOAD,  1,
                            OP_ADD,       OP_STORE, 2,        OP_LOAD, 1,      OP_LOAD,  2,
                            OP_XOR,       OP_STORE, 1,        OP_LOAD, 0,      OP_CONST, 255,
                            OP_SUB,       OP_STORE, 0,        OP_LOAD, 0,      OP_LOAD,  3,
                            OP_JUMP_LESS, 0,        OP_HALT};
    const unsigned char *program = code;
    ROW_KEEP(program);
    row_begins();
    return interpret(program, rounds);
}

const struct row compute_rows[] = {{"integer", "compute", run_integer, 800000},
                                   {"bignum", "compute", run_bignum, 4000},
                                   {"sha256", "compute", run_sha256, 100},
                                   {"sort", "compute", run_sort, 8},
                                   {"calls", "compute", run_calls, 200},
                                   {"indirect", "compute", run_indirect, 500},
                                   {"interpreter", "compute", run_interpreter, 150000},
                                   {NULL, NULL, NULL, 0}};
