/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/screen.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "control/top/format.h"

#define PAIR_ALARM 1
#define PAIR_STATE 2 /* and so on */

/* Three shades tell apart what shares a colour. */
static const struct {
    short colour;
    wchar_t block;
} looks[PAGE_STATES] = {
    [PAGE_PINNED] = {COLOR_GREEN, L'▓'},  [PAGE_RESIDENT] = {COLOR_GREEN, L'█'},
    [PAGE_SHARED] = {COLOR_CYAN, L'█'},   [PAGE_COMPRESSED] = {COLOR_YELLOW, L'█'},
    [PAGE_SMART] = {COLOR_MAGENTA, L'█'}, [PAGE_SWAPPED] = {COLOR_RED, L'█'},
    [PAGE_IMAGE] = {COLOR_BLUE, L'█'},    [PAGE_BALLOONED] = {COLOR_WHITE, L'▒'},
    [PAGE_ZERO] = {COLOR_WHITE, L'░'},    [PAGE_ABSENT] = {COLOR_WHITE, L'·'},
};

/* ---- beginning and end ---- */

bool screen_is_possible(void)
{
    bool can_place;
    int error;

    if (!isatty(STDOUT_FILENO) || setupterm(NULL, STDOUT_FILENO, &error) == ERR)
        return false;
    can_place = tigetstr("cup") != NULL;
    del_curterm(cur_term);
    return can_place;
}

static bool wants_colours(void)
{
    const char *refused = getenv("NO_COLOR"); /* no-color.org */

    return !(refused && refused[0]) && has_colors();
}

static void set_colours(void)
{
    start_color();
    use_default_colors();
    init_pair(PAIR_ALARM, COLOR_RED, -1);
    for (short i = 0; i < PAGE_STATES; i++)
        init_pair((short)(PAIR_STATE + i), looks[i].colour, -1);
}

bool screen_open(struct screen *screen)
{
    SCREEN *handle;

    setlocale(LC_CTYPE, "");
    handle = newterm(NULL, stdout, stdin);
    if (!handle)
        return false;
    *screen = (struct screen){.handle = handle};
    screen->is_wide = !strcmp(nl_langinfo(CODESET), "UTF-8");
    screen->has_colours = wants_colours();
    if (screen->has_colours)
        set_colours();
    cbreak();
    noecho();
    nonl();
    set_escdelay(25);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    return true;
}

void screen_close(struct screen *screen)
{
    endwin();
    delscreen(screen->handle);
}

void screen_resize(void)
{
    struct winsize size;

    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row && size.ws_col)
        resizeterm(size.ws_row, size.ws_col);
    clearok(stdscr, TRUE);
}

int screen_lines(void)
{
    return getmaxy(stdscr);
}

int screen_columns(void)
{
    return getmaxx(stdscr);
}

void screen_begin(void)
{
    werase(stdscr);
}

void screen_end(void)
{
    wnoutrefresh(stdscr);
    doupdate();
}

/* ---- text ---- */

static attr_t attributes_of(enum style style)
{
    static const attr_t attributes[] = {
        [STYLE_PLAIN] = A_NORMAL, [STYLE_STRONG] = A_BOLD, [STYLE_WEAK] = A_DIM,
        [STYLE_BAR] = A_REVERSE,  [STYLE_ALARM] = A_BOLD,
    };

    return attributes[style];
}

static short pair_of(enum style style)
{
    return style == STYLE_ALARM && COLOR_PAIRS > PAIR_ALARM ? PAIR_ALARM : 0;
}

/* The next character and its cells; answers its bytes, 0 at the end. */
static size_t next_character(const char *text, mbstate_t *state, wchar_t *character, int *cells)
{
    size_t bytes = mbrtowc(character, text, MB_CUR_MAX, state);

    if (!bytes)
        return 0;
    if (bytes == (size_t)-1 || bytes == (size_t)-2) {
        memset(state, 0, sizeof(*state));
        bytes = 1;
        *character = L'?';
    }
    *cells = wcwidth(*character);
    if (*cells < 0) {
        *character = L'?';
        *cells = 1;
    }
    return bytes;
}

int screen_text(int line, int column, int width, enum style style, const char *text)
{
    mbstate_t state = {0};
    wchar_t character;
    int used = 0, cells;
    size_t bytes;

    if (line < 0 || line >= screen_lines() || column < 0)
        return 0;
    if (width > screen_columns() - column)
        width = screen_columns() - column;
    while ((bytes = next_character(text, &state, &character, &cells)) && used + cells <= width) {
        wchar_t one[] = {character, L'\0'};
        cchar_t cell;

        text += bytes;
        if (!cells || setcchar(&cell, one, attributes_of(style), pair_of(style), NULL) == ERR)
            continue;
        mvwadd_wch(stdscr, line, column + used, &cell);
        used += cells;
    }
    return used;
}

void screen_blank(int line, int column, int width, enum style style)
{
    for (int i = 0; i < width; i++)
        screen_text(line, column + i, 1, style, " ");
}

void screen_state(const struct screen *screen, int line, int column, int width,
                  enum page_state state)
{
    bool is_block = screen->has_colours && screen->is_wide;
    wchar_t one[] = {is_block ? looks[state].block : (wchar_t)top_bar_letter(state), L'\0'};
    short pair = screen->has_colours ? (short)(PAIR_STATE + (short)state) : 0;
    cchar_t cell;

    if (line < 0 || line >= screen_lines() || setcchar(&cell, one, A_NORMAL, pair, NULL) == ERR)
        return;
    for (int i = 0; i < width && column + i < screen_columns(); i++)
        mvwadd_wch(stdscr, line, column + i, &cell);
}

void screen_rule(const struct screen *screen, int line, const char *title)
{
    for (int i = 0; i < screen_columns(); i++)
        screen_text(line, i, 1, STYLE_WEAK, screen->is_wide ? "─" : "-");
    screen_text(line, 2, screen_columns() - 4, STYLE_STRONG, title);
}
