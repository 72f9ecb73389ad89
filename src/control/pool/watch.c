/* SPDX-License-Identifier: Apache-2.0 */
/* What viewers (umbra top) are told: a line for each member, then one of the pool. */
#include "base/addr.h"
#include "control/pool/manager_private.h"

static json_int_t bytes_of(uint64_t pages)
{
    return (json_int_t)(pages * PAGE_SIZE);
}

static json_t *pool_to_json(const struct manager *m)
{
    const struct pool_answer *a = &m->answer;

    return json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:i, s:I}", "name", m->config.name, "bytes",
                     bytes_of(m->pool.config.pages), "state", pool_state_name(m->pool.state),
                     "free", bytes_of(a->free), "shortage", bytes_of(a->shortage), "asked",
                     bytes_of(a->asked), "tax", (int)m->config.tax_percent, "members",
                     (json_int_t)m->count);
}

static void tell(struct manager *m, struct record *viewer)
{
    for (size_t i = 0; i < m->count; i++)
        pool_link_send(&viewer->link, json_pack("{s:o}", "member", record_to_json(m->of[i])));
    pool_link_send(&viewer->link, json_pack("{s:o}", "pool", pool_to_json(m)));
}

void watch_tell(struct manager *m, uint64_t now_ns)
{
    if (now_ns - m->told_ns < PERIOD_NS)
        return;
    m->told_ns = now_ns;
    manager_collect(m);
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        struct record *r = &m->record[i];

        /* One that reads slowly misses pictures, not parts of them. */
        if (r->kind == RECORD_VIEWER && !r->link.out_used)
            tell(m, r);
    }
}
