/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as the view needs it: styles instead of attributes, text that is clipped, blocks in
 * colour or letters without. The only files that know ncurses are screen.c and view.c (its keys).
 */
#ifndef UMBRA_CONTROL_TOP_SCREEN_H
#define UMBRA_CONTROL_TOP_SCREEN_H

#include <stdbool.h>

#include "mem/mem.h"

enum style { STYLE_PLAIN, STYLE_STRONG, STYLE_WEAK, STYLE_BAR, STYLE_ALARM };

/* is_wide: the locale's characters are UTF-8 */
struct screen {
    void *handle;
    bool has_colours, is_wide;
};

/* Can standard output's terminal place characters? */
bool screen_is_possible(void);

/* False: the terminal refuses. Takes it over until screen_close, which gives it back as it was. */
bool screen_open(struct screen *screen);
void screen_close(struct screen *screen);

/* Reads the terminal's size again; the next picture is drawn afresh. */
void screen_resize(void);
int screen_lines(void);
int screen_columns(void);

/* A new picture is made between these two. */
void screen_begin(void);
void screen_end(void);

/*
 * Writes text at a place in at most `width` cells, cut at the right; what the terminal cannot show
 * becomes '?'. Places outside the screen are ignored. Answers the cells used.
 */
int screen_text(int line, int column, int width, enum style style, const char *text);

/* Blanks a part of a line in a style. */
void screen_blank(int line, int column, int width, enum style style);

/* So many cells of a page state. */
void screen_state(const struct screen *screen, int line, int column, int width,
                  enum page_state state);

/* A rule across the screen, with a title. */
void screen_rule(const struct screen *screen, int line, const char *title);

#endif
