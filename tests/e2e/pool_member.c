/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM of a pool as its manager sees one (docs/pool.md), that holds and says what it is told to:
 *
 *   pool_member SOCKET NAME HELD MINIMUM RECLAIMABLE     in MiB
 *
 * It never gives anything back, and ends with its connection. "lease N" on standard output: what it
 * was granted, in MiB.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REPORT_MS 100

struct member {
    FILE *to, *from;
    unsigned long long held, minimum, reclaimable; /* bytes */
    unsigned long long lease, seq;
};

static void report(struct member *m)
{
    fprintf(m->to,
            "{\"report\": {\"seq\": %llu, \"held\": %llu, \"active\": 0, \"wanted\": %llu, "
            "\"lease\": %llu, \"reclaimable\": %llu, \"smart\": 0, \"phase\": \"running\"}}\n",
            m->seq, m->held, m->held, m->lease, m->reclaimable);
    fflush(m->to);
}

/* The number after "key":, 0 when there is none. */
static unsigned long long number(const char *text, const char *key)
{
    char quoted[32];

    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    const char *at = strstr(text, quoted);
    return at ? strtoull(at + strlen(quoted), NULL, 10) : 0;
}

static void take(struct member *m, const char *line)
{
    if (!strstr(line, "\"lease\"")) {
        fputs(line, stderr);
        exit(1);
    }
    m->lease = number(line, "bytes");
    m->seq = number(line, "seq");
    printf("lease %llu\n", m->lease >> 20);
    fflush(stdout);
    report(m);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct member m = {0};
    char line[2048];

    if (argc != 6 || fd < 0)
        return 2;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1]);
    m.held = strtoull(argv[3], NULL, 10) << 20;
    m.minimum = strtoull(argv[4], NULL, 10) << 20;
    m.reclaimable = strtoull(argv[5], NULL, 10) << 20;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
        perror(argv[1]);
        return 1;
    }
    m.to = fdopen(dup(fd), "w");
    m.from = fdopen(fd, "r");
    if (!m.to || !m.from)
        return 1;
    setvbuf(m.from, NULL, _IONBF, 0); /* so that poll sees what is there */
    fprintf(m.to,
            "{\"join\": {\"name\": \"%s\", \"uuid\": \"\", \"pid\": %d, \"minimum\": %llu, "
            "\"maximum\": %llu, \"startup\": %llu, \"shares\": 1, \"lease\": %llu}}\n",
            argv[2], (int)getpid(), m.minimum, m.held, m.held, m.held);
    fflush(m.to);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (poll(&p, 1, REPORT_MS) > 0) {
            if (!fgets(line, sizeof(line), m.from))
                return 0;
            take(&m, line);
        } else {
            report(&m);
        }
    }
}
