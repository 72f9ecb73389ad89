/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's loops, one static program for the host and for any guest: an integer, a memory
 * and a system call loop of a fixed amount of work. Each prints "begin NAME" and "end NAME
 * CHECKSUM", which bench/timeline stamps on the host's clock, so that no guest clock is trusted.
 *
 * loops [SCALE [NAME]]    SCALE: amount of work in percent (100); NAME: that loop only
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEMORY_BYTES (UINT64_C(16) << 20)

static uint64_t loop_integer(uint64_t rounds)
{
    uint64_t a = 0x9e3779b97f4a7c15, sum = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        a ^= a >> 12;
        a ^= a << 25;
        a ^= a >> 27;
        sum += a * 0x2545f4914f6cdd1d;
        if (sum & 1)
            sum ^= i;
    }
    return sum;
}

/* Walks 16 MiB in strides of 72 bytes: loads, adds, stores, over more pages than a TLB holds. */
static uint64_t loop_memory(uint64_t rounds)
{
    uint64_t *words = calloc(1, MEMORY_BYTES);
    uint64_t sum = 0;
    if (!words)
        return 0;
    for (uint64_t r = 0; r < rounds; r++) {
        for (uint64_t i = 0; i < MEMORY_BYTES / 8; i += 9) {
            words[i] += i ^ r;
            sum += words[i];
        }
    }
    free(words);
    return sum;
}

static uint64_t loop_syscall(uint64_t rounds)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < rounds; i++)
        sum += (uint64_t)syscall(SYS_getppid) != 0;
    return sum;
}

static void measure(const char *name, uint64_t (*loop)(uint64_t), uint64_t rounds)
{
    printf("begin %s\n", name);
    fflush(stdout);
    uint64_t sum = loop(rounds);
    printf("end %s %016llx\n", name, (unsigned long long)sum);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t percent = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    const struct {
        const char *name;
        uint64_t (*loop)(uint64_t);
        uint64_t rounds;
    } loops[] = {{"integer", loop_integer, 200000 * percent},
                 {"memory", loop_memory, 20 * percent / 100 + 1},
                 {"syscall", loop_syscall, 10000 * percent}};
    for (unsigned i = 0; i < sizeof loops / sizeof *loops; i++) {
        if (argc < 3 || !strcmp(argv[2], loops[i].name))
            measure(loops[i].name, loops[i].loop, loops[i].rounds);
    }
    return 0;
}
