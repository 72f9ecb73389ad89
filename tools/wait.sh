# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts that wait for something that happens by itself.

wait_for() { # SECONDS COMMAND...: until it holds
    local end=$((SECONDS + $1))
    shift
    until "$@" 2> /dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
