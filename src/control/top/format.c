/* SPDX-License-Identifier: Apache-2.0 */
#include "control/top/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *top_format_rate(char *buf, size_t buf_bytes, double per_second)
{
    static const char units[] = {' ', 'k', 'M', 'G', 'T'};
    unsigned unit = 0;

    if (per_second <= 0) {
        snprintf(buf, buf_bytes, "0");
        return buf;
    }
    for (; per_second >= 9999.5 && unit < 4; unit++)
        per_second /= 1000;
    if (unit)
        snprintf(buf, buf_bytes, "%.0f%c", per_second, units[unit]);
    else
        snprintf(buf, buf_bytes, per_second < 9.95 ? "%.1f" : "%.0f", per_second);
    return buf;
}

const char *top_format_part(char *buf, size_t buf_bytes, double part)
{
    double percent = 100 * part;

    if (percent > 0 && percent < 9.95)
        snprintf(buf, buf_bytes, "%.1f %%", percent < 0.1 ? 0.1 : percent);
    else
        snprintf(buf, buf_bytes, "%.0f %%", percent);
    return buf;
}

const char *top_format_ns(char *buf, size_t buf_bytes, uint64_t ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    double value = (double)ns;
    unsigned unit = 0;

    for (; value >= 999.5 && unit < 3; unit++)
        value /= 1000;
    snprintf(buf, buf_bytes, unit && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buf;
}

/* ---- the bar ---- */

const enum page_state top_bar_order[PAGE_STATES] = {
    PAGE_RESIDENT, PAGE_PINNED, PAGE_SHARED,    PAGE_COMPRESSED, PAGE_SMART,
    PAGE_SWAPPED,  PAGE_IMAGE,  PAGE_BALLOONED, PAGE_ZERO,       PAGE_ABSENT,
};

char top_bar_letter(enum page_state state)
{
    static const char letters[PAGE_STATES] = {
        [PAGE_PINNED] = 'P', [PAGE_RESIDENT] = '#', [PAGE_SHARED] = '=', [PAGE_COMPRESSED] = 'c',
        [PAGE_SMART] = 'm',  [PAGE_SWAPPED] = 's',  [PAGE_IMAGE] = 'i',  [PAGE_BALLOONED] = 'b',
        [PAGE_ZERO] = '0',   [PAGE_ABSENT] = '.',
    };

    return letters[state];
}

/* The state that gives a cell: the one whose cells pass its part by most, and that has one over. */
static unsigned most_over(const double *exact, const unsigned *cells)
{
    unsigned best = PAGE_STATES;

    for (unsigned i = 0; i < PAGE_STATES; i++) {
        if (cells[i] > 1 && (best == PAGE_STATES ||
                             (double)cells[i] - exact[i] > (double)cells[best] - exact[best]))
            best = i;
    }
    return best;
}

/* The state that gets one: the one that is short by most. */
static unsigned most_short(const double *exact, const unsigned *cells)
{
    unsigned best = 0;

    for (unsigned i = 1; i < PAGE_STATES; i++) {
        if (exact[i] - (double)cells[i] > exact[best] - (double)cells[best])
            best = i;
    }
    return best;
}

void top_bar_share(const uint64_t pages[PAGE_STATES], unsigned width, unsigned cells[PAGE_STATES])
{
    double exact[PAGE_STATES], total = 0;
    unsigned sum = 0;

    memset(cells, 0, PAGE_STATES * sizeof(cells[0]));
    for (unsigned i = 0; i < PAGE_STATES; i++)
        total += (double)pages[i];
    if (total <= 0) {
        cells[PAGE_ABSENT] = width;
        return;
    }
    for (unsigned i = 0; i < PAGE_STATES; i++) {
        exact[i] = (double)pages[i] / total * width;
        cells[i] = (unsigned)exact[i];
        sum += cells[i];
    }
    for (; sum < width; sum++)
        cells[most_short(exact, cells)]++;
    for (unsigned i = 0; i < PAGE_STATES; i++) {
        unsigned from = most_over(exact, cells);

        if (!pages[i] || cells[i] || from == PAGE_STATES)
            continue;
        cells[from]--;
        cells[i] = 1;
    }
}
