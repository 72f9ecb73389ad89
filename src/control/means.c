/* SPDX-License-Identifier: Apache-2.0 */
#include "control/means.h"

#include <string.h>

#include "mem/policy.h"

/* As the ladder goes. */
static const struct {
    const char *name;
    unsigned bits;
} means[] = {
    {"report", POLICY_MEANS_REPORT},
    {"share", MEM_MEANS_SHARE},
    {"balloon", POLICY_MEANS_BALLOON},
    {"compress", MEM_MEANS_COMPRESS},
    {"swap", MEM_MEANS_SWAP},
    {"all", POLICY_MEANS_ALL},
    {"none", 0},
};

#define MEANS (sizeof(means) / sizeof(means[0]))

enum err means_parse(const char *list, unsigned *forbidden)
{
    unsigned allowed = 0;

    for (const char *word = list;; word++) {
        size_t length = strcspn(word, ","), i = 0;

        while (i < MEANS &&
               (strlen(means[i].name) != length || strncmp(means[i].name, word, length) != 0))
            i++;
        if (i == MEANS)
            return err_new(ERR_INVAL,
                           "--means: '%.*s' is none; name some of report, share, balloon, "
                           "compress and swap, or all, or none",
                           (int)(length < 40 ? length : 40), word);
        allowed |= means[i].bits;
        word += length;
        if (!*word)
            break;
    }
    *forbidden = POLICY_MEANS_ALL & ~allowed;
    return ERR_OK;
}
