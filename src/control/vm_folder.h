/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of a VM that runs, where its swap file lies:
 *
 *     $XDG_STATE_HOME/umbra/NAME/NAME.vswp    else ~/.local/state/umbra/NAME/...
 *                                             else, for root, /var/lib/umbra/NAME/...
 *     DIR/NAME.vswp                           with --swap-dir DIR, which must be there
 *
 * Beside it, or in the folder of --smart-paging-dir, NAME.smart while a restart is bridged.
 *
 * A lock on the swap file (mem/store/swap.h) says that its VM lives. The folder's own lock is held
 * from its making until the file in it is locked, so that nobody sweeps it away in between.
 */
#ifndef UMBRA_CONTROL_VM_FOLDER_H
#define UMBRA_CONTROL_VM_FOLDER_H

#include <stdbool.h>

#include "base/err.h"

#define VM_FOLDER_PATH_MAX 1024

/* is_own: made for this VM, to be removed when empty;  dir_fd: holds the folder's lock, or -1 */
struct vm_folder {
    char dir[VM_FOLDER_PATH_MAX];
    char swap_file[VM_FOLDER_PATH_MAX + 80];
    char smart_file[VM_FOLDER_PATH_MAX + 80];
    int dir_fd;
    bool is_own;
};

#define VM_FOLDER_NONE ((struct vm_folder){.dir_fd = -1})

/*
 * Finds or makes the folder (mode 0700) and locks it. swap_dir: NULL for the VM's own. ERR_BUSY: a
 * VM of that name runs; ERR_INVAL: swap_dir cannot be used; ERR_IO: the folder cannot be made.
 */
enum err vm_folder_open(struct vm_folder *out, const char *name, const char *swap_dir) MUST_USE;

/*
 * Chooses the smart-paging file's path after vm_folder_open. smart_dir: NULL for the same folder.
 * ERR_INVAL: smart_dir cannot be used.
 */
enum err vm_folder_smart(struct vm_folder *folder, const char *name,
                         const char *smart_dir) MUST_USE;

/* The swap file has been made and locked: lets go of the folder. Any state. */
void vm_folder_settle(struct vm_folder *folder);

/* After the swap file was removed. Any state. */
void vm_folder_close(struct vm_folder *folder);

/* Removes what VMs that were killed have left: swap files that nobody holds, and empty folders. */
void vm_folder_sweep(void);

#endif
