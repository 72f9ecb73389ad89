/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cli/run_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/duration.h"
#include "control/means.h"
#include "control/paths.h"
#include "control/size.h"

/*
 * Console on the first serial port; a guest that panics restarts after five seconds, long enough to
 * read why.
 */
#define CACHED_GUEST_APPEND "console=ttyS0 panic=5"

const struct option_spec run_option_specs[] = {
    {"kernel", "FILE", "bzImage, ELF with a PVH note, or Multiboot 1; default: the cached guest"},
    {"initrd", "FILE", "initial RAM disk"},
    {"append", "TEXT", "kernel command line"},
    {"memory", "SIZE", "what the guest believes it has (default 512M)"},
    {"name", "NAME", "name for ps, stat and stop (default vm-PID)"},
    {"cpus", "N", "CPUs; 1 is what this version can do"},
    {"cpu", "LIST",
     "CPU features: smep, smap, umip (on), pku, la57 (off; la57: five-level paging), or no-NAME"},
    {"engine", "NAME", "auto (default: the fastest that works here), interp or translate"},
    {"direct", "on|off",
     "let user code that computes for long run on the host's CPU itself, where that is possible "
     "(default on, off with --limit or --pool)"},
    {"shadow", "HOW", "how shadow tables follow the guest's: lazy, trace or adaptive"},
    {"clock", "SOURCE", "guest time from: host, or instructions (two runs are identical)"},
    {"no-reboot", NULL, "end with status 0 when the guest resets, instead of restarting it"},
    {"debug-exit", NULL, "a write of v to I/O port 0xf4 ends the run with status (v << 1) | 1"},
    {"stats", "FILE", "write all counters as JSON at the end"},
    {"audit", NULL, "at the end check memory and shadow tables against each other"},
    {"oracle", NULL, "test mode: compare every translation with a plain walk (slow)"},
    {"disk", "FILE[,ro]", "a raw disk image or block device (virtio-blk); up to 16"},
    {"limit", "SIZE", "the most host memory the VM may hold (default: any)"},
    {"reservation", "SIZE", "guest memory that needs no room in the swap file (default 0)"},
    {"swap-dir", "DIR", "where NAME.vswp lies (default: the VM's own folder)"},
    {"compress", "SIZE",
     "the most that compressed pages may take, or off (default: a half of --limit, or a quarter of "
     "--memory)"},
    {"means", "LIST",
     "which means may take memory back: report, share, balloon, compress, swap (default all)"},
    {"cures", "on|off",
     "off: swap as a hypervisor that knows nothing of disks and overwriting (default on)"},
    {"code-cache", "SIZE",
     "the most for decoded code, and for translated code: 1M to 64M (default: by --limit)"},
    {"profile", NULL, "measure where the vCPU's time goes, for umbra stat; a little slower"},
    {"perf-map", NULL, "write /tmp/perf-PID.map, so that perf names translated guest code"},
    {"translate-at-once", NULL, "test mode: translate code before it first runs"},
    {"inject", "FAULTS", "test mode: failures of files, as swap-write=ENOSPC@100-200"},
    {"pool", "NAME", "join the pool of this name (umbra host), which sets the limit"},
    {"minimum", "SIZE", "in a pool: never asked for what brings it under this (default 64M)"},
    {"startup", "SIZE", "in a pool: what it needs to boot (default: --memory)"},
    {"shares", "N", "in a pool: its weight among others (default: its MiB of memory)"},
    {"smart-paging-dir", "DIR",
     "in a pool: where NAME.smart lies while a restart is bridged (default: as --swap-dir)"},
    {"smart-paging-limit", "TIME", "in a pool: it is gone after this, as 10m or 30s (default 10m)"},
    {NULL, NULL, NULL},
};

static bool is(const struct option_spec *spec, const char *name)
{
    return !strcmp(spec->name, name);
}

/* A value that the contract knows but this version cannot serve gets its own words. */
static enum err choose(const char *option, const char *value, const char *const *served,
                       const char *const *announced)
{
    for (size_t i = 0; served[i]; i++) {
        if (!strcmp(value, served[i]))
            return ERR_OK;
    }
    for (size_t i = 0; announced[i]; i++) {
        if (!strcmp(value, announced[i]))
            return err_new(ERR_UNSUPPORTED, "--%s %s is not built yet in this version; use --%s %s",
                           option, value, option, served[0]);
    }
    char use[80] = "";
    for (size_t i = 0; served[i]; i++) {
        size_t at = strlen(use);
        snprintf(use + at, sizeof use - at, "%s%s",
                 !i              ? ""
                 : served[i + 1] ? ", "
                                 : " or ",
                 served[i]);
    }
    return err_new(ERR_INVAL, "--%s: unknown value '%.40s'; use %s", option, value, use);
}

