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

/* ---- panel ---- */

struct panel {
    const struct screen *screen;
    const struct top_row *row;
    int line;
};

/* The same as the words, with each state's cell before it. */
static void draw_legend(const struct panel *panel)
{
    int column = LABEL_WIDTH;
    char size[16], text[64];

    for (unsigned i = 0; i < PAGE_STATES; i++) {
        enum page_state state = top_bar_order[i];
        uint64_t pages = panel->row->now.pages[state];

        if (!pages)
            continue;
        snprintf(text, sizeof(text), "%s %s", page_state_name(state),
                 size_format(size, sizeof(size), pages * PAGE_SIZE));
        screen_state(panel->screen, panel->line, column, 1, state);
        column += 2;
        column += screen_text(panel->line, column, screen_columns(), STYLE_PLAIN, text) + 2;
    }
}

static void draw_line(void *arg, const char *label, const char *text)
{
    struct panel *panel = arg;

    screen_text(panel->line, 0, LABEL_WIDTH - 1, STYLE_STRONG, label);
    if (!strcmp(label, "pages"))
        draw_legend(panel);
    else
        screen_text(panel->line, LABEL_WIDTH, screen_columns(), STYLE_PLAIN, text);
    panel->line++;
}

int view_panel_lines(const struct top_model *model)
{
    return model->pool_count ? 9 : 8;
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

/* Cuts a text into lines of the screen's width, at blanks where it can; shows those in sight. */
struct paper {
    int line, lines;
    long skip, at;
};

static void put_piece(struct paper *paper, const char *piece, int bytes)
{
    char text[TOP_LINE_BYTES];

    snprintf(text, sizeof(text), "%.*s", bytes, piece);
    if (paper->at >= paper->skip && paper->at - paper->skip < paper->lines)
        screen_text(paper->line + (int)(paper->at - paper->skip), 0, screen_columns(), STYLE_PLAIN,
                    text);
    paper->at++;
}

static void put_text(struct paper *paper, const char *text)
{
    int width = screen_columns() < TOP_LINE_BYTES ? screen_columns() : TOP_LINE_BYTES - 1;

    while (*text) {
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
