/* SPDX-License-Identifier: Apache-2.0 */
/* Where things of a user lie: control sockets of running VMs, the cached guest. */
#ifndef UMBRA_CONTROL_PATHS_H
#define UMBRA_CONTROL_PATHS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define NAME_MAX_BYTES  64
#define SOCKET_PATH_MAX 108 /* sun_path of unix(7) */

/*
 * A VM's name: letters, digits, '.', '_' and '-', not starting with '.' or '-'. ERR_INVAL says so.
 */
enum err paths_check_name(const char *name) MUST_USE;

/*
 * The folder of control sockets: $XDG_RUNTIME_DIR/umbra; without that variable /run/umbra for root
 * and /tmp/umbra-UID for others. Only a folder of our own that nobody else can enter is accepted.
 * create: make it when it is not there; otherwise ERR_NOTFOUND.
 */
enum paths_create { PATHS_MUST_EXIST, PATHS_CREATE };
enum err paths_socket_dir(char *buf, size_t buf_bytes, enum paths_create create) MUST_USE;

/* "DIR/NAME.sock"; ERR_INVAL when that is too long for a socket's address. */
enum err paths_socket(char *buf, size_t buf_bytes, const char *dir, const char *name) MUST_USE;

/* The socket of the manager of pool `name`: "DIR/NAME.pool"; the name is checked as a VM's is. */
enum err paths_pool_socket(char *buf, size_t buf_bytes, const char *name,
                           enum paths_create create) MUST_USE;

/*
 * Calls `found` with the name of each VM ("NAME.sock") or pool ("NAME.pool") that has a socket, in
 * alphabetic order, whether somebody listens there or not. No folder of sockets: none.
 */
enum err paths_each_socket(const char *ending, void (*found)(void *arg, const char *name),
                           void *arg) MUST_USE;

/*
 * The folder of what outlives a host's restart: $XDG_STATE_HOME/umbra, else ~/.local/state/umbra,
 * else, for root, /var/lib/umbra. ERR_INVAL: nothing names one, or it is too long.
 */
enum err paths_state_dir(char *buf, size_t buf_bytes) MUST_USE;

/* Makes every folder on the way; those that are made are closed to others. ERR_IO. */
enum err paths_make(const char *path) MUST_USE;

/*
 * A file of the cached guest: ${XDG_CACHE_HOME:-~/.cache}/umbra/guest/FILE. ERR_NOTFOUND: no home
 * folder.
 */
enum err paths_guest_file(char *buf, size_t buf_bytes, const char *file) MUST_USE;

#endif
