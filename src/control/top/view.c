/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   3 VMs of 1.5G hold 610M; pages/s: 120 in, 300 out                     every 1 s
 *   pool web: clear; 40M of 320M free ...
 *   NAME   STATE   ...                    the list (view_list.c), two lines a VM
 *   -- web1 ----------------------------  the panel of the selected one (view_panel.c), if there is
 *   ...                                   room
 *   q quit  h help ...
 */
#include "control/top/view.h"

#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/top/describe.h"
#include "control/top/format.h"
#include "control/top/screen.h"
#include "control/top/view_list.h"

#define PANEL_FROM_LINES 18
#define POOLS_MAX        3
#define ESCAPE           27
#define CTRL_L           12

enum view_mode { VIEW_LIST, VIEW_DETAILS, VIEW_HELP };

struct view {
    struct top_model *model;
    struct screen screen;
    uint64_t period_ns;
    enum view_mode mode;
    bool is_paused;
    size_t first; /* row at the top of the list */
    long scroll;  /* of the details */
};

bool view_is_possible(void)
{
    return screen_is_possible();
}

struct view *view_create(struct top_model *model, uint64_t period_ns)
{
    struct view *view = calloc(1, sizeof(*view));

    if (!view)
        return NULL;
    view->model = model;
    view->period_ns = period_ns;
    if (screen_open(&view->screen))
        return view;
    free(view);
    return NULL;
}

void view_destroy(struct view *view)
{
    if (view)
        screen_close(&view->screen);
    free(view);
}

bool view_is_paused(const struct view *view)
{
    return view->is_paused;
}

void view_resize(struct view *view)
{
    screen_resize();
    view_draw(view);
}

/* ---- drawing ---- */

static const struct top_row *selected_row(const struct view *view)
{
    const struct top_model *model = view->model;

    return model->count ? &model->rows[model->order[top_model_selected(model)]] : NULL;
}

/* A line of the screen's width, with something at its right where there is room. */
static void draw_bar(int line, const char *left, const char *right)
{
    int width = screen_columns(), length = (int)strlen(right);

    screen_blank(line, 0, width, STYLE_BAR);
    screen_text(line, 0, width, STYLE_BAR, left);
    if ((int)strlen(left) + length <= width)
        screen_text(line, width - length, length, STYLE_BAR, right);
}

/* Answers the lines used. */
static int draw_head(const struct view *view)
{
    char text[TOP_LINE_BYTES], right[64];
    int lines = 1;

    snprintf(right, sizeof(right), " every %g s, by %s%s", (double)view->period_ns / 1e9,
             top_order_word(view->model->by), view->model->is_reversed ? ", reversed" : "");
    top_describe_sums(view->model, text, sizeof(text));
    if ((int)(strlen(text) + strlen(right)) > screen_columns())
        memmove(right, strstr(right, " by"), strlen(strstr(right, " by")) + 1);
    if (view->is_paused)
        snprintf(right, sizeof(right), " paused");
    draw_bar(0, text, right);
    for (size_t i = 0; i < view->model->pool_count && i < POOLS_MAX; i++) {
        const struct top_pool *pool = &view->model->pools[i];

        top_describe_pool(pool, text, sizeof(text));
        screen_text(lines++, 0, screen_columns(), pool->is_silent ? STYLE_ALARM : STYLE_PLAIN,
                    text);
    }
    return lines;
}

static void draw_keys(const char *left, const char *right)
{
    draw_bar(screen_lines() - 1, left, right);
}

static void draw_list(struct view *view)
{
    const struct top_row *row = selected_row(view);
    int top = draw_head(view), lines = screen_lines() - top - 1;
    int panel = view_panel_lines(view->model);
    char part[64] = "";
    size_t shown;

    if (row && screen_lines() >= PANEL_FROM_LINES) {
        lines -= panel;
        view_panel_draw(&view->screen, view->model, row, top + lines);
    }
    shown = view_list_draw(&view->screen, view->model, top, lines, &view->first);
    if (shown < view->model->count)
        snprintf(part, sizeof(part), " %zu-%zu of %zu", view->first + (shown > 0),
                 view->first + shown, view->model->count);
    draw_keys("q quit  h help  p pause  enter details  nmliowc sort  r reverse", part);
}

static void draw_details(struct view *view)
{
    const struct top_row *row = selected_row(view);
    char title[NAME_MAX_BYTES + 64];

    if (!row) {
        view->mode = VIEW_LIST;
        draw_list(view);
        return;
    }
    snprintf(title, sizeof(title), "%s: %s", row->name, top_row_state(row));
    draw_bar(0, title, view->is_paused ? " paused" : "");
    view_details_draw(&view->screen, view->model, row, 1, screen_lines() - 2, &view->scroll);
    draw_keys("enter back  up down page scroll  p pause  q quit", "");
}

