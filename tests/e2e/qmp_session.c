/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small QMP client for qmp.sh: connects to a socket, sends each word as it is (no line end
 * added), prints what comes back after each until the server is quiet for a moment. A word ~TEXT is
 * not sent: it waits for that text instead. QMP_QUIET_MS in the environment: how long a moment is.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUIET_MS 400
#define WAIT_MS  60000

/*
 * The last that came, for words that wait: a message that lies across two reads is found, too.
 */
static char seen[2 * 65536 + 1];

static void remember(const char *bytes, size_t n)
{
    size_t used = strlen(seen), keep = sizeof(seen) - 1 - n < used ? sizeof(seen) - 1 - n : used;

    memmove(seen, seen + used - keep, keep);
    memcpy(seen + keep, bytes, n);
    seen[keep + n] = '\0';
}

/* Prints what comes until `text` was seen since the beginning. False: it does not come. */
static int wait_for(int fd, const char *text)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char bytes[65536];

    while (!strstr(seen, text)) {
        ssize_t n = poll(&p, 1, WAIT_MS) > 0 ? read(fd, bytes, sizeof(bytes)) : 0;

        if (n <= 0)
            return 0;
        fwrite(bytes, 1, (size_t)n, stdout);
        remember(bytes, (size_t)n);
    }
    return 1;
}

/* False when the server has closed. */
static int print_answers(int fd, int quiet_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char bytes[65536];

    while (poll(&p, 1, quiet_ms) > 0) {
        ssize_t n = read(fd, bytes, sizeof(bytes));

        if (n <= 0)
            return 0;
        fwrite(bytes, 1, (size_t)n, stdout);
        remember(bytes, (size_t)n);
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *quiet = getenv("QMP_QUIET_MS");
    int quiet_ms = quiet ? atoi(quiet) : QUIET_MS;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (argc < 2 || fd < 0 || strlen(argv[1]) >= sizeof(address.sun_path))
        return 2;
    strcpy(address.sun_path, argv[1]);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return 2;
    print_answers(fd, quiet_ms);
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] == '~') {
            if (!wait_for(fd, argv[i] + 1))
                return 1;
        } else if (send(fd, argv[i], strlen(argv[i]), MSG_NOSIGNAL) < 0 ||
                   !print_answers(fd, quiet_ms))
            break;
    }
    close(fd);
    return 0;
}
