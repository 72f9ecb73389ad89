/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the CPU's memory protection can be offered or left out, VM by VM. All else of the
 * identity is fixed (cpuid.c).
 */
#ifndef UMBRA_CPU_X86_FEATURES_H
#define UMBRA_CPU_X86_FEATURES_H

#include <stdint.h>

#include "base/err.h"

/* name, word for --cpu, offered by default */
/* clang-format off */
#define CPU_FEATURES(X)     \
    X(SMEP, "smep", 1)      \
    X(SMAP, "smap", 1)      \
    X(UMIP, "umip", 1)      \
    X(PKU,  "pku",  0)      \
    X(LA57, "la57", 0)
/* clang-format on */

enum cpu_feature_index {
#define CPU_FEATURE_INDEX(name, word, on) CPU_FEATURE_INDEX_##name,
    CPU_FEATURES(CPU_FEATURE_INDEX)
#undef CPU_FEATURE_INDEX
};

enum cpu_feature {
#define CPU_FEATURE_BIT(name, word, on) CPU_FEATURE_##name = 1 << CPU_FEATURE_INDEX_##name,
    CPU_FEATURES(CPU_FEATURE_BIT)
#undef CPU_FEATURE_BIT
};

#define CPU_FEATURE_DEFAULT(name, word, on) | (on ? CPU_FEATURE_##name : 0)
#define CPU_FEATURES_DEFAULT                (0 CPU_FEATURES(CPU_FEATURE_DEFAULT))

/*
 * Takes a list such as "la57,no-smap": each word adds a feature to the default ones, or takes one
 * away. ERR_INVAL names the word that is none, and those there are.
 */
enum err cpu_features_parse(const char *list, uint32_t *features) MUST_USE;

#endif
