/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that native code left to their handlers, by mnemonic and reason. */
#include <stdlib.h>

#include <Zydis/Zydis.h>

#include "cpu/translate/translate.h"

/* no native form; the address is not in the window; an operand, privilege or waiting event */
static const char *const reasons[CALLOUT_REASONS] = {[CALLOUT_NO_FORM] = "no native form",
                                                     [CALLOUT_WINDOW] = "memory",
                                                     [CALLOUT_STATE] = "registers"};

#define MNEMONICS (ZYDIS_MNEMONIC_MAX_VALUE + 1u)

struct callout_counts {
    uint64_t n[MNEMONICS][CALLOUT_REASONS];
};

enum err callouts_create(struct callout_counts **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? ERR_OK : err_new(ERR_NOMEM, "no memory for the counts of call-outs");
}

void callouts_count(struct callout_counts *counts, unsigned mnemonic, enum callout_why why)
{
    counts->n[mnemonic % MNEMONICS][why]++;
}

/* Keeps the best of all in order. */
static unsigned take(struct engine_callout *out, unsigned count, unsigned room,
                     struct engine_callout one)
{
    unsigned at = count;

    while (at > 0 && out[at - 1].count < one.count)
        at--;
    if (at >= room)
        return count;
    if (count < room)
        count++;
    for (unsigned k = count - 1; k > at; k--)
        out[k] = out[k - 1];
    out[at] = one;
    return count;
}

unsigned callouts_top(const struct callout_counts *counts, struct engine_callout *out,
                      unsigned room)
{
    unsigned count = 0;

    for (unsigned m = 0; m < MNEMONICS; m++) {
        for (unsigned why = 0; why < CALLOUT_REASONS; why++) {
            const struct engine_callout one = {.count = counts->n[m][why],
                                               .instruction =
                                                   ZydisMnemonicGetString((ZydisMnemonic)m),
                                               .reason = reasons[why]};

            if (one.count)
                count = take(out, count, room, one);
        }
    }
    return count;
}
