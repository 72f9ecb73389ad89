/* SPDX-License-Identifier: Apache-2.0 */
/* What the shadow MMU tells of accesses and tables, and how it is written down. */
#include "mmu_guest.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "control/trace_view.h"
#include "control/tracer.h"
#include "mmu/trace.h"

#define GVA UINT64_C(0x7f0000201000)

struct heard {
    unsigned count;
    struct mmu_trace_record last, all[64];
};

static void hear(void *arg, const struct mmu_trace_record *record)
{
    struct heard *h = arg;

    h->last = *record;
    h->all[h->count++ % 64] = *record;
}

static void assert_event(const struct heard *h, enum mmu_trace_event event, unsigned steps)
{
    assert_int_equal(h->last.event, event);
    assert_int_equal(h->last.steps, steps);
    for (unsigned i = 0; i < steps; i++)
        assert_true(h->last.at[i] <= h->last.at[i + 1]);
}

static void tells_each_kind(void **state)
{
    struct guest g;
    struct heard h = {0};
    const struct mmu_trace all = {.arg = &h, .mask = UINT32_MAX, .tell = hear};

    (void)state;
    guest_open(&g, 16u << 20, false);
    guest_long_mode(&g);
    map4(&g, GVA, 0x300000 | PWU);
    map4(&g, GVA + 0x1000, 0x301000 | P_);
    map4(&g, GVA + 0x2000, UINT64_C(0xfee00000) | PWU);
    mmu_set_trace(g.mmu, &all);

    go(&g, GVA + 8, MMU_READ, USER);
    assert_event(&h, MMU_TRACE_hidden_missing, 7);
    assert_int_equal(h.last.gva.v, GVA + 8);
    assert_int_equal(h.last.gfn.v, 0x300);
    assert_int_equal(h.last.before, PAGE_ABSENT);
    assert_int_equal(h.last.after, PAGE_ZERO);
    assert_int_equal(h.last.error_code, PF_U);
    assert_true(h.last.set && h.last.user && h.last.may_read && !h.last.may_write);
    go(&g, GVA, MMU_READ, USER);
    assert_event(&h, MMU_TRACE_hit, 2);
    go(&g, GVA, MMU_WRITE, USER);
    assert_event(&h, MMU_TRACE_hidden_dirty, 7);
    assert_int_equal(h.last.after, PAGE_RESIDENT);
    assert_true(h.last.may_write);
    go(&g, GVA + 0x1000, MMU_READ, USER);
    assert_event(&h, MMU_TRACE_true_protection, 4);
    assert_int_equal(h.last.error_code, PF_P | PF_U);
    go(&g, GVA + 0x5000, MMU_FETCH, USER);
    assert_event(&h, MMU_TRACE_true_not_present, 4);
    assert_int_equal(h.last.error_code, PF_U | PF_I);
    assert_int_equal(h.last.level, 1);
    go(&g, GVA + 0x2000, MMU_READ, SUP);
    assert_event(&h, MMU_TRACE_device, 7);
    mem_track_set(g.mem, gfn_make(0x300), MEM_TRACK_CODE);
    go(&g, GVA, MMU_WRITE, USER);
    assert_int_equal(h.last.event, MMU_TRACE_hidden_tracked);

    mmu_invlpg(g.mmu, gva_make(GVA));
    assert_event(&h, MMU_TRACE_flush_invlpg, 0);
    assert_int_equal(h.last.gva.v, GVA);
    mmu_invpcid(g.mmu, 2, 0, gva_make(0));
    assert_event(&h, MMU_TRACE_flush_invpcid, 0);
    enter(&g, MMU_SWITCH_FLUSH);
    assert_event(&h, MMU_TRACE_switch_cr3, 0);
    assert_int_equal(h.last.new_value, g.ctx.cr3);

    mmu_set_trace(g.mmu, NULL);
    unsigned before = h.count;
    go(&g, GVA, MMU_READ, USER);
    mmu_invlpg(g.mmu, gva_make(GVA));
    assert_int_equal(h.count, before);
    guest_close(&g);
}

static void the_mask_chooses(void **state)
{
    struct guest g;
    struct heard h = {0};
    const struct mmu_trace only = {.arg = &h, .mask = tracer_events_named("true"), .tell = hear};

    (void)state;
    guest_open(&g, 16u << 20, false);
    guest_long_mode(&g);
    map4(&g, GVA, 0x300000 | PWU);
    mmu_set_trace(g.mmu, &only);
    go(&g, GVA, MMU_READ, USER);
    mmu_invlpg(g.mmu, gva_make(GVA));
    assert_int_equal(h.count, 0);
    go(&g, GVA + 0x1000, MMU_READ, USER);
    assert_int_equal(h.count, 1);
    mmu_set_trace(g.mmu, NULL);
    guest_close(&g);
}

