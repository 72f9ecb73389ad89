/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "control/compare/run.h"

/* False: no memory. */
static bool make_room(void **list, size_t *room, size_t count, size_t each)
{
    size_t want = *room ? *room * 2 : 256;
    void *bigger;

    if (count < *room)
        return true;
    bigger = realloc(*list, want * each);
    if (!bigger)
        return false;
    *list = bigger;
    *room = want;
    return true;
}

bool compare_add_sample(struct compare_run *run, const struct compare_sample *sample)
{
    void *list = run->samples;
    bool fits = make_room(&list, &run->sample_room, run->sample_count, sizeof(*sample));

    run->samples = list;
    if (fits)
        run->samples[run->sample_count++] = *sample;
    return fits;
}

bool compare_add_tick(struct compare_run *run, double at_s, uint64_t done)
{
    void *list = run->ticks;
    bool fits = make_room(&list, &run->tick_room, run->tick_count, sizeof(*run->ticks));

    run->ticks = list;
    if (fits)
        run->ticks[run->tick_count++] = (struct compare_tick){at_s, done};
    return fits;
}

void compare_run_fini(struct compare_run *run)
{
    free(run->samples);
    free(run->ticks);
    run->samples = NULL;
    run->ticks = NULL;
}

static uint64_t number(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

void compare_sample_take(const json_t *memory, double at_s, struct compare_sample *out)
{
    const json_t *pages = json_object_get(memory, "pages");
    const json_t *flows = json_object_get(memory, "flows");
    const json_t *disks = json_object_get(memory, "disks");
    const json_t *swap = json_object_get(json_array_get(disks, 0), "counters");
    const json_t *disk = json_object_get(json_array_get(disks, 1), "counters");

    *out = (struct compare_sample){
        .at_s = at_s,
        .process = number(memory, "process_bytes"),
        .host = number(memory, "host_bytes"),
        .file_read = number(flows, "swap_read_bytes") + number(flows, "image_read_bytes") +
                     number(flows, "smart_read_bytes"),
        .file_write = number(flows, "swap_write_bytes") + number(flows, "smart_write_bytes"),
        .smart_write = number(flows, "smart_write_bytes"),
        .smart_file_ns = number(flows, "smart_file_ns"),
        .swap_read = number(swap, "read_bytes"),
        .swap_write = number(swap, "write_bytes"),
        .disk_read = number(disk, "read_bytes"),
        .disk_write = number(disk, "write_bytes"),
    };
    for (unsigned i = 0; i < PAGE_STATES; i++)
        out->pages[i] = number(pages, page_state_name(i)) * PAGE_SIZE;
}
