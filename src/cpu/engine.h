/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of a CPU engine: one vCPU of any engine, the same architectural result on each.
 *
 * Threads: run, get_state and set_state on the vCPU's own thread (or with the vCPU stopped); kick,
 * set_irq and raise_nmi from any thread. stats may be read by any thread (values may be slightly
 * old).
 */
#ifndef UMBRA_CPU_ENGINE_H
#define UMBRA_CPU_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/stats.h"
#include "cpu/bus.h"
#include "cpu/x86/features.h"
#include "cpu/x86/state.h"
#include "mem/mem.h"
#include "mmu/mmu.h"

enum engine_exit {
    ENGINE_EXIT_KICKED,   /* somebody asked, or the bus asked for a stop */
    ENGINE_EXIT_HALTED,   /* HLT with nothing pending; run again after set_irq or kick */
    ENGINE_EXIT_SHUTDOWN, /* triple fault */
    /*
     * err_text(); the instruction has not begun, or goes on where it was: run may be called again
     * when the host can go on
     */
    ENGINE_EXIT_HOST_ERROR
};

/* clang-format off */
#define CPU_COUNTERS(X)                                                                            \
    X(instructions,       "instructions retired")                                                  \
    X(exits_port_in,      "exits: port input")                                                     \
    X(exits_port_out,     "exits: port output")                                                    \
    X(exits_mmio_read,    "exits: device memory read")                                             \
    X(exits_mmio_write,   "exits: device memory write")                                            \
    X(exits_msr,          "exits: MSR of the machine")                                             \
    X(exits_halt,         "exits: HLT")                                                            \
    X(exits_kick,         "exits: kicks")                                                          \
    X(interrupts,         "interrupts delivered")                                                  \
    X(nmis,               "NMIs delivered")                                                        \
    X(exceptions,         "exceptions delivered")                                                  \
    X(page_faults,        "page faults delivered to the guest")                                    \
    X(tlb_hits_data,      "data TLB hits: memory operands retired, less the misses")               \
    X(tlb_misses_data,    "data TLB misses")                                                       \
    X(tlb_misses_fetch,   "fetch TLB misses")                                                      \
    X(stores_noted,       "stores to tracked frames that the TLB answered")                        \
    X(tlb_flushes,        "TLB flushes of everything")                                             \
    X(blocks_decoded,     "blocks decoded")                                                        \
    X(insns_decoded,      "instructions decoded")                                                  \
    X(blocks_invalidated, "blocks dropped because their code was written")                         \
    X(blocks_revived,     "dropped blocks taken up again, their code being what it was")           \
    X(code_patches,       "immediates changed in place in decoded code")                           \
    X(code_writes,        "writes to pages with decoded code")                                     \
    X(cache_drops,        "times the whole decoded cache was dropped")                             \
    X(decoded_held,       "bytes of host memory that decoded code holds now")                      \
    X(native_held,        "bytes of host memory that native code holds now, with what it needs")   \
    X(native_blocks,      "blocks translated to native code")                                      \
    X(native_guest_bytes, "bytes of guest code in them")                                           \
    X(native_bytes,       "bytes of native code made of them")                                     \
    X(native_entries,     "entries into native code")                                              \
    X(native_callouts,    "instructions that native code left to their handlers")                  \
    X(native_links,       "branches joined from block to block")                                   \
    X(native_branches_out, "direct branches that left native code")                                \
    X(native_guesses,     "indirect branches translated with a guess of their target")             \
    X(native_guess_hits,  "times that such a branch went there (counted with --profile)")          \
    X(native_guess_misses, "times that it went elsewhere (counted with --profile)")                \
    X(native_runs,        "blocks run natively (counted with --profile)")                          \
    X(native_far_runs,    "of them reached from another page or through a register (--profile)")   \
    X(direct_runs,        "stretches of user code that the host's CPU ran directly")               \
    X(direct_syscalls,    "of them ended by a system call")                                        \
    X(direct_faults,      "of them ended by a fault or a trap")
/* clang-format on */

struct cpu_stats {
    CPU_COUNTERS(STATS_FIELD)
};

/* Limits of code_bytes. */
#define CODE_CACHE_LEAST (UINT64_C(1) << 20)
#define CODE_CACHE_MOST  (UINT64_C(64) << 20)

