/* SPDX-License-Identifier: Apache-2.0 */
/* What `umbra run` was asked for, checked as far as that goes without starting anything. */
#ifndef UMBRA_CONTROL_CLI_RUN_OPTIONS_H
#define UMBRA_CONTROL_CLI_RUN_OPTIONS_H

#include "control/options.h"
#include "control/pool/member.h"
#include "control/vm.h"

#define RUN_MEMORY_DEFAULT (UINT64_C(512) << 20)
#define RUN_MEMORY_MIN     (UINT64_C(2) << 20)

/* Of a pool's member, when nothing is said. */
#define RUN_SMART_LIMIT_NS (UINT64_C(600) * UINT64_C(1000000000))

/* vm.name, vm.kernel, vm.initrd, vm.disks may point into the buffers. */
struct run_options {
    struct vm_config vm;
    struct member_config pool; /* pool NULL: none */
    const char *stats_path;
    bool has_kernel, has_initrd, has_append, has_direct;
    char name[32];
    char kernel[512], initrd[512];
    char disk_path[MEM_DISKS_MAX][1024];
};

extern const struct option_spec run_option_specs[];

/*
 * ERR_INVAL or ERR_UNSUPPORTED with one line. host_bytes: memory of the host, the most a guest may
 * have.
 */
enum err run_options_parse(struct run_options *out, int count, char *const *words,
                           uint64_t host_bytes, bool *want_help) MUST_USE;

/* Without --kernel: the cached guest. ERR_NOTFOUND with the one command that gets one. */
enum err run_options_use_cached_guest(struct run_options *options) MUST_USE;

#endif
