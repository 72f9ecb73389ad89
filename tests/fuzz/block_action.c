/* SPDX-License-Identifier: Apache-2.0 */
/* How a guest of the block fuzzer goes on after an event, and what changes under it. */
#include <string.h>

#include "block_world.h"
#include "insn.h"

static uint64_t some_pointer(struct dice *d)
{
    unsigned kind = dice_below(d, 100);
    uint64_t page = DATA_VA + 4096 * dice_below(d, DATA_PAGES);

    if (kind < 60)
        return DATA_VA + 64 + dice_below(d, 4 * 4096 - 128);
    if (kind < 75)
        return page - dice_below(d, 40) + (dice_percent(d, 50) ? 8 : 4096);
    if (kind < 80)
        return page + dice_below(d, 4096);
    if (kind < 84)
        return CODE_VA + dice_below(d, CODE_BYTES);
    if (kind < 87)
        return ALIAS_VA + dice_below(d, CODE_BYTES);
    if (kind < 90)
        return KERNEL_PAGE_VA + dice_below(d, 4096);
    if (kind < 93)
        return DEVICE_VA + (dice_below(d, 4096) & ~7u);
    if (kind < 94)
        return KERNEL_VA + 0x26000 + dice_below(d, 4096);
    if (kind < 97) /* around the ends of what is canonical */
        return (dice_percent(d, 50) ? UINT64_C(0x0000800000000000) : UINT64_C(0xffff800000000000)) -
               32 + dice_below(d, 64);
    if (kind < 98)
        return dice_below(d, 64) - UINT64_C(32);
    if (kind < 99) /* another page of the same index in a table of 4096 */
        return (page + dice_below(d, 4096)) ^ UINT64_C(1) << (24 + dice_below(d, 40));
    return dice_next(d);
}

static uint64_t some_place(struct world *w)
{
    struct dice *d = &w->dice;
    uint64_t base = dice_percent(d, 95) ? CODE_VA : ALIAS_VA;

    if (dice_percent(d, 6))
        return base + dice_below(d, CODE_BYTES);
    return base + w->program.start[dice_below(d, w->program.starts)];
}

void enter_anew(struct world *w, struct frame *f)
{
    struct dice *d = &w->dice;
    bool kernel = dice_percent(d, 25);

    for (unsigned r = 0; r < 15; r++) {
        unsigned reg = r >= RSP ? r + 1 : r;

        if (is_pointer_register(reg)) {
            if (dice_percent(d, 75))
                f->gpr[r] = some_pointer(d);
        } else if (dice_percent(d, 20)) {
            f->gpr[r] = dice_below(d, 256);
        } else if (dice_percent(d, 50)) {
            f->gpr[r] = gen_integer(&d->s);
        }
    }
    f->rsp = dice_percent(d, 85) ? DATA_VA + STACK_PAGE * 4096 + 256 + 8 * dice_below(d, 900)
                                 : some_pointer(d);
    f->rip = some_place(w);
    f->cs = kernel ? CS_KERNEL : CS_USER;
    if (w->program.narrow && dice_percent(d, 90)) /* else the same bytes as 64-bit code */
        f->cs = kernel ? CS_KERNEL_32 : CS_USER_32;
    f->ss = kernel ? DS_KERNEL : DS_USER;
    f->rflags = RFLAGS_ONE | RFLAGS_IF | (dice_next(d) & RFLAGS_ARITH);
    if (dice_percent(d, 10))
        f->rflags |= RFLAGS_DF;
    if (dice_percent(d, kernel ? 60 : 8))
        f->rflags |= RFLAGS_AC;
    if (dice_percent(d, 2))
        f->rflags |= RFLAGS_TF;
}

void change_memory(struct world *w)
{
    struct dice *d = &w->dice;
    uint8_t bytes[16];
    unsigned page = dice_below(d, DATA_PAGES + 1), space = dice_below(d, SPACES), n;
    uint64_t va = DATA_VA + 4096 * page, entry;

    switch (dice_below(d, 4)) {
    case 0: /* other code */
        n = program_patch(&w->program, d, bytes);
        (void)poke(w, CODE_GPA + w->program.start[dice_below(d, w->program.starts)], bytes, n);
        break;
    case 1: /* other data */
        for (n = 0; n < 16; n++)
            bytes[n] = (uint8_t)dice_next(d);
        (void)poke(w, DATA_GPA + dice_below(d, DATA_POOL * 4096 - 16), bytes, 16);
        break;
    case 2: /* other rights, or another frame */
        entry = data_frame(space, dice_below(d, DATA_POOL)) | 7;
        if (dice_percent(d, 50))
            entry &= ~(UINT64_C(1) << dice_below(d, 3));
        if (dice_percent(d, 70))
            entry = data_frame(space, page) | 7;
        (void)poke64(w, entry_of(w, space, va), entry);
        if (space == w->space)
            w->page = va;
        else if (w->pcid)
            w->cr3 = w->root[w->space] | (w->space + 1);
        break;
    default: /* another address space */
        w->space = space;
        w->cr3 = w->root[space] | (w->pcid ? space + 1 : 0);
    }
}
