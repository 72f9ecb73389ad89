/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#define EQUAL_CONTENTS 16u

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t base_of(const struct pages *pages, uint64_t number)
{
    return mix(pages->seed ^ mix(number << 32 | pages->version[number]));
}

char pages_kind(const struct pages *pages, uint64_t number)
{
    return pages->kinds[base_of(pages, number) % pages->kind_count];
}

static uint64_t random_word(uint64_t base, unsigned word)
{
    uint64_t x = (base + word) * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

/* Everything about a page's content, so that a whole page asks for it once. */
struct content {
    uint64_t base;
    unsigned random_words; /* those before this one are random, the others the same throughout */
    uint64_t rest;
    uint64_t touches;
};

static struct content content_of(const struct pages *pages, uint64_t number)
{
    uint64_t base = base_of(pages, number), touches = pages->touches[number];
    switch (pages->kinds[base % pages->kind_count]) {
    case 'z':
        return (struct content){.touches = touches};
    case 'e':
        base = mix(pages->seed ^ (base >> 32) % EQUAL_CONTENTS);
        return (struct content){base, PAGE_WORDS / 3, base, touches};
    case 'c':
        return (struct content){base, PAGE_WORDS / 3, base, touches};
    default:
        return (struct content){base, PAGE_WORDS, 0, touches};
    }
}

static uint64_t word_of(const struct content *content, unsigned word)
{
    uint64_t value =
        word < content->random_words ? random_word(content->base, word) : content->rest;
    return word == 0 ? value + content->touches : value;
}

void pages_touch(struct pages *pages, uint64_t number)
{
    pages->touches[number]++;
    struct content content = content_of(pages, number);
    pages->base[number * PAGE_WORDS] = word_of(&content, 0);
}

void pages_write(struct pages *pages, uint64_t number)
{
    uint64_t buffer[PAGE_WORDS];
    uint64_t *page = pages->base + number * PAGE_WORDS;
    pages->version[number]++;
    pages->touches[number] = 0;
    struct content content = content_of(pages, number);
    if (content.random_words == 0) {
        void *to = page;
        uint64_t count = PAGE_WORDS;
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(content.rest) : "memory");
        return;
    }
    bool at_once = content.base & 1;
    uint64_t *into = at_once ? buffer : page;
    for (unsigned w = 0; w < PAGE_WORDS; w++)
        into[w] = word_of(&content, w);
    if (at_once) {
        const void *from = buffer;
        void *to = page;
        uint64_t count = PAGE_WORDS;
        __asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    }
}

static bool match(const struct content *content, const uint64_t *page, unsigned word,
                  struct mismatch *out)
{
    uint64_t expected = word_of(content, word);
    if (page[word] == expected)
        return true;
    *out = (struct mismatch){word, expected, page[word]};
    return false;
}

bool pages_match(const struct pages *pages, uint64_t number, const uint64_t *page,
                 struct mismatch *out)
{
    struct content content = content_of(pages, number);
    for (unsigned w = 0; w < PAGE_WORDS; w++) {
        if (!match(&content, page, w, out))
            return false;
    }
    return true;
}

bool pages_match_word(const struct pages *pages, uint64_t number, const uint64_t *page,
                      unsigned word, struct mismatch *out)
{
    struct content content = content_of(pages, number);
    return match(&content, page, word, out);
}
