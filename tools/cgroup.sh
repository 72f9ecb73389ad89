# SPDX-License-Identifier: Apache-2.0
# Memory cgroups of version 1 or 2, for tests and measurements: sourced. Needs root or a delegated folder.

# cgroup_make NAME: sets $cgroup to a new group's folder; fails where that is not allowed
cgroup_make() {
    local own parent
    own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    if [ -n "$own" ]; then
        parent=/sys/fs/cgroup/memory
    else
        parent=/sys/fs/cgroup
        grep -qw memory "$parent/cgroup.subtree_control" 2> /dev/null || return 1
    fi
    cgroup=$parent/$1.$$
    mkdir "$cgroup" 2> /dev/null && [ -w "$cgroup/cgroup.procs" ] || { cgroup=''; return 1; }
}

# cgroup_limit FOLDER BYTES
cgroup_limit() {
    if [ -e "$1/memory.max" ]; then
        echo "$2" > "$1/memory.max"
    else
        echo "$2" > "$1/memory.limit_in_bytes"
    fi
}

# cgroup_exec FOLDER COMMAND...: becomes the command, inside the group
cgroup_exec() {
    local folder=$1
    shift
    echo "$BASHPID" > "$folder/cgroup.procs" && exec "$@"
}

# cgroup_bytes FOLDER: what it holds now, page cache of its files included, dirty pages too
cgroup_bytes() { cat "$1/memory.current" 2> /dev/null || cat "$1/memory.usage_in_bytes"; }

# cgroup_peak FOLDER: the most it ever held
cgroup_peak() { cat "$1/memory.peak" 2> /dev/null || cat "$1/memory.max_usage_in_bytes"; }

# its processes have ended; page cache that is left goes to the parent
cgroup_remove() {
    local i
    for i in 1 2 3 4 5 6 7 8 9 10; do
        rmdir "$1" 2> /dev/null && return
        sleep 0.1
    done
}
