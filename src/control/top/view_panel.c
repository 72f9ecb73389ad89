/* SPDX-License-Identifier: Apache-2.0 */
/* One VM: a panel below the list, and the whole screen. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/memory_json.h"
#include "control/size.h"
#include "control/top/describe.h"
#include "control/top/format.h"
#include "control/top/view_list.h"

#define LABEL_WIDTH 9
#define HIGH_LINES  36

/* ---- text that is longer than a line ---- */

/* Cuts a text into lines of the screen's width, at blanks where it can; shows those in sight. */
struct paper {
    int line, lines, column;
    long skip, at;
};

static void put_piece(struct paper *paper, const char *piece, int bytes)
{
    char text[TOP_LINE_BYTES];

    snprintf(text, sizeof(text), "%.*s", bytes, piece);
    if (paper->at >= paper->skip && paper->at - paper->skip < paper->lines)
        screen_text(paper->line + (int)(paper->at - paper->skip), paper->column, screen_columns(),
                    STYLE_PLAIN, text);
    paper->at++;
}

static void put_text(struct paper *paper, const char *text)
{
    int room = screen_columns() - paper->column;
    int width = room < TOP_LINE_BYTES ? room : TOP_LINE_BYTES - 1;

    while (*text && width > 0) {
        int length = (int)strcspn(text, "\n"), cut = length;

        if (length > width) {
            for (cut = width; cut > width / 2 && text[cut] != ' '; cut--)
                ;
            cut = text[cut] == ' ' ? cut : width;
        }
        put_piece(paper, text, cut);
        text += cut;
        text += *text == '\n' || (*text == ' ' && cut < length);
    }
}

/* ---- panel ---- */

struct panel {
    const struct screen *screen;
    const struct top_row *row;
    int line;
};

/* A line that is too long for the screen has a second one in a window that is high enough. */
static int lines_of(const char *label)
{
    return screen_lines() >= HIGH_LINES || !strcmp(label, "pages") ? 2 : 1;
}

/* The same as the words, with each state's cell before it. */
static void draw_legend(const struct panel *panel)
{
    int column = LABEL_WIDTH, line = panel->line;
    char size[16], text[64];

    for (unsigned i = 0; i < PAGE_STATES; i++) {
        enum page_state state = top_bar_order[i];
        uint64_t pages = panel->row->now.pages[state];

        if (!pages)
            continue;
        snprintf(text, sizeof(text), "%s %s", page_state_name(state),
                 size_format(size, sizeof(size), pages * PAGE_SIZE));
        if (column + 2 + (int)strlen(text) > screen_columns() && line == panel->line) {
            column = LABEL_WIDTH;
            line++;
        }
        screen_state(panel->screen, line, column, 1, state);
        column += 2;
        column += screen_text(line, column, screen_columns(), STYLE_PLAIN, text) + 2;
    }
}

static void draw_line(void *arg, const char *label, const char *text)
{
    struct panel *panel = arg;
    struct paper paper = {.line = panel->line, .lines = lines_of(label), .column = LABEL_WIDTH};

    screen_text(panel->line, 0, LABEL_WIDTH - 1, STYLE_STRONG, label);
    if (!strcmp(label, "pages"))
        draw_legend(panel);
    else
        put_text(&paper, text);
    panel->line += lines_of(label);
}

int view_panel_lines(const struct top_model *model)
{
    int texts = model->pool_count ? 8 : 7;

    return 1 + (screen_lines() >= HIGH_LINES ? 2 * texts : texts + 1);
}

void view_panel_draw(const struct screen *screen, const struct top_model *model,
                     const struct top_row *row, int line)
{
    struct panel panel = {.screen = screen, .row = row, .line = line + 1};
    char title[NAME_MAX_BYTES + 3];

    snprintf(title, sizeof(title), " %s ", row->name);
    screen_rule(screen, line, title);
    top_describe_vm(model, row, draw_line, &panel);
}

/* ---- the whole screen ---- */

static void write_line(void *out, const char *label, const char *text)
{
    fprintf(out, "%-8s %s\n", label, text);
}

void view_details_draw(const struct screen *screen, const struct top_model *model,
                       const struct top_row *row, int line, int lines, long *scroll)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct paper paper = {.line = line, .lines = lines};

    (void)screen;
    if (!out)
        return;
    top_describe_vm(model, row, write_line, out);
    fputc('\n', out);
    if (row->memory)
        memory_print(row->name, row->memory, out);
    if (!fclose(out)) {
        paper.skip = LONG_MAX; /* only counts */
        put_text(&paper, text);
        if (*scroll > paper.at - lines)
            *scroll = paper.at - lines;
        if (*scroll < 0)
            *scroll = 0;
        paper.skip = *scroll;
        paper.at = 0;
        put_text(&paper, text);
    }
    free(text);
}
