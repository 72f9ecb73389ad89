/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/log.h"
#include "control/cli/command.h"

const struct command commands[] = {
    {"run", "start a VM", command_run},
    {"ps", "list the running VMs", command_ps},
    {"top", "watch all VMs: where their memory is and how it moves", command_top},
    {"explain", "say where a VM's memory went", command_explain},
    {"stat", "show a VM's counters", command_stat},
    {"host", "manage a pool of VMs: who gets how much memory", command_host},
    {"stop", "end a VM", command_stop},
    {"swap", "take host memory back from a VM, without its help", command_swap},
    {"trace", "follow faults and flushes step by step", command_trace},
    {"walk", "explain one address: guest tables, host, shadow", command_walk},
    {"balloon", "let a guest give memory back, or take it again", command_balloon},
    {"restart", "reset a VM", command_restart},
    {"snapshot", "save a VM", NULL},
    {"restore", "load a saved VM", NULL},
    {"compare", "measure techniques of memory shortage on one workload", command_compare},
    {NULL, NULL, NULL},
};

int cli_signal_fd(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cli_fail(enum err err)
{
    fprintf(stderr, "umbra: %s\n", err_text());
    if (err == ERR_INTERNAL)
        fprintf(stderr, "umbra: raised at %s\n", err_origin());
    return status_of_err(err);
}

static void print_help(FILE *out)
{
    fputs(
        "Umbra runs unmodified guests without hardware virtualization, on its own shadow page "
        "tables.\n\n"
        "Examples:\n"
        "  umbra run                                    boot the cached guest (make guest)\n"
        "  umbra run --kernel vmlinuz --initrd i.img --append console=ttyS0 --memory 512M\n"
        "  umbra ps                                     which VMs run\n"
        "  umbra top                                    watch them all\n"
        "  umbra stat NAME                              what a VM does and where its memory is\n"
        "  umbra explain NAME                           where did its memory go?\n"
        "  umbra trace NAME --count 20                  what happens in its tables, step by step\n"
        "  umbra walk NAME rip                          how one address is translated, level by "
        "level\n"
        "  umbra balloon NAME 256M                      let its guest make do with less memory\n"
        "  umbra stop NAME                              end it\n"
        "  umbra compare --quick                        what does a shortage of memory cost?\n\n"
        "Commands (each has --help and a man page):\n",
        out);
    for (const struct command *c = commands; c->name; c++) {
        if (c->run)
            fprintf(out, "  %-10s %s\n", c->name, c->summary);
    }
    fputs("\nNot built yet:", out);
    for (const struct command *c = commands; c->name; c++) {
        if (!c->run)
            fprintf(out, " %s", c->name);
    }
    fputs("\n\nExit status: 0 the guest powered off, 2 usage, 3 the guest crashed, 4 the host "
          "failed.\n",
          out);
}

static int unknown_command(const char *word)
{
    const struct command *best = NULL;

    for (const struct command *c = commands; c->name; c++) {
        if (options_is_typo_of(word, c->name) &&
            (!best || options_distance(word, c->name) < options_distance(word, best->name)))
            best = c;
    }
    if (best)
        return cli_fail(err_new(ERR_INVAL, "unknown command '%.40s'; did you mean 'umbra %s'?",
                                word, best->name));
    return cli_fail(
        err_new(ERR_INVAL, "unknown command '%.40s'; umbra --help lists the commands", word));
}

static const struct command *find_command(const char *word)
{
    for (const struct command *c = commands; c->name; c++) {
        if (!strcmp(word, c->name))
            return c;
    }
    return NULL;
}

static int run_words(int argc, char *const *argv)
{
    const struct command *command;
    char help_word[] = "--help";
    char *const help_words[] = {help_word};

    if (argc < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("umbra " UMBRA_VERSION);
        return STATUS_OK;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        (!strcmp(argv[1], "help") && argc == 2)) {
        print_help(stdout);
        return STATUS_OK;
    }
    if (!strcmp(argv[1], "help"))
        argv++;
    command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    if (!command->run)
        return cli_fail(
            err_new(ERR_UNSUPPORTED, "'umbra %s' is not built yet in this version", command->name));
    if (argv[0] && !strcmp(argv[0], "help"))
        return command->run(1, help_words);
    return command->run(argc - 2, argv + 2);
}

int cli_main(int argc, char *const *argv)
{
    int status = run_words(argc, argv);

    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "umbra: cannot write to standard output\n");
        return status == STATUS_OK ? STATUS_HOST : status;
    }
    return status;
}

/* ---- words of commands that name one VM ---- */

const struct option_spec cli_json_options[] = {
    {"json", NULL, "print JSON for programs"},
    {NULL, NULL, NULL},
};

static enum err set_word_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct cli_vm_words *words = arg;

    if (!strcmp(spec->name, "file"))
        words->file = value;
    else if (!strcmp(spec->name, "audit"))
        words->audit = true;
    else
        words->json = true;
    return ERR_OK;
}

static enum err take_name(void *arg, const char *word)
{
    struct cli_vm_words *words = arg;

    if (words->name)
        return err_new(ERR_INVAL, "one VM at a time: '%.40s' is a second name", word);
    words->name = word;
    return ERR_OK;
}

enum err cli_take_vm(struct cli_vm_words *out, const struct option_spec *specs, int count,
                     char *const *words, bool *want_help)
{
    const struct option_sink sink = {.arg = out, .set = set_word_option, .positional = take_name};
    enum err err;

    memset(out, 0, sizeof(*out));
    err = options_parse(specs, count, words, &sink, want_help);
    if (!err && !*want_help && !out->name && !out->file)
        return err_new(ERR_INVAL, "name the VM; umbra ps lists those that run");
    return err;
}