static void names_of_events(void **state)
{
    const uint32_t three = MMU_TRACE_BIT(true_not_present) | MMU_TRACE_BIT(true_protection) |
                           MMU_TRACE_BIT(true_reserved);

    (void)state;
    assert_int_equal(tracer_events_named("hit"), MMU_TRACE_BIT(hit));
    assert_int_equal(tracer_events_named("true"), three);
    assert_int_equal(tracer_events_named("true_reserved"), MMU_TRACE_BIT(true_reserved));
    assert_int_equal(tracer_events_named("true_"), 0);
    assert_int_equal(tracer_events_named("tru"), 0);
    assert_int_equal(tracer_events_named(""), 0);
    assert_int_equal(tracer_events_named("all"), (1u << MMU_TRACE_COUNT) - 1);
    assert_false(tracer_filter_default().events & MMU_TRACE_BIT(hit));
}

/* The largest record that there can be of each event: valid JSON within its bound. */
static void every_event_is_valid_json(void **state)
{
    struct mmu_trace_record r;
    char buf[TRACER_RECORD_BYTES];

    (void)state;
    for (unsigned event = 0; event < MMU_TRACE_COUNT; event++) {
        memset(&r, 0xff, sizeof r);
        r.old_value = r.new_value = INT64_MAX;
        r.event = (uint8_t)event;
        r.user = false;
        r.implicit = r.has_gfn = r.set = r.may_read = r.may_write = r.may_exec = true;
        r.before = r.after = PAGE_RESIDENT;
        r.steps = MMU_TRACE_ACCESSES >> event & 1 ? MMU_STEP_COUNT : 0;
        for (unsigned i = 0; i <= MMU_STEP_COUNT; i++)
            r.at[i] = UINT64_MAX / 4 + i * (UINT64_MAX / 64);
        size_t length = tracer_format(&r, 1, 1000000, buf, sizeof buf);
        assert_true(length < sizeof buf);
        json_t *object = json_loadb(buf, length, JSON_REJECT_DUPLICATES, NULL);
        if (!object)
            fail_msg("event %u: %s", event, buf);
        assert_non_null(json_object_get(object, "event"));
        FILE *null = fopen("/dev/null", "w");
        trace_print(object, null);
        fclose(null);
        json_decref(object);
    }
}

static json_t *sample(void)
{
    struct mmu_trace_record r = {.event = MMU_TRACE_hidden_missing,
                                 .steps = MMU_STEP_COUNT,
                                 .kind = MMU_WRITE,
                                 .user = true,
                                 .gva = {0x401000},
                                 .gfn = {0x300},
                                 .hva = {0x7f0000300000},
                                 .has_gfn = true,
                                 .set = true,
                                 .level = 1,
                                 .error_code = 6,
                                 .before = PAGE_ABSENT,
                                 .after = PAGE_RESIDENT,
                                 .may_read = true,
                                 .may_write = true,
                                 .cr3 = 0x10000};
    char buf[TRACER_RECORD_BYTES];

    for (unsigned i = 0; i <= MMU_STEP_COUNT; i++)
        r.at[i] = 1000 + 1234567 + i * i * 7;
    size_t length = tracer_format(&r, 1000, 1000000, buf, sizeof buf);
    return json_loadb(buf, length, 0, NULL);
}

static void in_words(void **state)
{
    json_t *record = sample();
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    trace_print(record, f);
    fclose(f);
    assert_string_equal(text, "   0.001234567  hidden fault: no shadow entry                       "
                              " write user     0x401000"
                              "            CR3 0x10000\n"
                              "                exit 7, enter_handler 21, read_cause 35 (error code "
                              "0x06), walk_guest 49 (GFN 0x300 by "
                              "level 1), find_slot 63 (HVA 0x7f0000300000), make_resident 77 "
                              "(absent -> resident), set_entry 91 (rw-); "
                              "343 ns in all\n");
    free(text);
    json_decref(record);
}

/* Slices nest strictly: each step lies within its access, one after the other. */
static void for_a_trace_viewer(void **state)
{
    char path[] = "/tmp/umbra_trace_XXXXXX";
    struct trace_chrome chrome = {0};
    json_t *record = sample();
    double begin = 0, end = 0, at = 0;
    unsigned slices = 0;

    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(trace_chrome_open(&chrome, path, "vm"), ERR_OK);
    trace_chrome_add(&chrome, record);
    trace_chrome_add(&chrome, record);
    assert_int_equal(trace_chrome_close(&chrome), ERR_OK);
    json_t *whole = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    unlink(path);
    assert_non_null(whole);
    json_t *events = json_object_get(whole, "traceEvents"), *event;
    size_t i;
    json_array_foreach(events, i, event)
    {
        if (strcmp(json_string_value(json_object_get(event, "ph")), "X"))
            continue;
        double ts = json_real_value(json_object_get(event, "ts"));
        double dur = json_real_value(json_object_get(event, "dur"));
        if (!strcmp(json_string_value(json_object_get(event, "cat")), "access")) {
            begin = at = ts;
            end = ts + dur;
        } else {
            assert_true(ts >= begin && ts >= at - 1e-9 && ts + dur <= end + 1e-9);
            at = ts + dur;
        }
        slices++;
    }
    assert_int_equal(slices, 2 * (1 + MMU_STEP_COUNT));
    json_decref(whole);
    json_decref(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_each_kind), cmocka_unit_test(the_mask_chooses),
        cmocka_unit_test(names_of_events), cmocka_unit_test(every_event_is_valid_json),
        cmocka_unit_test(in_words),        cmocka_unit_test(for_a_trace_viewer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
