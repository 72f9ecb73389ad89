/* SPDX-License-Identifier: Apache-2.0 */
/* stream: copies, scales and adds in three arrays of 64 MiB; prints a sum of what came out. */
#include <stdio.h>
#include <stdlib.h>

#define COUNT  (8u << 20)
#define ROUNDS 30u

int main(void)
{
    double *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b);
    double *c = malloc(COUNT * sizeof *c), sum = 0;

    if (!a || !b || !c)
        return 4;
    for (unsigned i = 0; i < COUNT; i++) {
        a[i] = i;
        b[i] = 2;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            c[i] = a[i];
        for (unsigned i = 0; i < COUNT; i++)
            b[i] = 0.5 * c[i];
        for (unsigned i = 0; i < COUNT; i++)
            c[i] = a[i] + b[i];
        for (unsigned i = 0; i < COUNT; i++)
            a[i] = b[i] + 0.25 * c[i];
    }
    for (unsigned i = 0; i < COUNT; i++)
        sum += a[i];
    printf("%.6e\n", sum);
    return 0;
}
