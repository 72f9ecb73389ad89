/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/view_list.h"

#include <stdio.h>
#include <string.h>

#include "control/size.h"
#include "control/top/describe.h"
#include "control/top/format.h"

/* ---- columns ---- */

static void write_size(char *buf, size_t buf_bytes, uint64_t bytes)
{
    if (bytes == TOP_UNKNOWN)
        snprintf(buf, buf_bytes, "-");
    else
        size_format(buf, buf_bytes, bytes);
}

static void state_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    snprintf(buf, buf_bytes, "%s", top_row_state(row));
}

static void engine_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    snprintf(buf, buf_bytes, "%s", row->now.engine);
}

static void pid_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    snprintf(buf, buf_bytes, "%lld", (long long)row->now.pid);
}

static void mips_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    snprintf(buf, buf_bytes, "%.1f", row->has_rates ? row->rates.mips : row->now.mips);
}

static void memory_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    write_size(buf, buf_bytes, row->now.guest);
}

static void held_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    write_size(buf, buf_bytes, row->now.held);
}

static void limit_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    write_size(buf, buf_bytes, row->now.limit);
}

static void in_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    if (row->has_rates)
        top_format_rate(buf, buf_bytes, row->rates.in_per_second);
}

static void out_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    if (row->has_rates)
        top_format_rate(buf, buf_bytes, row->rates.out_per_second);
}

static void wait_cell(const struct top_row *row, char *buf, size_t buf_bytes)
{
    if (row->has_rates)
        top_format_part(buf, buf_bytes, row->rates.waiting);
}

/* from: the narrowest screen that shows it. The name takes what is left. */
static const struct column {
    const char *title;
    int width, from;
    bool is_word;
    void (*cell)(const struct top_row *row, char *buf, size_t buf_bytes);
} columns[] = {
    {"STATE", 13, 24, true, state_cell},   {"ENGINE", 9, 100, true, engine_cell},
    {"PID", 8, 110, false, pid_cell},      {"MIPS", 6, 62, false, mips_cell},
    {"MEMORY", 6, 40, false, memory_cell}, {"HELD", 6, 31, false, held_cell},
    {"LIMIT", 6, 48, false, limit_cell},   {"IN/s", 6, 56, false, in_cell},
    {"OUT/s", 6, 69, false, out_cell},     {"WAITS", 6, 76, false, wait_cell},
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static int name_width(void)
{
    int rest = screen_columns();

    for (size_t i = 0; i < COLUMNS; i++)
        rest -= screen_columns() >= columns[i].from ? columns[i].width + 1 : 0;
    return rest;
}

/* row NULL: the titles */
static void draw_cells(const struct top_row *row, int line, enum style style)
{
    int at = name_width();
    char text[64];

    screen_blank(line, 0, screen_columns(), style);
    screen_text(line, 0, at, style, row ? row->name : "NAME");
    for (size_t i = 0; i < COLUMNS; i++) {
        const struct column *c = &columns[i];
        int length, gap;

        if (screen_columns() < c->from)
            continue;
        snprintf(text, sizeof(text), "%s", row ? "-" : c->title);
        if (row && (row->has_now || c->cell == state_cell))
            c->cell(row, text, sizeof(text));
        length = (int)strlen(text);
        gap = c->is_word || length > c->width ? 0 : c->width - length;
        screen_text(line, at + 1 + gap, c->width - gap,
                    row && row->is_silent && c->is_word && style == STYLE_PLAIN ? STYLE_ALARM
                                                                                : style,
                    text);
        at += c->width + 1;
    }
}

/* ---- rows ---- */

static void draw_bar(const struct screen *screen, const struct top_row *row, int line, int column,
                     int width)
{
    unsigned cells[PAGE_STATES];

    if (width < 1)
        return;
    if (width > (int)TOP_BAR_MAX)
        width = (int)TOP_BAR_MAX;
    top_bar_share(row->now.pages, (unsigned)width, cells);
    for (unsigned i = 0; i < PAGE_STATES; i++) {
        enum page_state state = top_bar_order[i];

        screen_state(screen, line, column, (int)cells[state], state);
        column += (int)cells[state];
    }
}

#define WITH_WORDS 60 /* columns */

static void draw_row(const struct screen *screen, const struct top_model *model,
                     const struct top_row *row, int line, int lines)
{
    bool is_selected = !strcmp(row->name, model->selected);
    bool has_words = screen_columns() >= WITH_WORDS;
    int bar = has_words ? screen_columns() / 2 - 1 : screen_columns() - 1;
    char policy[TOP_LINE_BYTES];

    draw_cells(row, line, is_selected ? STYLE_BAR : STYLE_PLAIN);
    if (lines < 2)
        return;
    draw_bar(screen, row, line + 1, 1, bar - 1);
    if (!has_words)
        return;
    top_describe_policy(row, policy, sizeof(policy));
    screen_text(line + 1, bar + 1, screen_columns() - bar - 1,
                row->now.stall[0] ? STYLE_ALARM : STYLE_PLAIN, policy);
}

size_t view_list_draw(const struct screen *screen, const struct top_model *model, int line,
                      int lines, size_t *first)
{
    int each = lines < 5 ? 1 : 2;
    size_t room = lines > 1 ? (size_t)(lines - 1) / (size_t)each : 0;
    size_t selected = top_model_selected(model);

    draw_cells(NULL, line, STYLE_STRONG);
    if (!room)
        return 0;
    if (*first + room > model->count)
        *first = model->count > room ? model->count - room : 0;
    if (selected < *first)
        *first = selected;
    if (selected >= *first + room)
        *first = selected - room + 1;
    if (room > model->count - *first)
        room = model->count - *first;
    for (size_t i = 0; i < room; i++)
        draw_row(screen, model, &model->rows[model->order[*first + i]], line + 1 + (int)i * each,
                 each);
    return room;
}
