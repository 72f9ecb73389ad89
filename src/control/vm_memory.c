/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a VM: disk images, the swap file and the smart-paging file. */
#include "vm_private.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/aio.h"

/* Of all disks together; what a guest has in flight beyond that waits. */
#define DISK_AIO_DEPTH 128

#define LIMIT_BASE (UINT64_C(64) << 20)

uint64_t vm_least_limit(uint64_t memory_bytes)
{
    return LIMIT_BASE + (memory_bytes / 64 >> 20 << 20);
}

static const struct aio_faults *faults_of(const struct inject_list *list, struct aio_faults *faults)
{
    *faults = (struct aio_faults){.fault = list->fault, .count = list->count};
    return list->count ? faults : NULL;
}

enum err vm_open_disks(struct vm *vm, struct board_config *config)
{
    size_t count = vm->config.disk_count;
    enum err err;

    config->disk_count = 0;
    if (!count)
        return ERR_OK;
    err = aio_create(&vm->disk_aio, DISK_AIO_DEPTH,
                     faults_of(&vm->config.inject.disk, &vm->disk_faults));
    while (!err && config->disk_count < count) {
        const struct vm_disk *disk = &vm->config.disks[config->disk_count];

        err = disk_open(&config->disks[config->disk_count], disk->path, disk->read_only,
                        vm->disk_aio);
        if (!err)
            config->disk_count++;
    }
    while (err && config->disk_count)
        disk_close(config->disks[--config->disk_count]);
    config->disk_aio = vm->disk_aio;
    return err;
}

static uint64_t compress_bytes(const struct vm_config *config)
{
    if (config->compress_bytes != VM_ANY)
        return config->compress_bytes;
    if (config->limit_bytes < config->memory_bytes)
        return config->limit_bytes / 8 * 5;
    return config->memory_bytes / 4;
}

enum err vm_open_stores(struct vm *vm)
{
    struct mem_store_config config = {
        .bytes = vm->config.memory_bytes - vm->config.reservation_bytes,
        .compress_bytes = compress_bytes(&vm->config),
        .faults = faults_of(&vm->config.inject.swap, &vm->swap_faults),
        .smart_faults = faults_of(&vm->config.inject.smart, &vm->smart_faults),
    };
    enum err err = ERR_OK;

    if (config.bytes || vm->config.smart_limit_ns)
        err = vm_folder_open(&vm->folder, vm->config.name, vm->config.swap_dir);
    if (config.bytes)
        config.path = vm->folder.swap_file;
    if (!err && vm->config.smart_limit_ns) {
        err = vm_folder_smart(&vm->folder, vm->config.name, vm->config.smart_dir);
        config.smart_path = vm->folder.smart_file;
    }
    if (!err)
        err = mem_stores_open(vm->mem, &config);
    vm_folder_settle(&vm->folder);
    mem_set_pressure_hook(vm->mem, vm_memory_pressure, vm);
    return err;
}

/* After board and memory, whose files these were. */
void vm_close_files(struct vm *vm)
{
    aio_destroy(vm->disk_aio);
    vm_folder_close(&vm->folder);
}

const char *vm_swap_path(const struct vm *vm)
{
    return vm->folder.swap_file;
}

const char *vm_smart_path(struct vm *vm)
{
    struct mem_store_info info;

    mem_store_info(vm->mem, &info);
    return info.has_smart_file ? vm->folder.smart_file : "";
}
