/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of the translate engine: windows against the TLB, code memory and its rights, a code cache
 * that is too small.
 */
#include "interp_guest.h"

#include <stdio.h>

#include "cpu/interp/mem.h"
#include "cpu/interp/run.h"
#include "cpu/translate/compile.h"

/* --- code memory --- */

/* Rights of the mapping at an address, as in /proc/self/maps; counts those that allow all. */
static void rights_at(const void *at, char rights[5], unsigned *bad)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char r[5];

        assert_int_equal(sscanf(line, "%lx-%lx %4s", &from, &to, r), 3);
        *bad += r[1] == 'w' && r[2] == 'x';
        if (from <= (uintptr_t)at && (uintptr_t)at < to)
            memcpy(rights, r, 5);
    }
    fclose(maps);
}

static void code_is_never_writable_and_executable(void **unused)
{
    struct guest g;
    const struct translate *t;
    char rw[5] = "", rx[5] = "", data[5] = "";
    unsigned bad = 0;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    t = (const struct translate *)g.vcpu;
    rights_at(t->code.rw, rw, &bad);
    rights_at(t->code.rx, rx, &bad);
    rights_at(t->code.data, data, &bad);
    assert_int_equal(bad, 0);
    assert_memory_equal(rw, "rw-", 3);
    assert_memory_equal(rx, "r-x", 3);
    assert_memory_equal(data, "rw-", 3);
    guest_close(&g);
}

static void code_memory_is_handed_out_until_it_is_full(void **unused)
{
    struct code_memory m;
    uint8_t *p, *last = NULL;
    unsigned n = 0;

    (void)unused;
    assert_int_equal(code_memory_create(&m, UINT64_C(1) << 20), ERR_OK);
    m.keep = m.used = 64;
    m.rw[5] = m.rw[3 * PAGE_SIZE] = 0xc3;
    assert_int_equal(m.rx[5], 0xc3);
    assert_ptr_equal(code_rw(&m, code_rx(&m, m.rw + 77)), m.rw + 77);
    for (; (p = code_memory_data(&m, 1000)); n++) {
        assert_true(!last || p >= last + 1000);
        assert_int_equal(p[0] | p[999], 0);
        memset(p, 0xee, 1000);
        last = p;
    }
    assert_true(n > m.data_size / 1100);
    code_memory_reset(&m);
    assert_int_equal(m.used, 64);
    assert_true(m.rx[5] == 0xc3 && !m.rx[3 * PAGE_SIZE]); /* kept; the host's again */
    p = code_memory_data(&m, 1000);
    assert_non_null(p);
    assert_int_equal(p[0] | p[999], 0);
    code_memory_destroy(&m);
}

/* --- windows --- */

/* May a window hold this page by this tag? */
static bool is_copied(const struct windows *w, unsigned window, uint64_t page, uint64_t tag)
{
    return (tag & PAGE_MASK) == page &&
           (half_of(page) || (tag & ~PAGE_MASK) == w->lower[window].view);
}

/* W1 for all entries; answers how many hold something. */
static unsigned check_windows(struct translate *t)
{
    struct windows *w = &t->windows;
    unsigned held = 0;

    for (unsigned k = 0; k <= WINDOWS; k++)
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            const struct window_entry *e = &w->window[k].entry[i];
            const uint64_t tags[2] = {e->read_tag, e->write_tag};
            const struct tlb_entry *found = NULL;

            for (unsigned a = 0; a < 2; a++) {
                if (tlb_index(tags[a], 0) != i) { /* an empty one: no address of i meets it */
                    assert_int_equal(tags[a], i ? 0 : PAGE_SIZE);
                    continue;
                }
                assert_true(k < WINDOWS);
                for (unsigned n = 0; n < TLB_ENTRIES; n++) {
                    uint64_t tag = a ? t->c.tlb[n].wtag : t->c.tlb[n].rtag;

                    if (is_copied(w, k, tags[a], tag) && t->c.tlb_copies[n] >> k & 1)
                        found = &t->c.tlb[n];
                }
                assert_non_null(found);
                assert_int_equal(e->host, tags[a] + found->addend);
                held++;
            }
        }
    return held;
}

/* Loads and stores in the 4 KiB pages at DATA, again and again. */
GUEST(walk_pages, 64,
      "mov $0x200000, %ebx\n mov $64, %ecx\n"
      "1: mov (%rbx), %rax\n inc %rax\n test $0x1000, %ebx\n jz 2f\n mov %rax, (%rbx)\n"
      "2: add $0x1000, %rbx\n dec %ecx\n jnz 1b");

static void windows_hold_what_the_tlb_holds(void **unused)
{
    struct guest g;
    struct translate *t;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    t = (struct translate *)g.vcpu;
    assert_int_equal(check_windows(t), 0);
    RUN(&g, walk_pages);
    assert_true(check_windows(t) >= 64 + 32);
    for (unsigned n = 0; n < 16; n++)
        mem_track_set(g.mem, gfn_make(DATA / PAGE_SIZE + n), MEM_TRACK_CODE);
    (void)check_windows(t); /* write protected there, and in the copies */
    put64(&g, PT + 8 * 20, 0);
    RUN(&g, walk_pages); /* loads of page 20 fault now */
    assert_int_equal(g.s.gpr[RDI], VEC_PF);
    (void)check_windows(t);
    tlb_flush_all(&t->c);
    assert_int_equal(check_windows(t), 0);
    guest_close(&g);
}