/* What a vCPU's thread does, for who looks from time to time: where the time goes. */
#define ENGINE_PHASES(X)                                                                           \
    X(outside, "devices, service of memory")                                                       \
    X(halted, "nothing to do")                                                                     \
    X(direct, "user code directly on the host's CPU")                                              \
    X(native, "native code")                                                                       \
    X(handlers, "handlers that native code calls")                                                 \
    X(interpreter, "interpreter")                                                                  \
    X(mmu, "shadow MMU")                                                                           \
    X(decoder, "decoding")                                                                         \
    X(translator, "translation to native code")
#define ENGINE_PHASE(name, text) ENGINE_##name,
enum engine_phase { ENGINE_PHASES(ENGINE_PHASE) ENGINE_PHASE_COUNT };

/*
 * mmu_strategy: how the shadow follows the guest's tables
 * audit_exits:  audit the shadow after each exit that changed it (very slow)
 * mmu_oracle:   run with the shadow oracle (every access translated slowly and compared)
 * tsc_khz:      frequency of bus->tsc, told to the guest by CPUID
 * apic_id:      this vCPU's local APIC id, told by CPUID
 * features:     CPU_FEATURE_* that the CPU offers
 * code_bytes:   host memory that decoded or translated code may take; 0: the engine's choice
 * hot_runs:     of code before it is translated, 1: before it first runs, 0: the engine's choice
 * perf_map:     tell `perf` the places of translated code
 * profile:      count what native code runs, which makes it slower
 * direct:       let user code run directly where that is possible
 * budgeted:     stop exactly at the bus' poll budget (CLOCK_INSTRUCTIONS)
 */
struct vcpu_config {
    struct guest_mem *mem;
    const struct cpu_bus *bus;
    uint64_t tsc_khz;
    uint32_t apic_id;
    uint32_t features;
    enum mmu_strategy mmu_strategy;
    bool mmu_oracle;
    bool audit_exits;
    uint64_t code_bytes;
    unsigned hot_runs;
    bool perf_map;
    bool profile;
    bool direct;
    bool budgeted;
};

/* Instructions that native code left to their handlers, and why, in words. */
struct engine_callout {
    const char *instruction, *reason;
    uint64_t count;
};

struct vcpu;

struct engine_ops {
    const char *name;
    const char *summary;
    /* false: *why says why this host cannot run it (static text) */
    bool (*is_available)(const char **why);
    enum err (*create)(struct vcpu **out, const struct vcpu_config *config);
    void (*destroy)(struct vcpu *vcpu);
    enum engine_exit (*run)(struct vcpu *vcpu);
    void (*kick)(struct vcpu *vcpu);
    /* level of the interrupt request line into the CPU; the vCPU acks through bus->irq_ack */
    void (*set_irq)(struct vcpu *vcpu, bool level);
    void (*raise_nmi)(struct vcpu *vcpu);
    void (*get_state)(struct vcpu *vcpu, struct x86_state *out);
    void (*set_state)(struct vcpu *vcpu, const struct x86_state *in);
    /* retired so far, exact at instruction boundaries on the vCPU's thread */
    uint64_t (*instructions)(const struct vcpu *vcpu);
    const struct cpu_stats *(*stats)(const struct vcpu *vcpu);
    struct mmu *(*mmu)(struct vcpu *vcpu);
    /* The most frequent ones first, at most `room`; answers how many. NULL: no native code. */
    unsigned (*callouts)(const struct vcpu *vcpu, struct engine_callout *out, unsigned room);
    /*
     * Gives host memory of decoded and translated code back if it is much: what still runs is made
     * anew. Not while run is under way.
     */
    void (*trim)(struct vcpu *vcpu);
};

/* Every engine starts its struct with this. phase: enum engine_phase, read by any thread. */
struct vcpu {
    const struct engine_ops *ops;
    _Atomic uint8_t phase;
};

/* The explicit list of engines, fastest first (engines.c); NULL-terminated. */
extern const struct engine_ops *const engines[];

/* By name, or "auto": the first available. NULL: err_text(). */
const struct engine_ops *engine_find(const char *name);

#endif
