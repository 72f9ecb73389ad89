/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory owner: a static program for any Linux guest (or host) that owns pages, fills them with
 * contents that follow from their number, and looks again and again whether they still hold them.
 *
 * owner [OPTION VALUE]...
 *   mib N         how much it owns (64)
 *   kinds LETTERS contents, pages.h (zcre)
 *   file PATH     the pages are those of a file, mapped; it is made mib long
 *   order WORD    sequential, random, hot (8 of 10 accesses to a fifth of the pages, which lie in
 *                 runs of 16), or read: the file is read from its beginning to its end, over and
 *                 over
 *   check WORD    page: every word is looked at, and a write writes them all; word: one (for
 *                 measuring)
 *   writes N      of 100 accesses so many write (25)
 *   seconds N     how long after the filling (10); 0: until SIGTERM
 *   warm N        and before these, without counting (0)
 *   seed N        (1)
 *   live N        1: no fixed time; what it has done is told ten times a second, and standard input
 *                 says when to measure (0)
 *   order command the work is to run the file of the option command with sh, over and over
 *
 * One line "owner: filled ..." then, and one at the end with all that was found:
 *   owner: {"order": "random", ..., "accesses_per_s": 12345, "mismatches": 0}
 * With live 1, after "owner: live": "owner: done N" (accesses so far) again and again; "m" on
 * standard input begins the measuring ("owner: measuring"), "e" ends it and the program.
 *
 * Status 0: no mismatch; 1: mismatches (the first ten are told); 2: usage or a failed system call.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "latency.h"
#include "pages.h"

#define HOT_PART   5u /* one of so many runs is hot */
#define HOT_RUN    16u
#define READ_PAGES 32u
#define TOLD       10u
#define TELL_NS    UINT64_C(100000000)

struct options {
    uint64_t mib, writes, seconds, warm, seed, live;
    const char *kinds, *file, *order, *check, *command;
};

struct owner {
    struct options options;
    struct pages pages;
    int fd;
    uint64_t random, next;
    uint64_t mismatches;
    struct latency latency; /* in ticks of the CPU's counter */
    double ns_per_tick;
};

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("owner: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    exit(2);
}

static volatile sig_atomic_t told_to_end;

