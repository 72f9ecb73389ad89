/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <unistd.h>

#include "control/cli/command.h"

/*
 * A descriptor that the caller closed would be given to the next file we open, and then be written
 * to as standard output. A closed one becomes /dev/null opened for reading: input ends at once,
 * output fails loudly.
 */
static void hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
            return;
    }
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    return cli_main(argc, argv);
}
