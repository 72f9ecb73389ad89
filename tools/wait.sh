# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts that wait for something that happens by itself.
# The seconds are a guard against waiting for ever, nothing more; a script that may run on a machine
# with much other work sets patience, by which they are multiplied.

wait_for() { # SECONDS COMMAND...: until it holds
    local end=$((SECONDS + $1 * ${patience:-1}))
    shift
    until "$@" 2> /dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
