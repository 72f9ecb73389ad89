/* SPDX-License-Identifier: Apache-2.0 */
#include "control/compare/plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/addr.h"
#include "control/size.h"
#include "control/vm.h"

#define MIB (UINT64_C(1) << 20)

/* Four of five pages compress at 3:1, one not at all; one of four accesses writes. */
#define CONTENTS "check word kinds ccccr writes 25"

const struct compare_workload compare_workloads[] = {
    {"sequential", "sequential", "reads and writes its pages one after the other, over and over",
     false, false},
    {"random", "random", "reads and writes pages at random", false, false},
    {"hot", "hot", "reads and writes; 8 of 10 accesses go to a fifth of the pages", false, false},
    {"read", "read", "reads a file from its beginning to its end, over and over", true, false},
    {"restart", "random", "reads and writes pages at random, restarts, and does so again", false,
     true},
    {"command", "command", "runs a command over and over", false, false},
    {NULL, NULL, NULL, false, false},
};

const struct compare_means compare_means[] = {
    {"enough", "enough memory", "the host has room for the whole guest", "none", "on",
     SHORTAGE_NONE},
    {"balloon", "ballooning", "the guest is asked to give pages back, and chooses which", "balloon",
     "on", SHORTAGE_BALLOON},
    {"swap", "plain swapping", "the hypervisor writes idle pages to a file and knows nothing else",
     "swap", "off", SHORTAGE_LIMIT},
    {"cures", "swapping, cured", "the same, but it knows disks, overwriting and sequences", "swap",
     "on", SHORTAGE_LIMIT},
    {"compress", "compression", "idle pages are compressed in memory, the rest is swapped",
     "compress,swap", "on", SHORTAGE_LIMIT},
    {"smart", "smart paging",
     "in a pool without free memory: what a restarting guest misses goes to a file for that time",
     "all", "on", SHORTAGE_POOL},
    {"ladder", "the whole ladder",
     "report, share, balloon, compress and swap, the lightest first, as umbra run --limit", "all",
     "on", SHORTAGE_LIMIT},
    {NULL, NULL, NULL, NULL, NULL, SHORTAGE_NONE},
};

enum err compare_choose_workload(struct compare_plan *plan, const char *name)
{
    for (const struct compare_workload *w = compare_workloads; w->name; w++) {
        if (!strcmp(w->name, name)) {
            plan->workload = w;
            return ERR_OK;
        }
    }
    return err_new(ERR_INVAL,
                   "--workload: '%.40s' is none; use sequential, random, hot, read or restart, or "
                   "--command",
                   name);
}

enum err compare_choose_means(struct compare_plan *plan, const char *list)
{
    memset(plan->chosen, 0, sizeof(plan->chosen));
    plan->has_all = false;
    for (const char *word = list;; word++) {
        size_t length = strcspn(word, ","), i = 0;
        bool is_all = length == 3 && !strncmp(word, "all", 3);

        while (!is_all && compare_means[i].name &&
               (strlen(compare_means[i].name) != length ||
                strncmp(compare_means[i].name, word, length) != 0))
            i++;
        if (!compare_means[i].name)
            return err_new(ERR_INVAL,
                           "--means: '%.*s' is none; name some of enough, balloon, swap, cures, "
                           "compress, smart and ladder, or all",
                           (int)(length < 40 ? length : 40), word);
        plan->has_all |= is_all;
        plan->chosen[i] |= !is_all;
        word += length;
        if (!*word)
            return ERR_OK;
    }
}

static enum err check_means(struct compare_plan *plan)
{
    for (size_t i = 0; compare_means[i].name; i++) {
        bool needs_restart = compare_means[i].shortage == SHORTAGE_POOL;

        if (plan->chosen[i] && needs_restart && !plan->workload->restarts)
            return err_new(ERR_INVAL,
                           "smart paging bridges restarts only: it needs --workload restart");
        plan->chosen[i] |= plan->has_all && (!needs_restart || plan->workload->restarts);
    }
    return ERR_OK;
}

enum err compare_check_plan(struct compare_plan *plan)
{
    uint64_t least = vm_least_limit(plan->memory_bytes);
    char a[16], b[16];

    if (plan->memory_bytes < 96 * MIB || plan->memory_bytes % PAGE_SIZE)
        return err_new(ERR_INVAL, "--memory: the guest with its workload needs 96M or more");
    if (plan->limit_bytes < least)
        return err_new(ERR_INVAL, "--limit: a guest of %s and the machine around it need %s",
                       size_format(a, sizeof(a), plan->memory_bytes),
                       size_format(b, sizeof(b), least));
    if (plan->limit_bytes >= plan->memory_bytes)
        return err_new(ERR_INVAL, "--limit is no shortage: give it less than --memory %s",
                       size_format(a, sizeof(a), plan->memory_bytes));
    if (plan->load_bytes < MIB || plan->load_bytes > plan->memory_bytes / 8 * 7)
        return err_new(ERR_INVAL, "--load: the workload can use 1M to %s of the guest's memory",
                       size_format(a, sizeof(a), plan->memory_bytes / 8 * 7));
    return check_means(plan);
}

void compare_write_script(const struct compare_plan *plan, FILE *out)
{
    fputs("#!/bin/sh\n"
          "mkswap /dev/vda > /dev/null && swapon /dev/vda || exit 90\n",
          out);
    if (plan->workload->has_file)
        fputs("mke2fs -b 4096 /dev/vdb > /dev/null && mkdir /mnt && mount -t ext4 /dev/vdb /mnt "
              "|| exit 91\n",
              out);
    fprintf(out, "/umbra-workload live 1 order %s mib %" PRIu64 " " CONTENTS "%s%s\n",
            plan->workload->order, plan->load_bytes / MIB,
            plan->workload->has_file ? " file /mnt/file" : "",
            plan->command ? " command /umbra-command" : "");
}
