/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who of many VMs gets the host's memory: pure, no clock, no I/O, touches nothing. A manager feeds
 * it figures some times a second and hands what it answers to the VMs; each VM's own policy
 * (policy.h) then keeps its lease by share, balloon, compression and swap.
 *
 *   lease     host memory that a VM may hold; it never takes more without asking
 *   free      pool memory that is in nobody's hands
 *   price     rho = S / (P * (f + k * (1 - f))), k = 1 / (1 - tau)   [Waldspurger02 5.2]
 *             S shares, P pages held, f active fraction: memory moves from the lowest to the
 *             highest price; with tau = 75 % an idle page costs four times an active one
 *
 * Each VM has an entitlement: what it wants, or, when not all can have that, its part by equal
 * price, never under its minimum. Who holds more than that gives back as much as others miss.
 *
 * Invariants
 *   P1  the sum of max(held, lease) over all VMs never passes the pool, if the sum of what they
 *       held before did not
 *   P2  a VM is never asked for what would bring it under its minimum, whatever the figures say
 *   P3  what is asked back (held over lease) is at most 1.1 times the shortage
 *   P4  memory is asked only of VMs that hold more than their entitlement
 */
#ifndef UMBRA_MEM_POOL_POLICY_H
#define UMBRA_MEM_POOL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * By pool memory that is in no lease, in per mille: down at the threshold, up at one and a half of
 * it. The state selects the means by which VMs keep their leases (policy.h).
 *
 *   high   > 60   nothing but free page reporting; leases have some slack
 *   clear  > 40   also the scan for equal pages
 *   soft   > 20   also balloons
 *   hard   > 10   also compression and swapping, while the guest runs on
 *   low           also: a VM over its lease waits
 *
 * The reserve is in `hard`, and above it somebody is granted something at every decision. So where
 * VMs want more than there is, the pool goes down the ladder and stays in `hard`.
 */
enum pool_state { POOL_HIGH, POOL_CLEAR, POOL_SOFT, POOL_HARD, POOL_LOW, POOL_STATES };

const char *pool_state_name(enum pool_state state);

/* POOL_LOW for what is no name. */
enum pool_state pool_state_of_name(const char *name);

/*
 * All in pages.
 * minimum, maximum: lease bounds; minimum <= maximum
 * shares:           at least 1
 * held:             host memory that the VM holds now
 * active:           of these, used lately (measured by the VM's process, never the guest's word)
 * wanted:           what the VM would hold if it could: more than held when it met its lease
 * reclaimable:      what it could give by light means, as its process says
 * is_restarting, startup: for smart paging only
 * lease:            in: what is in force with the VM, 0: a newcomer. out: from now on; less than
 *                   held: give back that much
 * entitled:         out
 */
struct pool_vm {
    uint64_t minimum, maximum, shares;
    uint64_t held, active, wanted;
    uint64_t reclaimable, startup;
    bool is_restarting;
    uint64_t lease, entitled;
};

/*
 * tax_percent: tau, 0 to 99;  slack_pages: in `high` a VM may grow by so much before it has to ask
 */
struct pool_config {
    uint64_t pages;
    unsigned tax_percent;
    uint64_t slack_pages;
};

struct pool {
    struct pool_config config;
    enum pool_state state;
};

/*
 * free:      pool memory that nobody holds, before the decision
 * unleased:  pool memory that nobody may hold, after it
 * shortage:  pages that VMs are entitled to and the reserve misses, which are not free
 * asked:     pages asked back, in all
 */
struct pool_answer {
    uint64_t free, unleased, shortage, asked;
    enum pool_state state;
};

void pool_init(struct pool *pool, const struct pool_config *config);

/* Sets each VM's lease and entitlement. */
void pool_decide(struct pool *pool, struct pool_vm *vms, size_t count, struct pool_answer *answer);

/* rho at so many pages held; infinite for none. */
double pool_price(const struct pool *pool, const struct pool_vm *vm, uint64_t pages);

/*
 * May a VM of this minimum come in? All minimums together have to fit into the pool less its
 * reserve.
 */
bool pool_admits(const struct pool *pool, const struct pool_vm *vms, size_t count,
                 uint64_t minimum_pages);

/* Pages kept free: only minimums may use them. */
uint64_t pool_reserve(const struct pool *pool);

/*
 * Smart paging, exactly when all three hold: the VM is *re*starting, the pool has nothing free, and
 * nothing can be reclaimed elsewhere. All in pages, of which less than a MiB counts as nothing:
 * figures of different moments do not agree to the page.
 * is_restarting: a guest's reboot, `umbra restart`, or a start after the manager was restarted;
 *                never a cold start
 * free:          what could still be granted (the reserve is not free)
 * reclaimable:   what other VMs hold over their entitlements and could give by light means
 * missing:       startup size less what the VM has and is granted
 */
struct pool_smart_input {
    bool is_restarting;
    uint64_t free, reclaimable, missing;
};

/* For vms[which], after pool_decide. */
void pool_smart_look(const struct pool *pool, const struct pool_vm *vms, size_t count, size_t which,
                     struct pool_smart_input *out);

/* How many pages may go to the smart-paging file. */
uint64_t pool_smart_pages(const struct pool_smart_input *in);

#endif
