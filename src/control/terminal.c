/* SPDX-License-Identifier: Apache-2.0 */
#include "control/terminal.h"

#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/*
 * The one exception to "no mutable globals": a fatal signal's handler gets no argument, and a
 * process has one standard input. Set before `raw_now`, read by the handler only while it is set.
 */
static struct termios saved_modes;
static volatile sig_atomic_t raw_now;

static void on_fatal_signal(int number)
{
    if (raw_now)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved_modes);
    signal(number, SIG_DFL);
    raise(number);
}

void terminal_init(struct terminal *t)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_handler = on_fatal_signal, .sa_flags = (int)SA_NODEFER};

    memset(t, 0, sizeof(*t));
    t->is_in_tty = isatty(STDIN_FILENO);
    t->is_out_tty = isatty(STDOUT_FILENO);
    if (!t->is_in_tty)
        return;
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        sigaction(fatal[i], &action, NULL);
}

bool terminal_take(struct terminal *t)
{
    struct termios raw;

    if (!t->is_in_tty || t->raw)
        return true;
    if (tcgetpgrp(STDIN_FILENO) != getpgrp())
        return false;
    if (tcgetattr(STDIN_FILENO, &saved_modes))
        return false;
    raw = saved_modes;
    cfmakeraw(&raw);
    /* When input alone is the terminal, messages and output still want their line ends. */
    raw.c_oflag = saved_modes.c_oflag;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw))
        return false;
    raw_now = 1;
    t->raw = true;
    return true;
}

void terminal_give_back(struct terminal *t)
{
    if (!t->raw)
        return;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_modes);
    raw_now = 0;
    t->raw = false;
}

void terminal_note_output(struct terminal *t, const uint8_t *bytes, size_t count)
{
    if (!count)
        return;
    if (memchr(bytes, 0x1b, count))
        t->saw_escape = true;
    t->mid_line = bytes[count - 1] != '\n';
}

void terminal_finish(struct terminal *t)
{
    /*
     * Alternate screen and scroll region, with the cursor kept where it is; mouse reports and
     * bracketed paste; cursor keys, line wrap, insert mode, keypad, character set, colours, the
     * cursor. No DECSTR: terminals do not agree on where it leaves the cursor.
     */
    static const char undo[] = "\0337\033[?1049l\0337\033[r\0338"
                               "\033[?1000l\033[?1002l\033[?1003l\033[?1006l\033[?2004l"
                               "\033[?1l\033[?7h\033[4l\033>\033(B\033[0m\033[?25h";
    ssize_t n = 0;

    if (!t->is_out_tty)
        return;
    if (t->saw_escape)
        n = write(STDOUT_FILENO, undo, sizeof(undo) - 1);
    if (n >= 0 && t->mid_line)
        n = write(STDOUT_FILENO, "\r\n", 2);
    t->mid_line = false;
    (void)n;
}