static enum err set_memory(struct run_options *o, const char *value)
{
    uint64_t bytes;
    enum err err = size_parse(value, &bytes);

    if (err)
        return err;
    if (bytes < RUN_MEMORY_MIN) {
        size_t last = strlen(value) - 1;

        if (bytes >= 16 && value[last] >= '0' && value[last] <= '9')
            return err_new(ERR_INVAL,
                           "--memory %s is %s bytes, too little; did you mean --memory %sM?", value,
                           value, value);
        return err_new(ERR_INVAL,
                       "--memory %s is too little; the least is 2M, and Linux wants 64M or more",
                       value);
    }
    if (bytes % PAGE_SIZE)
        return err_new(ERR_INVAL, "--memory %s is not a multiple of 4K, the size of a page", value);
    o->vm.memory_bytes = bytes;
    return ERR_OK;
}

/* A size of at most guest memory is checked when all options are known. */
static enum err set_size(const char *value, uint64_t *bytes)
{
    enum err err = size_parse(value, bytes);

    return !err && *bytes == VM_ANY ? err_new(ERR_INVAL, "'%s' is larger than any address", value)
                                    : err;
}

static enum err set_compress(struct run_options *o, const char *value)
{
    if (strcmp(value, "off"))
        return set_size(value, &o->vm.compress_bytes);
    o->vm.compress_bytes = 0;
    return ERR_OK;
}

/* FILE or FILE,ro */
static enum err add_disk(struct run_options *o, const char *value)
{
    static const char read_only[] = ",ro";
    size_t length = strlen(value), tail = sizeof(read_only) - 1;
    bool is_read_only = length >= tail && !strcmp(value + length - tail, read_only);
    struct vm_disk *disk = &o->vm.disks[o->vm.disk_count];
    char *path = o->disk_path[o->vm.disk_count];

    if (o->vm.disk_count == MEM_DISKS_MAX)
        return err_new(ERR_INVAL, "--disk %.40s is one too many; a VM has up to %d disks", value,
                       MEM_DISKS_MAX);
    length -= is_read_only ? tail : 0;
    if (!length || length >= sizeof(o->disk_path[0]))
        return err_new(ERR_INVAL, "--disk: '%.40s' cannot be a file's name", value);
    memcpy(path, value, length);
    path[length] = '\0';
    *disk = (struct vm_disk){.path = path, .read_only = is_read_only};
    o->vm.disk_count++;
    return ERR_OK;
}

static enum err set_cpus(const char *value)
{
    if (!strcmp(value, "1"))
        return ERR_OK;
    if (value[0] >= '1' && value[0] <= '9' && strspn(value, "0123456789") == strlen(value))
        return err_new(ERR_UNSUPPORTED,
                       "--cpus %s is not built yet: this version runs guests with 1 CPU", value);
    return err_new(ERR_INVAL, "--cpus: '%.40s' is not a number of CPUs; use 1", value);
}

static enum err set_chosen(struct run_options *o, const struct option_spec *spec, const char *value)
{
    static const char *const engines_served[] = {"auto", "interp", "translate", NULL};
    static const char *const engines_announced[] = {"kvm", NULL};
    /* in the order of enum mmu_strategy */
    static const char *const shadows_served[] = {"lazy", "trace", "adaptive", NULL};
    static const char *const clocks_served[] = {"host", "instructions", NULL};
    static const char *const switches_served[] = {"on", "off", NULL};
    static const char *const nothing[] = {NULL};
    enum err err;

    if (is(spec, "cures")) {
        o->vm.without_cures = !strcmp(value, "off");
        return choose("cures", value, switches_served, nothing);
    }
    if (is(spec, "direct")) {
        o->vm.direct = !strcmp(value, "on");
        o->has_direct = true;
        return choose("direct", value, switches_served, nothing);
    }
    if (is(spec, "engine")) {
        o->vm.engine = value;
        return choose("engine", value, engines_served, engines_announced);
    }
    if (is(spec, "shadow")) {
        for (unsigned i = 0; shadows_served[i]; i++) {
            if (!strcmp(value, shadows_served[i]))
                o->vm.mmu_strategy = (enum mmu_strategy)i;
        }
        return choose("shadow", value, shadows_served, nothing);
    }
    err = choose("clock", value, clocks_served, nothing);
    if (!err)
        o->vm.clock = !strcmp(value, "host") ? CLOCK_HOST : CLOCK_INSTRUCTIONS;
    return err;
}

