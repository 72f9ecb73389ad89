/* SPDX-License-Identifier: Apache-2.0 */
/* FXSAVE and FXRSTOR: a round trip of x87, MMX, XMM, MXCSR; layout of the image; FSAVE, FRSTOR. */
#include "guest.h"

static uint8_t image[512] __attribute__((aligned(16))), again[512] __attribute__((aligned(16)));
static uint8_t pattern[16] __attribute__((aligned(16)));
static uint8_t old_image[108];

GUEST
{
    uint32_t csr = 0x1fa0;
    uint16_t sw;

    for (unsigned i = 0; i < 16; i++)
        pattern[i] = (uint8_t)(i * 17 + 1);
    memset(image, 0xcc, 512);
    asm volatile("fninit\n\tfld1\n\tfldz\n\tldmxcsr %2\n\tmovaps %1, %%xmm0\n\t"
                 "movaps %1, %%xmm7\n\tfxsave %0"
                 : "=m"(image) : "m"(pattern), "m"(csr));
    check(1, *(uint16_t *)image, 0x37f);
    check(2, *(uint16_t *)(image + 2) & 0x3800, 6 << 11);
    check(3, image[4], 0xc0); /* one bit a register in use */
    check(4, *(uint32_t *)(image + 24), 0x1fa0);
    check(5, memcmp(image + 160, pattern, 16), 0);
    check(6, memcmp(image + 160 + 7 * 16, pattern, 16), 0);
    check(7, *(uint16_t *)(image + 32 + 8), 0); /* ST0 is 0, ST1 is 1 */
    check(8, *(uint16_t *)(image + 48 + 8), 0x3fff);
    check(10, image[464], 0xcc); /* software's own */

    csr = 0x1f80;
    asm volatile("fninit\n\tldmxcsr %0\n\txorps %%xmm0, %%xmm0\n\txorps %%xmm7, %%xmm7" ::"m"(csr));
    memset(again, 0xcc, 512);
    asm volatile("fxrstor %1\n\tfxsave %0" : "=m"(again) : "m"(image));
    check(20, memcmp(again, image, 416), 0);
    asm volatile("fnstsw %0" : "=a"(sw));
    check(22, sw >> 11 & 7, 6);
    asm volatile("fnsave %0\n\tfnstsw %1" : "=m"(old_image), "=a"(sw));
    check(23, sw, 0); /* FSAVE initialises */
    asm volatile("frstor %1\n\tfnstsw %0\n\tfstp %%st(0)" : "=a"(sw) : "m"(old_image));
    check(25, sw >> 11 & 7, 6);
    uint64_t one;
    asm volatile("fistpll %0" : "=m"(one));
    check(26, one, 1);
}
