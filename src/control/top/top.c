/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A period: ask everybody; when all have answered, or have had their time, it is shown. On a screen
 * nobody is waited for longer than a moment: whoever answers later is shown then.
 */
#include "control/top/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/top/gather.h"
#include "control/top/plain.h"
#include "control/top/view.h"

#define MS        UINT64_C(1000000)
#define MOMENT_NS (200 * MS)

/*
 * asked_ns: when the period began;  is_shown: it was shown
 * is_first: it is the one that the next one's rates are measured from
 */
struct top {
    const struct top_config *config;
    struct top_model model;
    struct gather *gather;
    struct view *view; /* NULL: text */
    int signal_fd;     /* of a screen, else -1 */
    uint64_t asked_ns, shown, count;
    bool is_first, is_shown;
};

/* ---- showing ---- */

static enum err print(struct top *top)
{
    json_t *object = NULL;
    bool bad = false;

    if (top->config->form == TOP_FORM_JSON) {
        object = top_plain_json(&top->model);
        bad = !object || json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(object);
        putchar('\n');
    } else {
        top_plain_print(&top->model, stdout);
    }
    bad |= fflush(stdout) || ferror(stdout);
    return bad ? err_errno(ERR_IO, "cannot write to standard output") : ERR_OK;
}

/* Text waits for whoever may still answer, a screen only for a moment. */
static bool is_due(struct top *top, uint64_t now)
{
    bool is_waiting = gather_is_waiting(top->gather, now);

    return !top->is_shown && (!is_waiting || (top->view && now - top->asked_ns >= MOMENT_NS));
}

static enum err show(struct top *top)
{
    enum err err = ERR_OK;

    top->is_shown = true;
    if (top->view)
        view_draw(top->view);
    else if (!top->is_first)
        err = print(top);
    if (!top->is_first || top->view)
        top->shown++;
    top->is_first = false;
    return err;
}

/* ---- the loop ---- */

static bool is_paused(const struct top *top)
{
    return top->view && view_is_paused(top->view);
}

static int timeout_ms(const struct top *top, uint64_t now)
{
    uint64_t due = top->asked_ns + top->config->period_ns;
    uint64_t soon = now + MOMENT_NS / 4;

    if (is_paused(top))
        return -1;
    if (!top->is_shown && soon < due)
        due = soon;
    return due > now ? (int)((due - now + MS - 1) / MS) : 0;
}

/* True: one of them asks to end. */
static bool take_signals(struct top *top)
{
    struct signalfd_siginfo info;
    bool is_end = false;

    while (read(top->signal_fd, &info, sizeof(info)) > 0) {
        if (info.ssi_signo == SIGWINCH)
            view_resize(top->view);
        else
            is_end = true;
    }
    return is_end;
}

/* One round; *is_over: a signal, a key or the count ends it. */
static enum err turn(struct top *top, bool *is_over)
{
    enum { SIGNALS, KEYS, ANSWERS };
    struct pollfd fds[] = {
        [SIGNALS] = {.fd = top->signal_fd, .events = POLLIN},
        [KEYS] = {.fd = top->view && isatty(STDIN_FILENO) ? STDIN_FILENO : -1, .events = POLLIN},
        [ANSWERS] = {.fd = is_paused(top) ? -1 : gather_fd(top->gather), .events = POLLIN},
    };
    uint64_t now = host_ns();
    enum err err = ERR_OK;

    if (poll(fds, sizeof(fds) / sizeof(fds[0]), timeout_ms(top, now)) < 0 && errno != EINTR)
        return err_errno(ERR_IO, "cannot wait for the VMs");
    now = host_ns();
    if (fds[SIGNALS].revents)
        *is_over = take_signals(top);
    if (fds[ANSWERS].revents)
        gather_serve(top->gather, now);
    if (fds[KEYS].revents && !view_take_keys(top->view))
        *is_over = true;
    if (*is_over || is_paused(top))
        return ERR_OK;
    if (is_due(top, now))
        err = show(top);
    else if (fds[ANSWERS].revents && top->view && top->is_shown)
        view_draw(top->view);
    *is_over = top->count && top->shown >= top->count;
    if (!err && !*is_over && top->is_shown && now - top->asked_ns >= top->config->period_ns) {
        top->asked_ns = now;
        top->is_shown = false;
        err = gather_ask(top->gather, now);
    }
    return err;
}

static int take_signals_from_now_on(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static enum err open_screen(struct top *top)
{
    if (!view_is_possible()) {
        top->count = top->count ? top->count : 1;
        return ERR_OK;
    }
    top->signal_fd = take_signals_from_now_on();
    if (top->signal_fd < 0)
        return err_errno(ERR_IO, "cannot wait for signals");
    top->view = view_create(&top->model, top->config->period_ns);
    return top->view ? ERR_OK : err_new(ERR_IO, "cannot set up the terminal; try --plain");
}

enum err top_run(const struct top_config *config)
{
    struct top top = {.config = config, .count = config->count, .is_first = true, .signal_fd = -1};
    bool is_over = false;
    enum err err = gather_create(&top.gather, &top.model);

    if (!err && config->form == TOP_FORM_SCREEN)
        err = open_screen(&top);
    if (!err) {
        top.asked_ns = host_ns();
        err = gather_ask(top.gather, top.asked_ns);
    }
    while (!err && !is_over)
        err = turn(&top, &is_over);
    view_destroy(top.view);
    gather_destroy(top.gather);
    top_model_fini(&top.model);
    if (top.signal_fd >= 0)
        close(top.signal_fd);
    return err;
}