static enum err set_pool_option(struct run_options *o, const struct option_spec *spec,
                                const char *value)
{
    char *end;

    if (is(spec, "minimum"))
        return set_size(value, &o->pool.minimum_bytes);
    if (is(spec, "startup"))
        return set_size(value, &o->pool.startup_bytes);
    if (is(spec, "pool")) {
        o->pool.pool = value;
        o->vm.counts_ages = true;
        return paths_check_name(value);
    }
    o->pool.shares = strtoul(value, &end, 10);
    if (end == value || *end || value[0] == '-' || !o->pool.shares || o->pool.shares > UINT32_MAX)
        return err_new(ERR_INVAL, "--shares: '%.40s' is no number from 1 to 4294967295", value);
    return ERR_OK;
}

/* What is not said follows from the size; what is said for no pool is a mistake. */
static enum err check_pool(struct run_options *o)
{
    struct member_config *pool = &o->pool;

    if (!pool->pool && (pool->minimum_bytes || pool->startup_bytes || pool->shares))
        return err_new(ERR_INVAL, "--minimum, --startup and --shares need --pool NAME");
    if (!pool->pool && (o->vm.smart_dir || o->vm.smart_limit_ns))
        return err_new(ERR_INVAL, "--smart-paging-dir and --smart-paging-limit need --pool NAME");
    if (!pool->pool)
        return ERR_OK;
    if (!o->vm.smart_limit_ns)
        o->vm.smart_limit_ns = RUN_SMART_LIMIT_NS;
    if (o->vm.limit_bytes != VM_ANY)
        return err_new(ERR_INVAL, "--limit and --pool exclude each other: the pool sets the limit");
    if (!pool->minimum_bytes)
        pool->minimum_bytes = vm_least_limit(o->vm.memory_bytes);
    if (pool->minimum_bytes < vm_least_limit(o->vm.memory_bytes))
        return err_new(ERR_INVAL, "--minimum is too little: the machine alone needs %" PRIu64 "M",
                       vm_least_limit(o->vm.memory_bytes) >> 20);
    if (!pool->startup_bytes)
        pool->startup_bytes = o->vm.memory_bytes;
    if (pool->minimum_bytes > o->vm.memory_bytes)
        return err_new(ERR_INVAL, "--minimum is more than --memory");
    if (!pool->shares)
        pool->shares = o->vm.memory_bytes >> 20;
    return ERR_OK;
}

static enum err set_smart_limit(struct run_options *o, const char *value)
{
    enum err err = duration_parse(value, &o->vm.smart_limit_ns);

    return err ? err_new(ERR_INVAL, "--smart-paging-limit: %s", err_text()) : ERR_OK;
}

static enum err set_code_cache(struct run_options *o, const char *value)
{
    enum err err = size_parse(value, &o->vm.code_cache_bytes);

    if (!err &&
        (o->vm.code_cache_bytes < CODE_CACHE_LEAST || o->vm.code_cache_bytes > CODE_CACHE_MOST))
        return err_new(ERR_INVAL, "--code-cache: %.40s is not from 1M to 64M", value);
    return err;
}

static enum err set_memory_option(struct run_options *o, const struct option_spec *spec,
                                  const char *value)
{
    if (is(spec, "limit"))
        return set_size(value, &o->vm.limit_bytes);
    if (is(spec, "reservation"))
        return set_size(value, &o->vm.reservation_bytes);
    if (is(spec, "code-cache"))
        return set_code_cache(o, value);
    if (is(spec, "compress"))
        return set_compress(o, value);
    if (is(spec, "means"))
        return means_parse(value, &o->vm.forbidden_means);
    if (is(spec, "inject"))
        return inject_parse(value, &o->vm.inject);
    if (is(spec, "disk"))
        return add_disk(o, value);
    if (is(spec, "pool") || is(spec, "minimum") || is(spec, "startup") || is(spec, "shares"))
        return set_pool_option(o, spec, value);
    if (is(spec, "smart-paging-limit"))
        return set_smart_limit(o, value);
    if (is(spec, "smart-paging-dir"))
        o->vm.smart_dir = value;
    else
        o->vm.swap_dir = value;
    return ERR_OK;
}

/* What only makes sense together. */
static enum err check_sizes(const struct vm_config *vm, uint64_t host_bytes)
{
    char guest[16], other[16];

