/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small QMP client for qmp.sh: connects to a socket, sends each word as it is (no line end
 * added), prints what comes back after each until the server is quiet for a moment. A word ~TEXT is
 * not sent: it waits for that text instead. QMP_QUIET_MS in the environment: how long a moment is.
 * In the end it says that nothing more will come, and prints what does until the server closes: so
 * every answer is printed, however long the server takes. An event that may come later than that
 * has to be waited for.
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

enum came { CAME_BYTES, CAME_NOTHING, CAME_END };

/* Prints what comes within so many milliseconds. */
static enum came print_more(int fd, int limit_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char bytes[65536];
    ssize_t n;

    if (poll(&p, 1, limit_ms) <= 0)
        return CAME_NOTHING;
    n = read(fd, bytes, sizeof(bytes));
    if (n <= 0)
        return CAME_END;
    fwrite(bytes, 1, (size_t)n, stdout);
    remember(bytes, (size_t)n);
    return CAME_BYTES;
}

/* Prints what comes until `text` was seen since the beginning. False: it does not come. */
static int wait_for(int fd, const char *text)
{
    while (!strstr(seen, text)) {
        if (print_more(fd, WAIT_MS) != CAME_BYTES)
            return 0;
    }
    return 1;
}

static enum came print_while_it_comes(int fd, int limit_ms)
{
    enum came came;

    do {
        came = print_more(fd, limit_ms);
    } while (came == CAME_BYTES);
    return came;
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
    print_while_it_comes(fd, quiet_ms);
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] == '~') {
            if (!wait_for(fd, argv[i] + 1))
                return 1;
        } else if (send(fd, argv[i], strlen(argv[i]), MSG_NOSIGNAL) < 0 ||
                   print_while_it_comes(fd, quiet_ms) == CAME_END)
            break;
    }
    shutdown(fd, SHUT_WR);
    return print_while_it_comes(fd, WAIT_MS) == CAME_END ? 0 : 1;
}