static void draw_help(const struct view *view)
{
#define HELP_STATE(name, word, help) [PAGE_##name] = help,
    static const char *const helps[PAGE_STATES] = {PAGE_STATE_LIST(HELP_STATE)};
#undef HELP_STATE
    static const char *const keys[] = {
        "up, down, j, k   select a VM      enter  all that is known of it",
        "p, space         stop and go on   q      quit",
    };
    int line = 0;
    char text[TOP_LINE_BYTES];

    screen_text(line++, 0, screen_columns(), STYLE_STRONG, "umbra top: where the memory is");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        screen_text(line++, 2, screen_columns(), STYLE_PLAIN, keys[i]);
    for (unsigned i = 0; i < TOP_ORDER_KINDS; i++) {
        snprintf(text, sizeof(text), "%c  by %s", top_order_key(i), top_order_word(i));
        screen_text(line + (int)i / 2, 2 + (int)i % 2 * 34, screen_columns(), STYLE_PLAIN, text);
    }
    line += TOP_ORDER_KINDS / 2;
    screen_text(line++, 36, screen_columns(), STYLE_PLAIN, "r  the other way round");
    screen_text(line++, 2, screen_columns(), STYLE_PLAIN,
                "HELD  host memory of the VM's process     LIMIT  what it may hold, or its lease");
    screen_text(line++, 2, screen_columns(), STYLE_PLAIN,
                "IN/s OUT/s  pages   WAITS  part of the time spent bringing pages in");
    line++;
    for (unsigned i = 0; i < PAGE_STATES; i++, line++) {
        enum page_state state = top_bar_order[i];

        screen_state(&view->screen, line, 2, 2, state);
        snprintf(text, sizeof(text), "%-11s %s", page_state_name(state), helps[state]);
        screen_text(line, 5, screen_columns(), STYLE_PLAIN, text);
    }
    draw_keys("any key: back", "");
}

void view_draw(struct view *view)
{
    screen_begin();
    if (view->mode == VIEW_HELP)
        draw_help(view);
    else if (view->mode == VIEW_DETAILS)
        draw_details(view);
    else
        draw_list(view);
    screen_end();
}

/* ---- keys ---- */

static void move_by(struct view *view, long by)
{
    if (view->mode == VIEW_DETAILS)
        view->scroll += by;
    else
        top_model_select(view->model, by);
}

static void move_key(struct view *view, int key)
{
    long page = screen_lines() / 2;

    if (key == KEY_UP || key == 'k')
        move_by(view, -1);
    else if (key == KEY_DOWN || key == 'j')
        move_by(view, 1);
    else if (key == KEY_PPAGE)
        move_by(view, -page);
    else if (key == KEY_NPAGE)
        move_by(view, page);
    else if (key == KEY_HOME)
        move_by(view, -100000);
    else if (key == KEY_END)
        move_by(view, 100000);
}

static void sort_key(struct view *view, int key)
{
    for (unsigned i = 0; i < TOP_ORDER_KINDS; i++) {
        if (key == top_order_key(i))
            view->model->by = (enum top_order)i;
    }
    if (key == 'r')
        view->model->is_reversed = !view->model->is_reversed;
    top_model_sort(view->model);
}

static void mode_key(struct view *view, int key)
{
    bool is_enter = key == '\r' || key == '\n' || key == KEY_ENTER;

    if (view->mode == VIEW_HELP || key == ESCAPE) {
        view->mode = VIEW_LIST;
    } else if (key == 'h' || key == '?') {
        view->mode = VIEW_HELP;
    } else if (is_enter) {
        view->mode = view->mode == VIEW_DETAILS ? VIEW_LIST : VIEW_DETAILS;
        view->scroll = 0;
    } else if (key == 'p' || key == ' ') {
        view->is_paused = !view->is_paused;
    } else {
        move_key(view, key);
        sort_key(view, key);
    }
}

bool view_take_keys(struct view *view)
{
    int key = wgetch(stdscr);

    if (key == ERR) /* readable, and nothing there: the terminal is gone */
        return false;
    for (; key != ERR; key = wgetch(stdscr)) {
        if (key == 'q' || key == 'Q')
            return false;
        if (key == CTRL_L)
            screen_resize();
        else if (key != KEY_RESIZE)
            mode_key(view, key);
    }
    view_draw(view);
    return true;
}
