/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle in a process of its own, made before there is an engine: random addresses reach
 * nothing of an engine's memory, some of which lies below 2 GiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "insn.h"

/* Shared by both. */
struct desk {
    struct test_case test;
    struct outcome outcome;
    uint8_t before[DATA_BYTES], after[DATA_BYTES];
};

static struct desk *desk;
static int to_oracle[2], from_oracle[2];

static _Noreturn void serve(void)
{
    uint8_t token;

    if (!native_setup())
        _exit(1);
    while (read(to_oracle[0], &token, 1) == 1) {
        native_run(&desk->test, desk->before, &desk->outcome);
        memcpy(desk->after, native_data(), DATA_BYTES);
        if (write(from_oracle[1], &token, 1) != 1)
            break;
    }
    _exit(0);
}

bool oracle_setup(void)
{
    desk = mmap(NULL, sizeof *desk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (desk == MAP_FAILED || pipe(to_oracle) || pipe(from_oracle)) {
        perror("insn_fuzz: oracle");
        return false;
    }
    switch (fork()) {
    case -1:
        perror("insn_fuzz: fork");
        return false;
    case 0:
        close(to_oracle[1]);
        close(from_oracle[0]);
        serve();
    default:
        close(to_oracle[0]);
        close(from_oracle[1]);
        return true;
    }
}

bool oracle_run(const struct test_case *t, const uint8_t *data, struct outcome *out)
{
    uint8_t token = 0;

    desk->test = *t;
    memcpy(desk->before, data, DATA_BYTES);
    if (write(to_oracle[1], &token, 1) != 1 || read(from_oracle[0], &token, 1) != 1) {
        fprintf(stderr, "insn_fuzz: the oracle has ended at case %llu\n",
                (unsigned long long)t->number);
        return false;
    }
    *out = desk->outcome;
    return true;
}

const uint8_t *oracle_data(void)
{
    return desk->after;
}
