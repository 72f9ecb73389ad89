/* SPDX-License-Identifier: Apache-2.0 */
/* Orders, and the slices of work that fulfil them. */
#include "mem/internal.h"

void mem_set_orders(struct guest_mem *mem, const struct mem_orders *orders)
{
    mem->orders = *orders;
    mem->trigger_pages =
        orders->limit_bytes == UINT64_MAX ? UINT64_MAX : orders->limit_bytes >> PAGE_SHIFT;
}

void mem_set_pressure_hook(struct guest_mem *mem, void (*hook)(void *arg), void *arg)
{
    mem->pressure_hook = hook;
    mem->pressure_arg = arg;
}

uint64_t mem_service(struct guest_mem *mem, uint64_t now_ns, uint64_t budget_ns)
{
    (void)now_ns;
    (void)budget_ns;
    mem->pressure_told = false;
    discard_flush(mem);
    return UINT64_MAX;
}

uint64_t mem_host_bytes(const struct guest_mem *mem)
{
    return mem_own_pages(mem) << PAGE_SHIFT;
}
