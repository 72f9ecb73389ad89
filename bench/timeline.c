/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeline [-i] COMMAND [ARG...]: runs COMMAND with empty standard input (-i: its own) and prints
 * each line of its output behind two numbers: milliseconds since its start, and milliseconds of
 * processor time that COMMAND has used (all its threads, and its children). At its end a last line,
 * "end-of-run". Ends with the command's exit status.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double used_ms(pid_t process)
{
    clockid_t cpu;

    return clock_getcpuclockid(process, &cpu) ? 0 : now_ms(cpu);
}

/* Of the children that live; those of any of its threads. */
static double children_ms(pid_t process)
{
    char path[300];
    struct dirent *entry;
    double sum = 0;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        FILE *children;
        int child;

        snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)process, entry->d_name);
        children = fopen(path, "r");
        while (children && fscanf(children, "%d", &child) == 1)
            sum += used_ms(child);
        if (children)
            fclose(children);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

int main(int argc, char **argv)
{
    int out[2];
    int own_input = argc > 1 && !strcmp(argv[1], "-i");
    argv += own_input, argc -= own_input;
    if (argc < 2 || pipe(out) != 0) {
        fprintf(stderr, "usage: timeline [-i] COMMAND [ARG...]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    double start = now_ms(CLOCK_MONOTONIC);
    pid_t child = fork();
    if (child < 0) {
        perror("timeline: fork");
        return 4;
    }
    if (child == 0) {
        int null = own_input ? -1 : open("/dev/null", O_RDONLY);
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
    clockid_t cpu;
    char line[4096];
    if (!in || clock_getcpuclockid(child, &cpu) != 0) {
        fprintf(stderr, "timeline: no clock of the command's processor time\n");
        return 4;
    }
    while (fgets(line, sizeof line, in))
        printf("%.3f %.3f %s", now_ms(CLOCK_MONOTONIC) - start, now_ms(cpu) + children_ms(child),
               line);
    int status = 0;
    struct rusage usage;
    wait4(child, &status, 0, &usage);
    printf("%.3f %.3f end-of-run\n", now_ms(CLOCK_MONOTONIC) - start,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-3);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}
