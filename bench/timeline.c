/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeline COMMAND [ARG...]: runs COMMAND with standard input closed and prints each line of its output behind the
 * milliseconds since its start. Ends with the command's exit status.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    int out[2];
    if (argc < 2 || pipe(out) != 0) {
        fprintf(stderr, "usage: timeline COMMAND [ARG...]\n");
        return 2;
    }
    uint64_t start = now_us();
    pid_t child = fork();
    if (child < 0) {
        perror("timeline: fork");
        return 4;
    }
    if (child == 0) {
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0)
            dup2(null, STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    char line[4096];
    while (in && fgets(line, sizeof line, in)) {
        uint64_t us = now_us() - start;
        printf("%llu.%03llu %s", (unsigned long long)(us / 1000), (unsigned long long)(us % 1000), line);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}
