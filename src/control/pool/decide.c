/* SPDX-License-Identifier: Apache-2.0 */
/* One decision of the manager: figures to the policy, leases to the members, words for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/u64.h"
#include "control/pool/manager_private.h"

void manager_collect(struct manager *m)
{
    m->count = 0;
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        struct record *r = &m->record[i];

        if (r->kind != RECORD_MEMBER)
            continue;
        r->vm.is_restarting = r->phase == PHASE_RESTARTING;
        m->of[m->count] = r;
        m->vms[m->count] = r->vm;
        m->vms[m->count++].lease = max_u64(r->sent_lease, r->acked_lease); /* G1 */
    }
}

/* ---- smart paging ---- */

/* What has begun goes on, with what is missing yet: memory that comes free is granted first. */
static void decide_smart(struct record *r, const struct pool_smart_input *in)
{
    if (!in->is_restarting)
        r->smart_allowed = 0;
    else if (r->smart_allowed)
        r->smart_allowed = in->missing < r->smart_allowed ? in->missing : r->smart_allowed;
    else
        r->smart_allowed = pool_smart_pages(in);
}

/* ---- words ---- */

static int explain_lease(const struct manager *m, struct record *r)
{
    const struct pool_vm *vm = &r->vm;

    if (vm->lease < vm->held)
        return snprintf(r->why, sizeof(r->why),
                        "gives back %" PRIu64 " of %" PRIu64 " MiB: %" PRIu64
                        " MiB are missing elsewhere and %" PRIu64 " MiB are its part",
                        manager_mib(vm->held - vm->lease), manager_mib(vm->held),
                        manager_mib(m->answer.shortage), manager_mib(vm->entitled));
    if (vm->wanted > vm->lease)
        return snprintf(r->why, sizeof(r->why),
                        "wants %" PRIu64 " MiB, has %" PRIu64 ": its part is %" PRIu64,
                        manager_mib(vm->wanted), manager_mib(vm->held), manager_mib(vm->entitled));
    return snprintf(r->why, sizeof(r->why), "has what it wants: %" PRIu64 " MiB",
                    manager_mib(vm->held));
}

static void explain(const struct manager *m, struct record *r, const struct pool_smart_input *in)
{
    size_t used = (size_t)explain_lease(m, r);
    char *rest = r->why + used;
    size_t room = sizeof(r->why) - used;

    if (!in->is_restarting || !in->missing)
        return;
    if (r->smart_allowed)
        snprintf(rest, room,
                 "; restarts with %" PRIu64 " MiB missing, nothing is free and nothing can be "
                 "reclaimed elsewhere: smart paging bridges them",
                 manager_mib(in->missing));
    else
        snprintf(rest, room,
                 "; restarts with %" PRIu64 " MiB missing, of which %" PRIu64
                 " MiB are free and %" PRIu64 " MiB can be reclaimed elsewhere",
                 manager_mib(in->missing), manager_mib(in->free), manager_mib(in->reclaimable));
}

/* ---- leases ---- */

static void send_lease(struct manager *m, struct record *r)
{
    bool is_news = !r->sent_seq || r->vm.lease != r->sent_lease ||
                   r->smart_allowed != r->smart_sent || m->pool.state != r->state_sent;

    if (!is_news || r->sent_seq != r->acked_seq) /* G2 */
        return;
    manager_step(m);
    r->sent_lease = r->vm.lease;
    r->smart_sent = r->smart_allowed;
    r->state_sent = m->pool.state;
    r->sent_seq++;
    pool_link_send(&r->link,
                   json_pack("{s:{s:I, s:I, s:I, s:b, s:s, s:s}}", "lease", "seq",
                             (json_int_t)r->sent_seq, "bytes",
                             (json_int_t)(r->sent_lease * PAGE_SIZE), "smart",
                             (json_int_t)(r->smart_sent * PAGE_SIZE), "restart", r->is_restart,
                             "state", pool_state_name(r->state_sent), "why", r->why));
}

void manager_decide(struct manager *m, uint64_t now_ns)
{
    enum pool_state before = m->pool.state;

    m->decided_ns = now_ns;
    m->is_urgent = false;
    if (now_ns < m->grace_until_ns) /* G3 */
        return;
    manager_collect(m);
    pool_decide(&m->pool, m->vms, m->count, &m->answer);
    for (size_t i = 0; i < m->count; i++) {
        struct record *r = m->of[i];
        struct pool_smart_input in;

        r->vm.lease = m->vms[i].lease;
        r->vm.entitled = m->vms[i].entitled;
        pool_smart_look(&m->pool, m->vms, m->count, i, &in);
        decide_smart(r, &in);
        explain(m, r, &in);
        send_lease(m, r);
    }
    if (m->pool.state != before)
        fprintf(stderr,
                "umbra: pool %s: %s, %" PRIu64 " of %" PRIu64 " MiB are free, %" PRIu64
                " MiB are missing\n",
                m->config.name, pool_state_name(m->pool.state), manager_mib(m->answer.free),
                manager_mib(m->pool.config.pages), manager_mib(m->answer.shortage));
}
