/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small QMP client for qmp.sh: connects to a socket, sends each word as it is (no line end
 * added), prints what comes back after each until the server is quiet for a moment.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUIET_MS 400

/* False when the server has closed. */
static int print_answers(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char bytes[65536];

    while (poll(&p, 1, QUIET_MS) > 0) {
        ssize_t n = read(fd, bytes, sizeof(bytes));

        if (n <= 0)
            return 0;
        fwrite(bytes, 1, (size_t)n, stdout);
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (argc < 2 || fd < 0 || strlen(argv[1]) >= sizeof(address.sun_path))
        return 2;
    strcpy(address.sun_path, argv[1]);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return 2;
    print_answers(fd);
    for (int i = 2; i < argc; i++) {
        if (send(fd, argv[i], strlen(argv[i]), MSG_NOSIGNAL) < 0 || !print_answers(fd))
            break;
    }
    close(fd);
    return 0;
}
