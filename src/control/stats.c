/* SPDX-License-Identifier: Apache-2.0 */
#include "control/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/memory_json.h"
#include "mmu/explain.h"

#define CPU_ROW(name, text) {#name, text, offsetof(struct cpu_stats, name)},
#define MMU_ROW(name, text) {#name, text, offsetof(struct mmu_stats, name)},

static const struct stats_desc cpu_rows[] = {CPU_COUNTERS(CPU_ROW){NULL, NULL, 0}};
static const struct stats_desc mmu_rows[] = {MMU_COUNTERS(MMU_ROW){NULL, NULL, 0}};

json_t *stats_mmu_json(struct vm *vm)
{
    const struct mmu_stats *stats = mmu_stats(vm_mmu(vm));
    json_t *object = memory_rows_json(mmu_rows, stats);
    uint64_t guest_mib = mem_size_bytes(vm_mem(vm)) >> 20;
    gfn_t gfn;
    uint64_t longest = mmu_longest_chain(vm_mmu(vm), &gfn);

    json_object_set_new(object, "longest_reverse_chain", json_integer((json_int_t)longest));
    json_object_set_new(object, "longest_reverse_chain_gfn", json_integer((json_int_t)gfn.v));
    json_object_set_new(
        object, "shadow_bytes_per_guest_mib",
        json_integer((json_int_t)(stats->shadow_bytes / (guest_mib ? guest_mib : 1))));
    return object;
}

static const char *end_name(enum vm_end_kind kind)
{
    switch (kind) {
    case VM_END_NONE:
        return "running";
    case VM_END_POWER_OFF:
        return "power-off";
    case VM_END_RESET:
        return "reset";
    case VM_END_DEBUG_EXIT:
        return "debug-exit";
    case VM_END_GUEST_CRASH:
        return "guest-crash";
    case VM_END_HOST_ERROR:
        return "host-error";
    case VM_END_STOPPED:
        return "stopped";
    }
    return "unknown";
}

json_t *stats_make(struct vm *vm)
{
    const struct vm_config *config = vm_get_config(vm);
    const struct cpu_stats *cpu = vm_cpu_stats(vm);
    double wall = (double)vm_wall_ns(vm) / 1e9;
    double mips = wall > 0 ? (double)cpu->instructions / wall / 1e6 : 0;
    struct vm_end end = vm_end(vm);
    const char *state = end_name(end.kind);

    if (end.kind == VM_END_NONE && vm_stall(vm).why[0])
        state = "stalled";
    if (end.kind == VM_END_NONE && vm_is_paused(vm))
        state = "paused";
    return json_pack(
        "{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:I, s:f,"
        " s:o, s:o, s:o, s:o, s:o}",
        "name", config->name, "uuid", vm_uuid(vm), "pid", (int)getpid(), "state", state, "engine",
        vm_engine(vm)->name, "shadow", mmu_strategy_name(config->mmu_strategy), "clock",
        config->clock == CLOCK_INSTRUCTIONS ? "instructions" : "host", "boot_protocol",
        vm_boot_protocol(vm) ? vm_boot_protocol(vm) : "none", "resets", (int)vm_resets(vm),
        "wall_seconds", wall, "guest_seconds", (double)vm_guest_ns(vm) / 1e9, "instructions",
        (json_int_t)cpu->instructions, "mips", mips, "memory", memory_json(vm), "cpu",
        memory_rows_json(cpu_rows, cpu), "callouts", stats_callouts_json(vm), "time",
        stats_time_json(vm), "mmu", stats_mmu_json(vm));
}

static bool is_special(const char *path)
{
    struct stat st;

    return !stat(path, &st) && !S_ISREG(st.st_mode);
}

enum err stats_check_path(const char *path)
{
    char copy[4096];
    struct stat st;

    if (!path[0] || strlen(path) >= sizeof(copy))
        return err_new(ERR_INVAL, "--stats: '%.40s' cannot be a file's name", path);
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return err_new(ERR_INVAL, "--stats: %s is a folder; name a file in it", path);
    if (is_special(path))
        return ERR_OK;
    snprintf(copy, sizeof(copy), "%s", path);
    if (access(dirname(copy), W_OK | X_OK))
        return err_errno(ERR_INVAL, "--stats: cannot write to the folder of %s", path);
    return ERR_OK;
}

static enum err write_file(const json_t *stats, const char *path)
{
    FILE *f = fopen(path, "we");
    bool bad;

    if (!f)
        return err_errno(ERR_IO, "cannot open %s", path);
    bad = json_dumpf(stats, f, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0;
    bad |= fputc('\n', f) == EOF;
    bad |= fflush(f) != 0;
    bad |= fclose(f) != 0;
    return bad ? err_errno(ERR_IO, "cannot write %s", path) : ERR_OK;
}

enum err stats_write(const json_t *stats, const char *path)
{
    char temp[4200];
    enum err err;

    if (!stats)
        return err_new(ERR_NOMEM, "no memory for the counters");
    if (is_special(path))
        return write_file(stats, path);
    snprintf(temp, sizeof(temp), "%s.tmp%d", path, (int)getpid());
    err = write_file(stats, temp);
    if (!err && rename(temp, path))
        err = err_errno(ERR_IO, "cannot rename %s", temp);
    if (err)
        unlink(temp);
    return err;
}

void stats_print_memory(const json_t *stats, FILE *out)
{
    const json_t *memory = json_object_get(stats, "memory");

    memory_print_states(memory, out);
    fprintf(out, "  %10.1f MiB  on top of that: shadow page tables and reverse map\n",
            (double)json_integer_value(json_object_get(memory, "shadow_bytes")) / 1048576.0);
}
