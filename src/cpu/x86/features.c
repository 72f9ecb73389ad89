/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/x86/features.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *word;
    uint32_t bit;
} words[] = {
#define CPU_FEATURE_WORD(name, word, on) {word, CPU_FEATURE_##name},
    CPU_FEATURES(CPU_FEATURE_WORD)
#undef CPU_FEATURE_WORD
};

static uint32_t find(const char *word, size_t bytes)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == bytes && !memcmp(words[i].word, word, bytes))
            return words[i].bit;
    return 0;
}

enum err cpu_features_parse(const char *list, uint32_t *features)
{
    static const char no[] = "no-";

    *features = CPU_FEATURES_DEFAULT;
    for (;;) {
        size_t bytes = strcspn(list, ",");
        size_t skip = !strncmp(list, no, strlen(no)) ? strlen(no) : 0;
        uint32_t bit = bytes > skip ? find(list + skip, bytes - skip) : 0;

        if (!bit)
            return err_new(ERR_INVAL,
                           "'%.*s' is no CPU feature that can be chosen; there are: smep, smap, "
                           "umip, pku, la57, each also with 'no-' in front",
                           bytes > 40 ? 40 : (int)bytes, list);
        if (skip)
            *features &= ~bit;
        else
            *features |= bit;
        if (!list[bytes])
            return ERR_OK;
        list += bytes + 1;
    }
}
