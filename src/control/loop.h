/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of `umbra run`: standard input and output, signals, the VM's timer and wake-ups,
 * the control socket. One thread; the only blocking call is poll().
 */
#ifndef UMBRA_CONTROL_LOOP_H
#define UMBRA_CONTROL_LOOP_H

#include "base/err.h"
#include "control/api/qmp_server.h"
#include "control/pool/member.h"
#include "control/terminal.h"
#include "control/vm.h"

/*
 * server, member:  NULL: none
 * ended_by_signal: the number of the signal that ended the run, else 0
 * Returns when the VM has ended and its output is written. An error is a failure of our own (the VM
 * is stopped then, too), such as a console that nobody reads any more.
 */
enum err loop_run(struct vm *vm, struct qmp_server *server, struct member *member,
                  struct terminal *terminal, int *ended_by_signal) MUST_USE;

/* Blocks the signals that the loop takes through a descriptor; before any thread is made. */
void loop_block_signals(void);

/*
 * True when `fd` is a file that can be read at any moment without waiting: a regular file or
 * /dev/null.
 */
bool loop_is_plain_file(int fd);

#endif