    size_format(guest, sizeof(guest), vm->memory_bytes);
    if (vm->memory_bytes > host_bytes && vm->limit_bytes > host_bytes)
        return err_new(ERR_INVAL,
                       "a guest of %s does not fit: this host has %s; give --memory less, or "
                       "--limit what it may hold of it",
                       guest, size_format(other, sizeof(other), host_bytes));
    if (vm->reservation_bytes > vm->memory_bytes || vm->reservation_bytes % PAGE_SIZE)
        return err_new(ERR_INVAL,
                       "--reservation: of a guest of %s at most %s can be reserved, in pages of 4K",
                       guest, guest);
    if (vm->limit_bytes < vm_least_limit(vm->memory_bytes))
        return err_new(ERR_INVAL,
                       "--limit is too little: a guest of %s and the machine around it need %s",
                       guest, size_format(other, sizeof(other), vm_least_limit(vm->memory_bytes)));
    if (vm->reservation_bytes > vm->limit_bytes)
        return err_new(ERR_INVAL, "--reservation is more than --limit lets the VM hold");
    return ERR_OK;
}

static enum err set_option(void *arg, const struct option_spec *spec, const char *value)
{
    struct run_options *o = arg;

    if (is(spec, "kernel")) {
        o->vm.kernel = value;
        o->has_kernel = true;
    } else if (is(spec, "initrd")) {
        o->vm.initrd = value;
        o->has_initrd = true;
    } else if (is(spec, "append")) {
        o->vm.append = value;
        o->has_append = true;
    } else if (is(spec, "name")) {
        o->vm.name = value;
        return paths_check_name(value);
    } else if (is(spec, "memory")) {
        return set_memory(o, value);
    } else if (is(spec, "cpus")) {
        return set_cpus(value);
    } else if (is(spec, "cpu")) {
        return cpu_features_parse(value, &o->vm.features);
    } else if (is(spec, "no-reboot")) {
        o->vm.reboot = VM_REBOOT_ENDS;
    } else if (is(spec, "debug-exit")) {
        o->vm.debug_exit = true;
    } else if (is(spec, "stats")) {
        o->stats_path = value;
    } else if (is(spec, "audit")) {
        o->vm.audit = true;
    } else if (is(spec, "oracle")) {
        o->vm.mmu_oracle = true;
    } else if (is(spec, "translate-at-once")) {
        o->vm.translate_at_once = true;
    } else if (is(spec, "profile")) {
        o->vm.profile = true;
    } else if (is(spec, "perf-map")) {
        o->vm.perf_map = true;
    } else if (is(spec, "engine") || is(spec, "shadow") || is(spec, "clock") || is(spec, "cures") ||
               is(spec, "direct")) {
        return set_chosen(o, spec, value);
    } else {
        return set_memory_option(o, spec, value);
    }
    return ERR_OK;
}

enum err run_options_parse(struct run_options *out, int count, char *const *words,
                           uint64_t host_bytes, bool *want_help)
{
    const struct option_sink sink = {.arg = out, .set = set_option};
    enum err err;

    memset(out, 0, sizeof(*out));
    snprintf(out->name, sizeof(out->name), "vm-%d", (int)getpid());
    out->vm = (struct vm_config){
        .name = out->name,
        .memory_bytes = RUN_MEMORY_DEFAULT,
        .cpus = 1,
        .append = "",
        .engine = "auto",
        .clock = CLOCK_HOST,
        .reboot = VM_REBOOT_RESTARTS,
        .features = CPU_FEATURES_DEFAULT,
        .input_file = -1,
        .limit_bytes = VM_ANY,
        .compress_bytes = VM_ANY,
    };
    err = options_parse(run_option_specs, count, words, &sink, want_help);
    if (err || *want_help)
        return err;
    if (!out->has_direct)
        out->vm.direct = out->vm.limit_bytes == VM_ANY && !out->pool.pool;
    err = check_sizes(&out->vm, host_bytes);
    return err ? err : check_pool(out);
}

enum err run_options_use_cached_guest(struct run_options *o)
{
    enum err err = paths_guest_file(o->kernel, sizeof(o->kernel), "vmlinuz");

    if (!err)
        err = paths_guest_file(o->initrd, sizeof(o->initrd), "initrd.img");
    if (err)
        return err;
    if (access(o->kernel, R_OK) || access(o->initrd, R_OK))
        return err_new(ERR_NOTFOUND, "there is no cached guest yet; get one with: make guest "
                                     "(or name a kernel with --kernel)");
    o->vm.kernel = o->kernel;
    if (!o->has_initrd)
        o->vm.initrd = o->initrd;
    if (!o->has_append)
        o->vm.append = CACHED_GUEST_APPEND;
    return ERR_OK;
}
