/* SPDX-License-Identifier: Apache-2.0 */
/* One machine of the block fuzzer: what its files know of each other. */
#ifndef UMBRA_TESTS_FUZZ_BLOCK_WORLD_H
#define UMBRA_TESTS_FUZZ_BLOCK_WORLD_H

#include "block.h"

#define GUEST_BYTES (UINT64_C(8) << 20)
#define TABLES_GPA  UINT64_C(0x100000)
#define IDT_GPA     UINT64_C(0x10000)
#define GDT_GPA     UINT64_C(0x11000)
#define TSS_GPA     UINT64_C(0x12000)
#define STUBS_GPA   UINT64_C(0x13000) /* 16 bytes a vector */
#define HANDLER_GPA UINT64_C(0x14000)
#define STACK_GPA   UINT64_C(0x20000)
#define KERNEL_END  UINT64_C(0x28000)
#define KERNEL_VA   UINT64_C(0xffffffff80000000)
#define DEVICE_GPA  UINT64_C(0xe0000000)
#define DATA_POOL   16u
#define SPACES      3u

#define CS_KERNEL 0x08
#define DS_KERNEL 0x10
#define DS_USER   0x2b
#define CS_USER   0x33
#define DS_SMALL  0x3b /* a segment with a base and a limit; a flat one for a 16-bit stack */
#define SS_16     0x43
#define DS_BASED  0x4b /* the whole address space from FS_VA on */

/* A bit that no tracker uses: the frame never becomes writable in a TLB. */
#define TRACK_OWN ((enum mem_track)8)

#define VECTOR_IRQ 0x21
#define PORT_EVENT 0x80
#define PORT_CR3   0x84 /* two ports, the second has the upper half */
#define PORT_PAGE  0x88

/* What the handler pushes, lowest address first. */
struct frame {
    uint64_t gpr[15]; /* without RSP */
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct world {
    struct world_config config;
    struct guest_mem *mem;
    struct vcpu *vcpu;
    const struct engine_ops *ops;
    struct cpu_bus bus;
    struct dice dice, pace; /* pace: only where leader and follower may differ */
    struct program program;
    struct log log;
    unsigned at, events; /* of the log that is followed */
    uint64_t root[SPACES], next_table, device_sum;
    uint64_t cr3, page; /* what the handler is to load and to invalidate; 0: nothing */
    unsigned space;
    bool pcid, over, failed, irq, service;
    bool tracked, saw_rep, saw_random, saw_flags_revived, traced_narrow;
    uint64_t traced_rip;
    uint32_t traced_dead;
    uint8_t traced_bytes[15];
    unsigned traced_length;
};

static inline uint64_t now(const struct world *w)
{
    return w->ops->instructions(w->vcpu);
}

static inline bool poke(struct world *w, uint64_t gpa, const void *bytes, size_t n)
{
    return mem_write(w->mem, gpa_make(gpa), bytes, n);
}

static inline bool poke64(struct world *w, uint64_t gpa, uint64_t v)
{
    return poke(w, gpa, &v, sizeof v);
}

/* --- block_kernel.c --- */

/* Tables of all address spaces, the kernel, code and data. False: the host failed. */
bool kernel_make(struct world *w);
/* The state in which the first program begins. */
void kernel_state(struct world *w, struct x86_state *s);
/* Where the entry of va is; makes the tables down to it. */
uint64_t entry_of(struct world *w, unsigned space, uint64_t va);
/* Frame of a page of the data in an address space. */
uint64_t data_frame(unsigned space, unsigned page);

/* --- block_action.c: what is done to the guest at an event --- */

/* Another place, other registers. */
void enter_anew(struct world *w, struct frame *f);
/* Memory changes under the guest, as by a device or by its own kernel. */
void change_memory(struct world *w);

/* --- block_report.c --- */
bool records_differ(const struct record *a, const struct record *b, uint64_t flags);
void tell_difference(const struct world *w, const struct record *want, const struct record *got);
/* One line for the instruction that comes next. */
void trace(struct world *w, uint64_t icount);

#endif
