/* SPDX-License-Identifier: Apache-2.0 */
/* The board's door to its balloon, for any thread. */
#include "machine/board_private.h"
#include "machine/virtio/balloon.h"

void board_balloon_set_target(struct board *board, uint64_t pages)
{
    board_lock(board);
    balloon_set_target(board->balloon, pages);
    board_unlock(board);
}

void board_balloon_ask_stats(struct board *board)
{
    board_lock(board);
    balloon_ask_stats(board->balloon);
    board_unlock(board);
}

bool board_balloon_start_hinting(struct board *board)
{
    bool started;

    board_lock(board);
    started = balloon_start_hinting(board->balloon);
    board_unlock(board);
    return started;
}

void board_balloon_info(struct board *board, struct balloon_info *out)
{
    board_lock(board);
    balloon_get_info(board->balloon, out);
    board_unlock(board);
}
