/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of a VM that runs, where its swap file lies:
 *
 *     $XDG_STATE_HOME/umbra/NAME/NAME.vswp    else ~/.local/state/umbra/NAME/...
 *                                             else, for root, /var/lib/umbra/NAME/...
 *     DIR/NAME.vswp                           with --swap-dir DIR, which must be there
 *
 * A lock on the swap file says that its VM lives; it is gone with the process, however that ends.
 * The folder's lock is held only from the look at an old file until the new one is locked.
 */
#ifndef UMBRA_CONTROL_VM_FOLDER_H
#define UMBRA_CONTROL_VM_FOLDER_H

#include <stdbool.h>

#include "base/err.h"

#define VM_FOLDER_PATH_MAX 1024

/* Zero-initialise, with both descriptors -1. is_own: made for this VM, to be removed when empty. */
struct vm_folder {
    char dir[VM_FOLDER_PATH_MAX];
    char swap_file[VM_FOLDER_PATH_MAX + 80];
    int dir_fd, swap_fd;
    bool is_own;
};

#define VM_FOLDER_NONE ((struct vm_folder){.dir_fd = -1, .swap_fd = -1})

/*
 * Finds or makes the folder (mode 0700) and locks it. swap_dir: NULL for the VM's own. ERR_BUSY: a
 * VM of that name runs; ERR_INVAL: swap_dir cannot be used; ERR_IO: the folder cannot be made.
 */
enum err vm_folder_open(struct vm_folder *out, const char *name, const char *swap_dir) MUST_USE;

/* The swap file has been made: locks it, and lets go of the folder. */
enum err vm_folder_settle(struct vm_folder *folder) MUST_USE;

/* After the swap file was removed. Any state. */
void vm_folder_close(struct vm_folder *folder);

/* Removes what VMs that were killed have left: swap files that nobody holds, and empty folders. */
void vm_folder_sweep(void);

#endif
