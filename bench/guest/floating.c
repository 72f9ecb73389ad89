/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of floating point as compilers make it: bodies that attract each other, a matrix product. */
#include "rows.h"

#include <string.h>

#define BODIES 5u
#define ORDER  96u

struct body {
    double at[3], speed[3], mass;
};

static uint64_t bits(double x)
{
    uint64_t value;
    memcpy(&value, &x, sizeof value);
    return value;
}

static void advance(struct body *bodies, double step)
{
    for (unsigned i = 0; i < BODIES; i++) {
        for (unsigned j = i + 1; j < BODIES; j++) {
            struct body *a = bodies + i, *b = bodies + j;
            double x = a->at[0] - b->at[0], y = a->at[1] - b->at[1], z = a->at[2] - b->at[2];
            double square = x * x + y * y + z * z + 0.01;
            double pull = step / (square * __builtin_sqrt(square));
            a->speed[0] -= x * b->mass * pull, b->speed[0] += x * a->mass * pull;
            a->speed[1] -= y * b->mass * pull, b->speed[1] += y * a->mass * pull;
            a->speed[2] -= z * b->mass * pull, b->speed[2] += z * a->mass * pull;
        }
    }
    for (unsigned i = 0; i < BODIES; i++) {
        for (unsigned k = 0; k < 3; k++)
            bodies[i].at[k] += step * bodies[i].speed[k];
    }
}

static uint64_t run_nbody(uint64_t rounds)
{
    struct body bodies[BODIES] = {{.mass = 40}};
    uint64_t sum = 0;
    for (unsigned i = 1; i < BODIES; i++) {
        bodies[i] = (struct body){.at = {i * 1.5, i * -0.5, i * 0.25},
                                  .speed = {i * 0.3, 2.5 - i * 0.2, 0.1},
                                  .mass = 0.03 * i};
    }
    row_begins();
    for (uint64_t r = 0; r < rounds; r++)
        advance(bodies, 0.001);
    for (unsigned i = 0; i < BODIES; i++)
        sum = sum * 31 + (bits(bodies[i].at[0]) ^ bits(bodies[i].speed[1]));
    return sum;
}

static void multiply(double *restrict c, const double *restrict a, const double *restrict b)
{
    for (unsigned i = 0; i < ORDER; i++) {
        for (unsigned k = 0; k < ORDER; k++) {
            for (unsigned j = 0; j < ORDER; j++)
                c[i * ORDER + j] += a[i * ORDER + k] * b[k * ORDER + j];
        }
    }
}

static uint64_t run_matrix(uint64_t rounds)
{
    double *a = row_memory(3 * sizeof *a * ORDER * ORDER);
    double *b = a + ORDER * ORDER, *c = b + ORDER * ORDER;
    uint64_t state = 42, sum = 0;
    for (unsigned i = 0; i < 2 * ORDER * ORDER; i++)
        a[i] = (double)(row_random(&state) >> 44) / 1048576 - 0.5;
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        multiply(c, a, b);
        a[r % (ORDER * ORDER)] = c[r % (ORDER * ORDER)] / 1024;
    }
    for (unsigned i = 0; i < ORDER * ORDER; i++)
        sum = sum * 31 + bits(c[i]);
    return sum;
}

const struct row floating_rows[] = {{"nbody", "floating", run_nbody, 20000},
                                    {"matrix", "floating", run_matrix, 10},
                                    {NULL, NULL, NULL, 0}};
