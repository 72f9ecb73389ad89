/* SPDX-License-Identifier: Apache-2.0 */
#include "control/compare/series.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "control/compare/statistics.h"

static enum err make_columns(const struct compare_plan *plan, struct compare_result *result)
{
    for (size_t i = 0; compare_means[i].name; i++) {
        struct compare_column *column = &result->columns[result->count];

        if (!plan->chosen[i])
            continue;
        *column = (struct compare_column){
            .means = &compare_means[i],
            .runs = calloc(plan->rounds, sizeof(*column->runs)),
        };
        result->count++;
        if (!column->runs)
            return err_new(ERR_NOMEM, "no memory for %u rounds", plan->rounds);
    }
    return ERR_OK;
}

static void tell_host(struct compare_result *result)
{
    struct utsname host;
    time_t now = time(NULL);
    struct tm local;
    double load;

    if (uname(&host))
        host.release[0] = '\0';
    if (getloadavg(&load, 1) < 1)
        load = 0;
    snprintf(result->host, sizeof(result->host),
             "umbra " UMBRA_VERSION " on Linux %.60s, %ld CPUs, load before it %.1f", host.release,
             sysconf(_SC_NPROCESSORS_ONLN), load);
    strftime(result->when, sizeof(result->when), "%Y-%m-%d %H:%M", localtime_r(&now, &local));
}

/* What compare_make_files, the VM and its child's messages leave there. */
static void remove_folder(const char *folder)
{
    static const char *const names[] = {"initrd", "swap", "disk", "messages", "manager"};
    char path[512];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    /* of a VM that had to be killed */
    snprintf(path, sizeof(path), "%s/compare-%d.vswp", folder, (int)getpid());
    unlink(path);
    snprintf(path, sizeof(path), "%s/compare-%d.smart", folder, (int)getpid());
    unlink(path);
    rmdir(folder);
}

enum err compare_run_all(const struct compare_plan *plan, int signal_fd,
                         struct compare_result *result, enum compare_end *end)
{
    char folder[400], label[120];
    enum err err;

    *end = COMPARE_RAN;
    *result = (struct compare_result){.plan = plan};
    tell_host(result);
    err = make_columns(plan, result);
    if (err)
        return err;
    snprintf(folder, sizeof(folder), "%s/umbra-compare-XXXXXX", plan->folder);
    if (!mkdtemp(folder))
        return err_errno(ERR_IO, "cannot make a folder in %s; name another with --dir",
                         plan->folder);
    for (unsigned round = 0; round < plan->rounds; round++) {
        for (size_t c = 0; c < result->count && *end == COMPARE_RAN; c++) {
            struct compare_column *column = &result->columns[c];
            struct compare_run *run = &column->runs[round];

            snprintf(label, sizeof(label), "round %u of %u, %s", round + 1, plan->rounds,
                     column->means->title);
            column->rounds = round + 1;
            *end = compare_run_once(plan, column->means, folder, signal_fd, label, run);
            if (run->failed[0])
                fprintf(stderr, "umbra: %s: failed: %s\n", label, run->failed);
        }
    }
    remove_folder(folder);
    compare_summarize(result);
    return ERR_OK;
}

void compare_result_fini(struct compare_result *result)
{
    for (size_t c = 0; c < result->count; c++) {
        for (unsigned r = 0; r < result->columns[c].rounds; r++)
            compare_run_fini(&result->columns[c].runs[r]);
        free(result->columns[c].runs);
    }
    result->count = 0;
}