#define NOT_USER false
#define NO_AC    false

static void set_view(struct translate *t, uint32_t view)
{
    t->c.view[0] = view;
    t->c.view[1] = view;
}

/* More views than windows: what belonged to the oldest is gone, what is there is right. */
static void the_oldest_view_makes_room(void **unused)
{
    struct guest g;
    struct translate *t;
    struct window_view view;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    t = (struct translate *)g.vcpu;
    RUN(&g, walk_pages);
    view = windows_view(&t->c, NOT_USER, NO_AC);
    for (unsigned n = 0; n < 3 * WINDOWS; n++) {
        uint64_t lin = DATA + n * PAGE_SIZE;
        struct tlb_entry *e;

        set_view(t, (n + 9) << 2);
        windows_choose(&t->windows, &t->c);
        e = tlb_slot(&t->c, lin);
        tier_forget(&t->c, (unsigned)(e - t->c.tlb));
        *e = (struct tlb_entry){.rtag = tlb_want(&t->c, lin), .wtag = TLB_NO_TAG, .addend = n};
        windows_learn(&t->windows, &t->c, lin);
        assert_true(check_windows(t) > 0);
    }
    assert_int_equal(windows_find(&t->windows, &t->c, &view), -1);
    view.half[0] = 9u << 2;
    assert_int_equal(windows_find(&t->windows, &t->c, &view), -1);
    view.half[0] = t->c.view[0];
    assert_true(windows_find(&t->windows, &t->c, &view) >= 0);
    assert_int_equal(check_windows(t), WINDOWS);
    set_view(t, VIEW_SLOW);
    windows_choose(&t->windows, &t->c);
    windows_learn(&t->windows, &t->c, DATA);
    assert_int_equal(check_windows(t), WINDOWS);
    guest_close(&g);
}

/* --- UD2 --- */

/* Loops around a check that holds, and does not at last. */
GUEST(a_check, 64,
      "mov $1000, %ecx\n"
      "1: test %ecx, %ecx\n jnz 2f\n ud2\n"
      "2: dec %ecx\n jmp 1b");

static void code_with_checks_stays_native(void **unused)
{
    struct guest g;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    RUN(&g, a_check);
    assert_int_equal(g.s.gpr[RDI], VEC_UD);
    assert_int_equal(g.s.gpr[RCX], 0);
    assert_true(g.vcpu->ops->stats(g.vcpu)->native_entries < 100);
    guest_close(&g);
}

/* Interrupts off and back as they were, as a kernel does it around what is short. */
GUEST(flags_saved, 64,
      "mov $0x480000, %esp\n mov $1000, %ecx\n"
      "1: pushf\n cli\n std\n popf\n dec %ecx\n jnz 1b\n pushf\n pop %rbx");

static void saved_flags_come_back_in_native_code(void **unused)
{
    struct guest g;

    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    RUN(&g, flags_saved);
    assert_int_equal(g.s.gpr[RCX], 0);
    assert_int_equal(g.s.gpr[RBX] & (RFLAGS_DF | RFLAGS_IF), 0);
    assert_int_equal(g.s.gpr[RBX] & RFLAGS_ZF, RFLAGS_ZF);
    assert_true(g.vcpu->ops->stats(g.vcpu)->native_callouts < 100);
    guest_close(&g);
}

/* --- a cache that is too small --- */

/*
 * Writes functions of 16 additions behind each other, 3,000 of them, and calls each twice: more
 * than the least cache holds.
 */
GUEST(many_blocks, 64,
      "mov $0x400000, %edi\n mov %edi, %esi\n mov $3000, %ecx\n cld\n"
      "1: mov $16, %edx\n"
      "2: mov $0xc083, %eax\n stosw\n mov $1, %al\n stosb\n dec %edx\n jnz 2b\n"
      "mov $0xc3, %al\n stosb\n dec %ecx\n jnz 1b\n"
      "mov $2, %edx\n xor %eax, %eax\n"
      "3: mov $3000, %ecx\n mov %esi, %ebx\n"
      "4: call *%rbx\n add $49, %ebx\n dec %ecx\n jnz 4b\n dec %edx\n jnz 3b");

static void a_full_cache_is_dropped(void **unused)
{
    struct guest g;
    (void)unused;
    guest_open_on(&g, 64, "translate", true, 1);
    RUN(&g, many_blocks);
    assert_int_equal(g.s.gpr[RAX], 2 * 3000 * 16);
    assert_true(g.vcpu->ops->stats(g.vcpu)->cache_drops > 0);
    assert_true(g.vcpu->ops->stats(g.vcpu)->native_blocks > 3000);
    check_windows((struct translate *)g.vcpu);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_is_never_writable_and_executable),
        cmocka_unit_test(code_memory_is_handed_out_until_it_is_full),
        cmocka_unit_test(windows_hold_what_the_tlb_holds),
        cmocka_unit_test(the_oldest_view_makes_room),
        cmocka_unit_test(code_with_checks_stays_native),
        cmocka_unit_test(saved_flags_come_back_in_native_code),
        cmocka_unit_test(a_full_cache_is_dropped),
    };

    if (!engine_find("translate")) {
        printf("SKIP: %s\n", err_text());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