static void end(int signal)
{
    told_to_end = signal;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 64 random bits; one draw an access, so that the guest measures its memory and not itself. */
static uint64_t draw(struct owner *o)
{
    o->random ^= o->random << 13;
    o->random ^= o->random >> 7;
    o->random ^= o->random << 17;
    return o->random * UINT64_C(0x2545f4914f6cdd1d);
}

/* A number below `limit`, of the upper half of the bits. */
static uint64_t below(uint64_t bits, uint64_t limit)
{
    return (bits >> 32) * limit >> 32;
}

static uint64_t hot_or_cold(const struct owner *o, uint64_t bits)
{
    uint64_t run = below(bits, o->pages.count / HOT_RUN);
    if ((bits >> 20 & 1023) < 820)
        run -= run % HOT_PART;
    return run * HOT_RUN + (bits >> 16) % HOT_RUN;
}

static uint64_t choose(struct owner *o, uint64_t bits)
{
    switch (o->options.order[0]) {
    case 's':
        if (++o->next >= o->pages.count)
            o->next = 0;
        return o->next;
    case 'h':
        return hot_or_cold(o, bits);
    default:
        return below(bits, o->pages.count);
    }
}

static void check_page(struct owner *o, uint64_t number, const uint64_t *page, unsigned word)
{
    struct mismatch m;
    bool same = o->options.check[0] == 'p' ? pages_match(&o->pages, number, page, &m)
                                           : pages_match_word(&o->pages, number, page, word, &m);
    if (!same && o->mismatches++ < TOLD)
        printf("owner: MISMATCH page %llu version %u kind %c word %u: expected %016llx, found "
               "%016llx\n",
               (unsigned long long)number, o->pages.version[number], pages_kind(&o->pages, number),
               m.word, (unsigned long long)m.expected, (unsigned long long)m.found);
}

/* The time of an access is that of its first load or of the write. */
static void access_page(struct owner *o)
{
    uint64_t bits = draw(o), number = choose(o, bits);
    unsigned word = bits % PAGE_WORDS;
    const uint64_t *page = o->pages.base + number * PAGE_WORDS;
    bool write = (bits >> 9 & 127) * 100 < o->options.writes * 128;
    uint64_t start = __rdtsc();
    if (write && o->options.check[0] == 'p')
        pages_write(&o->pages, number);
    else if (write)
        pages_touch(&o->pages, number);
    else
        (void)*(const volatile uint64_t *)(page + word);
    latency_add(&o->latency, __rdtsc() - start);
    if (!write)
        check_page(o, number, page, word);
}

static void read_pages(struct owner *o)
{
    static uint64_t buffer[READ_PAGES * PAGE_WORDS];
    uint64_t first = o->next;
    uint64_t count = o->pages.count - first < READ_PAGES ? o->pages.count - first : READ_PAGES;
    uint64_t start = __rdtsc();
    if (pread(o->fd, buffer, count * PAGE, (off_t)(first * PAGE)) != (ssize_t)(count * PAGE))
        die("cannot read the file: %s", strerror(errno));
    uint64_t each = (__rdtsc() - start) / count;
    for (uint64_t i = 0; i < count; i++) {
        latency_add(&o->latency, each);
        check_page(o, first + i, buffer + i * PAGE_WORDS, (first + i) % PAGE_WORDS);
    }
    o->next = first + count == o->pages.count ? 0 : first + count;
}

static void run_command(struct owner *o)
{
    uint64_t start = __rdtsc();
    pid_t child = vfork();
    int status;
    if (child == 0) {
        execl("/bin/sh", "sh", o->options.command, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        die("cannot run the command: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("the command ended with status %d", WIFEXITED(status) ? WEXITSTATUS(status) : status);
    latency_add(&o->latency, __rdtsc() - start);
}

static void work_once(struct owner *o)
{
    switch (o->options.order[0] == 'r' ? o->options.order[1] : o->options.order[0]) {
    case 'e':
        read_pages(o);
        break;
    case 'c':
        run_command(o);
        break;
    default:
        access_page(o);
    }
}

/* Answers how long it took. */
static double work(struct owner *o, uint64_t seconds)
{
    uint64_t start = now_ns(), now = start, ticks = __rdtsc();
    memset(&o->latency, 0, sizeof(o->latency));
    while (!told_to_end && (seconds == 0 || now - start < seconds * 1000000000u)) {
        for (unsigned i = 0; i < 16; i++)
            work_once(o);
        now = now_ns();
    }
    o->ns_per_tick = (double)(now - start) / (double)(__rdtsc() - ticks);
    return (double)(now - start) * 1e-9;
}

/* Keys are read as they come, and not repeated between what is told. */
static void ready_keyboard(void)
{
    struct termios t;
    if (tcgetattr(STDIN_FILENO, &t) != 0)
        return;
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    t.c_cc[VMIN] = t.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* Answers how long was measured. */
static double work_live(struct owner *o)
{
    uint64_t before = 0, start = now_ns(), ticks = __rdtsc(), told = start, now;
    /* The clock is read as seldom as lets it be told ten times a second. */
    unsigned at_once = o->options.file || o->options.command ? 1 : 16;
    struct pollfd keyboard = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    ready_keyboard();
    printf("owner: live\n");
    do {
        for (unsigned i = 0; i < at_once; i++)
            work_once(o);
        now = now_ns();
        if (now - told < TELL_NS)
            continue;
        told = now;
        printf("owner: done %llu\n", (unsigned long long)(before + o->latency.count));
        if (poll(&keyboard, 1, 0) > 0 && read(STDIN_FILENO, &key, 1) == 1 && key == 'm') {
            before += o->latency.count;
            memset(&o->latency, 0, sizeof(o->latency));
            start = now_ns();
            ticks = __rdtsc();
            printf("owner: measuring\n");
        }
    } while (key != 'e' && !told_to_end);
    now = now_ns();
    o->ns_per_tick = (double)(now - start) / (double)(__rdtsc() - ticks);
    return (double)(now - start) * 1e-9;
}

static void *map(const struct options *options, int fd, uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   options->file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    if (p == MAP_FAILED)
        die("cannot map %llu bytes: %s", (unsigned long long)bytes, strerror(errno));
    return p;
}

static void own(struct owner *o)
{
    uint64_t bytes = o->options.mib << 20;
    o->fd = -1;
    if (o->options.file) {
        o->fd = open(o->options.file, O_RDWR | O_CREAT, 0600);
        if (o->fd < 0 || ftruncate(o->fd, (off_t)bytes) != 0)
            die("cannot make %s: %s", o->options.file, strerror(errno));
    }
    o->random = o->options.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    o->pages.count = bytes / PAGE;
    o->pages.seed = o->options.seed;
    o->pages.kinds = o->options.kinds;
    o->pages.kind_count = strlen(o->options.kinds);
    o->pages.base = map(&o->options, o->fd, bytes);
    o->pages.version = calloc(o->pages.count, sizeof(*o->pages.version));
    o->pages.touches = calloc(o->pages.count, sizeof(*o->pages.touches));
    if (!o->pages.version || !o->pages.touches)
        die("no memory");
    /* Huge pages of the guest would make neighbours of what is chosen at random. */
    (void)madvise(o->pages.base, bytes, MADV_NOHUGEPAGE);

    uint64_t start = now_ns();
    for (uint64_t i = 0; i < o->pages.count; i++)
        pages_write(&o->pages, i);
    if (o->fd >= 0 && msync(o->pages.base, bytes, MS_SYNC) != 0)
        die("cannot write the file: %s", strerror(errno));
    printf("owner: filled %llu MiB in %.1f s\n", (unsigned long long)o->options.mib,
           (double)(now_ns() - start) * 1e-9);
}

static void report(const struct owner *o, double seconds)
{
    const struct latency *l = &o->latency;
    printf("owner: {\"order\": \"%s\", \"mib\": %llu, \"kinds\": \"%s\", \"file\": %s, "
           "\"seconds\": %.3f, \"accesses\": %llu, \"accesses_per_s\": %.0f, \"median_ns\": %.0f, "
           "\"p99_ns\": %.0f, \"max_ns\": %.0f, \"mismatches\": %llu}\n",
           o->options.order, (unsigned long long)o->options.mib, o->options.kinds,
           o->options.file ? "true" : "false", seconds, (unsigned long long)l->count,
           (double)l->count / seconds, (double)latency_ticks(l, 500) * o->ns_per_tick,
           (double)latency_ticks(l, 990) * o->ns_per_tick, (double)l->max * o->ns_per_tick,
           (unsigned long long)o->mismatches);
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

static void parse(struct options *options, int argc, char **argv)
{
    static const char *const orders[] = {"sequential", "random", "hot", "read", "command", NULL};
    static const char *const checks[] = {"page", "word", NULL};
    const struct {
        const char *name;
        uint64_t *number;
        const char **word;
    } known[] = {
        {"mib", &options->mib, NULL},         {"writes", &options->writes, NULL},
        {"seconds", &options->seconds, NULL}, {"warm", &options->warm, NULL},
        {"seed", &options->seed, NULL},       {"kinds", NULL, &options->kinds},
        {"live", &options->live, NULL},       {"command", NULL, &options->command},
        {"file", NULL, &options->file},       {"order", NULL, &options->order},
        {"check", NULL, &options->check},
    };
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < sizeof(known) / sizeof(known[0]) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == sizeof(known) / sizeof(known[0]) || i + 1 == argc)
            die("option %s is unknown or has no value", argv[i]);
        if (known[k].number)
            *known[k].number = strtoull(argv[i + 1], NULL, 10);
        else
            *known[k].word = argv[i + 1];
    }
    if (options->mib == 0 || options->seed == 0 || !is_one_of(options->order, orders) ||
        !is_one_of(options->check, checks) || options->kinds[0] == '\0' ||
        options->kinds[strspn(options->kinds, "zcre")] != '\0' ||
        (strcmp(options->order, "read") == 0 && !options->file) ||
        (strcmp(options->order, "command") == 0 && !options->command))
        die("an option's value is not possible");
}

int main(int argc, char **argv)
{
    static struct owner o = {.options = {.mib = 64,
                                         .writes = 25,
                                         .seconds = 10,
                                         .seed = 1,
                                         .kinds = "zcre",
                                         .order = "random",
                                         .check = "page"}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    parse(&o.options, argc, argv);
    (void)signal(SIGTERM, end);
    if (o.options.order[0] != 'c')
        own(&o);
    if (o.options.warm > 0)
        (void)work(&o, o.options.warm);
    double seconds = o.options.live ? work_live(&o) : work(&o, o.options.seconds);
    report(&o, seconds);
    return o.mismatches > 0;
}
