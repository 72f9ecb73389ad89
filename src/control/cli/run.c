/* SPDX-License-Identifier: Apache-2.0 */
/* umbra run: one VM in this process, its serial port on standard input and output. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "control/cli/command.h"
#include "control/cli/run_options.h"
#include "control/loop.h"
#include "control/regdump.h"
#include "control/stats.h"

static void print_help(void)
{
    puts("umbra run [options]\n\nExamples:\n"
         "  umbra run                                       boot the cached guest to a shell\n"
         "  umbra run --memory 1G --append 'console=ttyS0 umbra.demo'\n"
         "  umbra run --kernel vmlinuz --initrd initrd.img --append console=ttyS0\n"
         "  umbra run --clock instructions --stats run.json --kernel test.elf --debug-exit\n\n"
         "The guest's first serial port is standard input and output. On a terminal Ctrl-A X ends "
         "the VM,\n"
         "Ctrl-A H shows help, Ctrl-A Ctrl-A sends Ctrl-A.\n\nOptions:");
    options_print(run_option_specs, stdout);
    puts(
        "\nExit status: 0 the guest powered off, 2 usage, 3 the guest crashed, 4 the host failed.");
}

static uint64_t host_memory_bytes(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void report_crash(struct vm *vm, const struct vm_end *end)
{
    struct x86_state state;

    vm_cpu_state(vm, &state);
    fprintf(stderr, "umbra: %s\n", end->text);
    regdump_print(stderr, &state, vm_mem(vm), vm_mmu(vm));
}

static int status_of_end(struct vm *vm, const struct vm_end *end)
{
    switch (end->kind) {
    case VM_END_DEBUG_EXIT:
        return (int)((end->code << 1 | 1) & 0xff);
    case VM_END_GUEST_CRASH:
        report_crash(vm, end);
        return STATUS_GUEST_CRASH;
    case VM_END_HOST_ERROR:
        fprintf(stderr, "umbra: %s\n", end->text);
        return STATUS_HOST;
    case VM_END_NONE:
    case VM_END_POWER_OFF:
    case VM_END_RESET:
    case VM_END_STOPPED:
        break;
    }
    return STATUS_OK;
}

/* What is to be done after the end, whatever the end was. Worse than `status` wins. */
static int finish(struct vm *vm, const struct run_options *options, int status)
{
    enum err err = ERR_OK;

    if (options->vm.audit) {
        err = vm_audit(vm);
        if (err)
            status = cli_fail(err) ? STATUS_HOST : status;
        else
            fprintf(stderr, "umbra: audit: memory and shadow tables agree\n");
    }
    if (options->stats_path) {
        json_t *stats = stats_make(vm);

        err = stats_write(stats, options->stats_path);
        json_decref(stats);
        if (err) {
            fprintf(stderr, "umbra: --stats: %s\n", err_text());
            status = STATUS_HOST;
        }
    }
    return status;
}

/* A signal that ended the run ends this process, too, so that a calling shell sees the truth. */
static void die_of_signal(int number)
{
    sigset_t set;

    fflush(NULL);
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/*
 * Takes the VM over. Its files go before its socket: whoever sees the connection end (umbra stop)
 * may start a VM of that name.
 */
static int run_vm(struct vm *vm, struct member *member, const struct run_options *options,
                  int *signal_number)
{
    struct qmp_server *server = NULL;
    struct terminal terminal;
    struct vm_end end;
    enum err err = qmp_server_create(&server, vm);
    int status;

    if (err == ERR_BUSY || err == ERR_INVAL) {
        status = cli_fail(err);
        member_leave(member);
        vm_destroy(vm);
        return status;
    }
    if (err)
        fprintf(stderr, "umbra: no control socket, so ps, stat and stop will not see this VM: %s\n",
                err_text());
    terminal_init(&terminal);
    fprintf(stderr, "umbra: VM %s, engine %s, boot %s%s\n", options->vm.name, vm_engine(vm)->name,
            vm_boot_protocol(vm), terminal.is_in_tty ? "; Ctrl-A X ends it, Ctrl-A H helps" : "");
    err = vm_start(vm);
    if (!err)
        err = loop_run(vm, server, member, &terminal, signal_number);
    if (err) {
        status = cli_fail(err);
    } else {
        end = vm_end(vm);
        status = status_of_end(vm, &end);
    }
    status = finish(vm, options, status);
    if (!*signal_number) /* a host that shuts down sends one, too */
        member_say_goodbye(member);
    member_leave(member);
    qmp_server_let_go(server);
    vm_destroy(vm);
    qmp_server_destroy(server);
    return status;
}

int command_run(int count, char *const *words)
{
    struct run_options options;
    struct vm *vm = NULL;
    struct member *member = NULL;
    bool want_help;
    int signal_number = 0, status;
    enum err err = run_options_parse(&options, count, words, host_memory_bytes(), &want_help);

    if (err)
        return cli_fail(err);
    if (want_help) {
        print_help();
        return STATUS_OK;
    }
    if (!options.has_kernel)
        err = run_options_use_cached_guest(&options);
    if (!err && options.stats_path)
        err = stats_check_path(options.stats_path);
    if (err)
        return cli_fail(err);
    if (options.vm.clock == CLOCK_INSTRUCTIONS && loop_is_plain_file(STDIN_FILENO))
        options.vm.input_file = STDIN_FILENO;
    loop_block_signals();
    err = qmp_server_check_name(options.vm.name);
    if (!err)
        err = vm_create(&vm, &options.vm);
    if (!err && options.pool.pool)
        err = member_join(&member, vm, &options.pool);
    if (err) {
        status = cli_fail(err);
        vm_destroy(vm);
        return status;
    }
    status = run_vm(vm, member, &options, &signal_number);
    if (signal_number)
        die_of_signal(signal_number);
    return status;
}
