/* SPDX-License-Identifier: Apache-2.0 */
/* umbra host: the manager of a pool of VMs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/command.h"
#include "control/paths.h"
#include "control/pool/manager.h"
#include "control/size.h"

#define POOL_MIN_BYTES (UINT64_C(64) << 20)

static const struct option_spec specs[] = {
    {"memory", "SIZE", "host memory that all VMs of the pool may hold together"},
    {"name", "NAME", "name of the pool (default: host)"},
    {"tax", "PERCENT", "idle-memory tax (default 75: an idle page costs four times an active one)"},
    {"inject", "die@N", "test mode: the manager kills itself at its step N"},
    {NULL, NULL, NULL},
};

static enum err set_tax(const char *value, unsigned *percent)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (end == value || *end || n > 99)
        return err_new(ERR_INVAL, "--tax: '%s' is no percentage from 0 to 99", value);
    *percent = (unsigned)n;
    return ERR_OK;
}

static enum err set_inject(const char *value, uint64_t *step)
{
    char *end = NULL;

    if (!strncmp(value, "die@", 4))
        *step = strtoull(value + 4, &end, 10);
    if (!end || *end || !*step)
        return err_new(ERR_INVAL, "--inject: '%.40s' is not like die@7", value);
    return ERR_OK;
}

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct manager_config *config = arg;

    if (!strcmp(spec->name, "memory"))
        return size_parse(value, &config->bytes);
    if (!strcmp(spec->name, "tax"))
        return set_tax(value, &config->tax_percent);
    if (!strcmp(spec->name, "inject"))
        return set_inject(value, &config->die_at_step);
    config->name = value;
    return paths_check_name(value);
}

static void print_help(void)
{
    printf("umbra host --memory SIZE [options]\n\n"
           "Manages a pool of VMs: shares host memory out to all that run with --pool NAME, by "
           "what they\nuse, their shares and their minimums. Ctrl-C ends it; the VMs go on under "
           "their last leases.\n\nOptions:\n");
    options_print(specs, stdout);
}

int command_host(int count, char *const *words)
{
    struct manager_config config = {.name = "host", .tax_percent = 75};
    const struct option_sink sink = {.arg = &config, .set = set_option};
    struct manager *manager = NULL;
    bool want_help;
    enum err err = options_parse(specs, count, words, &sink, &want_help);
    char size[16];
    int end_fd;

    if (!err && want_help) {
        print_help();
        return STATUS_OK;
    }
    if (!err && config.bytes < POOL_MIN_BYTES)
        err = err_new(ERR_INVAL, "give the pool some memory: --memory SIZE, at least 64M");
    if (err)
        return cli_fail(err);
    signal(SIGPIPE, SIG_IGN);
    end_fd = cli_signal_fd();
    if (end_fd < 0)
        return cli_fail(err_errno(ERR_IO, "cannot wait for signals"));
    err = manager_create(&manager, &config);
    if (!err) {
        fprintf(stderr, "umbra: pool %s: %s for all VMs with --pool %s; Ctrl-C ends it\n",
                config.name, size_format(size, sizeof(size), config.bytes), config.name);
        err = manager_run(manager, end_fd);
    }
    manager_destroy(manager);
    close(end_fd);
    return err ? cli_fail(err) : STATUS_OK;
}
