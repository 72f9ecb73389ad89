/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of vector code by intrinsics: SSE2 on integers and on doubles, AVX2 where offered. */
#include "rows.h"

#include <immintrin.h>
#include <string.h>

#define IMAGE_BYTES 16384u
#define POINTS      64u

static uint64_t folded(const unsigned char *bytes, size_t count)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i < count; i += 8) {
        memcpy(&word, bytes + i, 8);
        sum = sum * 31 + word;
    }
    return sum;
}

/* Two images of 16 KiB each, side by side. */
static unsigned char *make_images(void)
{
    unsigned char *images = row_memory((size_t)2 * IMAGE_BYTES);
    uint64_t state = 7;
    for (unsigned i = 0; i < 2 * IMAGE_BYTES; i++)
        images[i] = (unsigned char)(row_random(&state) >> 32);
    return images;
}

/* Blends one image of bytes into another: widen, multiply, add, narrow with saturation. */
static void blend_sse2(unsigned char *to, const unsigned char *from, short weight)
{
    const __m128i zero = _mm_setzero_si128();
    const __m128i of_from = _mm_set1_epi16(weight), of_to = _mm_set1_epi16((short)(256 - weight));
    for (unsigned i = 0; i < IMAGE_BYTES; i += 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(from + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(to + i));
        __m128i low = _mm_add_epi16(_mm_mullo_epi16(_mm_unpacklo_epi8(a, zero), of_from),
                                    _mm_mullo_epi16(_mm_unpacklo_epi8(b, zero), of_to));
        __m128i high = _mm_add_epi16(_mm_mullo_epi16(_mm_unpackhi_epi8(a, zero), of_from),
                                     _mm_mullo_epi16(_mm_unpackhi_epi8(b, zero), of_to));
        b = _mm_packus_epi16(_mm_srli_epi16(low, 8), _mm_srli_epi16(high, 8));
        b = _mm_xor_si128(_mm_adds_epu8(b, _mm_set1_epi8(1)), _mm_cmpeq_epi8(a, b));
        _mm_storeu_si128((__m128i *)(to + i), b);
    }
}

static uint64_t run_sse2(uint64_t rounds)
{
    unsigned char *images = make_images();
    row_begins();
    for (uint64_t r = 0; r < rounds; r++)
        blend_sse2(images, images + IMAGE_BYTES, (short)(r & 255));
    return folded(images, IMAGE_BYTES);
}

__attribute__((target("avx2"))) static void blend_avx2(unsigned char *to, const unsigned char *from,
                                                       short weight)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i of_from = _mm256_set1_epi16(weight);
    const __m256i of_to = _mm256_set1_epi16((short)(256 - weight));
    for (unsigned i = 0; i < IMAGE_BYTES; i += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(from + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(to + i));
        __m256i low = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_unpacklo_epi8(a, zero), of_from),
                                       _mm256_mullo_epi16(_mm256_unpacklo_epi8(b, zero), of_to));
        __m256i high = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_unpackhi_epi8(a, zero), of_from),
                                        _mm256_mullo_epi16(_mm256_unpackhi_epi8(b, zero), of_to));
        b = _mm256_packus_epi16(_mm256_srli_epi16(low, 8), _mm256_srli_epi16(high, 8));
        b = _mm256_xor_si256(_mm256_adds_epu8(b, _mm256_set1_epi8(1)), _mm256_cmpeq_epi8(a, b));
        _mm256_storeu_si256((__m256i *)(to + i), b);
    }
}

static uint64_t run_avx2(uint64_t rounds)
{
    if (!__builtin_cpu_supports("avx2"))
        row_is_missing("the CPU offers no AVX2");
    unsigned char *images = make_images();
    row_begins();
    for (uint64_t r = 0; r < rounds; r++)
        blend_avx2(images, images + IMAGE_BYTES, (short)(r & 255));
    return folded(images, IMAGE_BYTES);
}

/* The Mandelbrot set, two points at a time, until both have left or after 200 steps. */
static uint64_t mandelbrot(double y0, double x0, double x1)
{
    const __m128d cx = _mm_set_pd(x1, x0), cy = _mm_set1_pd(y0), four = _mm_set1_pd(4);
    __m128d x = _mm_setzero_pd(), y = x;
    uint64_t steps = 0;
    for (unsigned i = 0; i < 200; i++) {
        __m128d xx = _mm_mul_pd(x, x), yy = _mm_mul_pd(y, y), xy = _mm_mul_pd(x, y);
        int inside = _mm_movemask_pd(_mm_cmplt_pd(_mm_add_pd(xx, yy), four));
        if (!inside)
            break;
        steps += (uint64_t)(inside & 1) + (uint64_t)(inside >> 1);
        x = _mm_add_pd(_mm_sub_pd(xx, yy), cx);
        y = _mm_add_pd(_mm_add_pd(xy, xy), cy);
    }
    return steps;
}

static uint64_t run_mandelbrot(uint64_t rounds)
{
    uint64_t sum = 0;
    row_begins();
    for (uint64_t r = 0; r < rounds; r++) {
        double y = (double)(r % POINTS) * 2.0 / POINTS - 1;
        for (unsigned i = 0; i < POINTS; i += 2)
            sum = sum * 3 + mandelbrot(y, i * 3.0 / POINTS - 2, (i + 1) * 3.0 / POINTS - 2);
    }
    return sum;
}

const struct row vector_rows[] = {{"mandelbrot", "floating", run_mandelbrot, 300},
                                  {"sse2", "floating", run_sse2, 1000},
                                  {"avx2", "floating", run_avx2, 2000},
                                  {NULL, NULL, NULL, 0}};
