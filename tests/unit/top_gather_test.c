/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asking side of umbra top against VMs and managers that this test plays itself, well and
 * badly. Time is what the test says it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/top/gather.h"

#define SECOND   UINT64_C(1000000000)
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define DONE     "{\"return\": {}}\r\n"

/* One world a test: a folder of sockets of its own. */
struct world {
    char dir[64];
    struct top_model model;
    struct gather *gather;
    uint64_t now;
};

static int make_world(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    char folder[80];

    if (!w)
        return -1;
    strcpy(w->dir, "/tmp/umbra-top-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(folder, sizeof(folder), "%s/umbra", w->dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(setenv("XDG_RUNTIME_DIR", w->dir, 1), 0);
    assert_int_equal(gather_create(&w->gather, &w->model), ERR_OK);
    w->now = SECOND;
    *state = w;
    return 0;
}

static int end_world(void **state)
{
    struct world *w = *state;
    char path[80];

    gather_destroy(w->gather);
    top_model_fini(&w->model);
    snprintf(path, sizeof(path), "%s/umbra", w->dir);
    assert_int_equal(rmdir(path), 0); /* nothing is left in it */
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

static struct sockaddr_un address_of(const struct world *w, const char *file)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/umbra/%s", w->dir, file);
    return address;
}

/* file: NAME.sock or NAME.pool */
static int listen_as(const struct world *w, const char *file)
{
    struct sockaddr_un address = address_of(w, file);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void leave(const struct world *w, const char *file, int listener)
{
    struct sockaddr_un address = address_of(w, file);

    unlink(address.sun_path);
    close(listener);
}

/* -1: nobody is there */
static int caller_of(int listener)
{
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void say(struct world *w, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    gather_serve(w->gather, w->now);
}

static void hears(int fd, const char *text)
{
    char bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, 0);

    assert_true(n > 0);
    bytes[n] = '\0';
    if (!strstr(bytes, text))
        fail_msg("heard '%s', not '%s'", bytes, text);
}

static void hears_nothing(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), -1);
}

static void ask(struct world *w, uint64_t at)
{
    w->now = at;
    assert_int_equal(gather_ask(w->gather, at), ERR_OK);
}

static const char *answer(int resident)
{
    static char text[256];

    snprintf(text, sizeof(text),
             "{\"return\": {\"pid\": 7, \"state\": \"running\", \"instructions\": %d, \"memory\": "
             "{\"pages\": {\"resident\": %d}}}}\r\n",
             resident, resident);
    return text;
}

/* From connecting to the first question. */
static int greet(struct world *w, int listener)
{
    int fd = caller_of(listener);

    assert_true(fd >= 0);
    say(w, fd, GREETING);
    hears(fd, "qmp_capabilities");
    say(w, fd, DONE);
    hears(fd, "x-umbra-stat");
    return fd;
}

/* ---- VMs ---- */

static void a_vm_is_asked_each_period(void **state)
{
    struct world *w = *state;
    int listener = listen_as(w, "a.sock"), fd;
    const struct top_row *row;

    ask(w, SECOND);
    assert_true(gather_is_waiting(w->gather, w->now));
    fd = greet(w, listener);
    assert_int_equal(w->model.count, 0);
    say(w, fd, "{\"event\": \"RESET\", \"data\": {}}\r\n");
    say(w, fd, answer(5));
    assert_int_equal(w->model.count, 1);
    row = &w->model.rows[0];
    assert_string_equal(row->name, "a");
    assert_int_equal(row->now.pages[PAGE_RESIDENT], 5);
    assert_false(row->has_rates);
    assert_false(gather_is_waiting(w->gather, w->now));
    hears_nothing(fd);
    ask(w, 2 * SECOND);
    hears(fd, "x-umbra-stat");
    say(w, fd, answer(6));
    assert_true(w->model.rows[0].has_rates);
    assert_int_equal(caller_of(listener), -1); /* the connection stays */
    leave(w, "a.sock", listener);
    close(fd);
    gather_serve(w->gather, w->now);
    assert_int_equal(w->model.count, 0); /* gone at once */
}

static void an_answer_may_come_in_pieces(void **state)
{
    struct world *w = *state;
    int listener = listen_as(w, "a.sock"), fd;
    const char *text = answer(5);

    ask(w, SECOND);
    fd = greet(w, listener);
    for (; *text; text++)
        say(w, fd, (char[]){*text, '\0'});
    assert_int_equal(w->model.rows[0].now.pages[PAGE_RESIDENT], 5);
    leave(w, "a.sock", listener);
    close(fd);
}

static void a_vm_that_hangs_keeps_nobody_waiting(void **state)
{
    struct world *w = *state;
    int deaf = listen_as(w, "deaf.sock"), good = listen_as(w, "good.sock"), fd, late;

    ask(w, SECOND);
    fd = greet(w, good);
    say(w, fd, answer(5));
    assert_true(gather_is_waiting(w->gather, SECOND + GATHER_DEADLINE_NS - 1));
    assert_false(gather_is_waiting(w->gather, SECOND + GATHER_DEADLINE_NS));
    assert_int_equal(w->model.count, 2);
    assert_true(top_model_row(&w->model, "deaf")->is_silent);
    assert_false(top_model_row(&w->model, "good")->is_silent);
    ask(w, SECOND + GATHER_DEADLINE_NS);
    hears(fd, "x-umbra-stat");
    say(w, fd, answer(6));
    assert_false(gather_is_waiting(w->gather, w->now));
    late = greet(w, deaf); /* the same connection, the same question */
    say(w, late, answer(9));
    assert_false(top_model_row(&w->model, "deaf")->is_silent);
    assert_int_equal(top_model_row(&w->model, "deaf")->now.pages[PAGE_RESIDENT], 9);
    assert_int_equal(caller_of(deaf), -1);
    leave(w, "deaf.sock", deaf);
    leave(w, "good.sock", good);
    close(fd);
    close(late);
    ask(w, 9 * SECOND);
    assert_int_equal(w->model.count, 0);
}

/* Not JSON, an error, or an end: tried once more, then left alone until the next period. */
static void a_bad_vm_is_tried_twice_a_period(void **state)
{
    static const char *const words[] = {"hello\r\n", "{\"error\": {}}\r\n", ""};
    struct world *w = *state;
    int listener = listen_as(w, "bad.sock");

    for (unsigned i = 0; i < 3; i++) {
        ask(w, (i + 1) * SECOND);
        for (unsigned round = 0; round < 2; round++) {
            int fd = caller_of(listener);

            assert_true(fd >= 0);
            if (words[i][0])
                say(w, fd, words[i]);
            close(fd);
            gather_serve(w->gather, w->now);
        }
        assert_int_equal(caller_of(listener), -1);
        assert_true(top_model_row(&w->model, "bad")->is_silent);
        assert_false(gather_is_waiting(w->gather, w->now));
    }
    leave(w, "bad.sock", listener);
    ask(w, 9 * SECOND);
    assert_int_equal(w->model.count, 0);
}

static void what_dead_vms_left_is_no_vm(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = address_of(w, "dead.sock");

    close(listen_as(w, "dead.sock"));
    ask(w, SECOND);
    assert_int_equal(w->model.count, 0);
    assert_false(gather_is_waiting(w->gather, w->now));
    assert_int_equal(access(address.sun_path, F_OK), -1);
}

static void a_name_that_comes_again_is_another_vm(void **state)
{
    struct world *w = *state;
    int listener = listen_as(w, "a.sock"), fd;

    ask(w, SECOND);
    fd = greet(w, listener);
    say(w, fd, answer(5));
    leave(w, "a.sock", listener);
    listener = listen_as(w, "a.sock");
    close(fd);
    gather_serve(w->gather, w->now);
    fd = greet(w, listener);
    say(w, fd, answer(1));
    assert_int_equal(w->model.count, 1);
    assert_false(w->model.rows[0].has_rates);
    leave(w, "a.sock", listener);
    close(fd);
}

/* ---- pools ---- */

static void a_pool_tells_by_itself(void **state)
{
    struct world *w = *state;
    int listener = listen_as(w, "p.pool"), fd;

    ask(w, SECOND);
    assert_true(gather_is_waiting(w->gather, w->now));
    fd = caller_of(listener);
    hears(fd, "{\"watch\":{}}");
    say(w, fd, "{\"member\": {\"name\": \"a\", \"lease\": 5}}\n{\"member\": {\"name\": \"b\"");
    assert_int_equal(w->model.pool_count, 0);
    say(w, fd, ", \"lease\": 6}}\n{\"pool\": {\"state\": \"soft\", \"bytes\": 100}}\n");
    assert_int_equal(w->model.pool_count, 1);
    assert_string_equal(w->model.pools[0].state, "soft");
    assert_int_equal(json_object_size(w->model.pools[0].members), 2);
    assert_false(gather_is_waiting(w->gather, w->now));
    say(w, fd, "{\"pool\": {\"state\": \"high\", \"bytes\": 100}}\n");
    assert_int_equal(json_object_size(w->model.pools[0].members), 0); /* they have left */
    ask(w, 2 * SECOND);
    hears_nothing(fd);
    assert_false(gather_is_waiting(w->gather, SECOND + GATHER_DEADLINE_NS));
    assert_true(w->model.pools[0].is_silent);
    say(w, fd, "{\"pool\": {\"state\": \"high\", \"bytes\": 100}}\n");
    assert_false(w->model.pools[0].is_silent);
    leave(w, "p.pool", listener);
    close(fd);
    gather_serve(w->gather, w->now);
    assert_int_equal(w->model.pool_count, 0);
}

static void a_manager_that_talks_nonsense_is_silent(void **state)
{
    struct world *w = *state;
    int listener = listen_as(w, "p.pool");

    ask(w, SECOND);
    for (unsigned round = 0; round < 2; round++) {
        int fd = caller_of(listener);

        assert_true(fd >= 0);
        say(w, fd, "nonsense\n");
        close(fd);
        gather_serve(w->gather, w->now);
    }
    assert_int_equal(caller_of(listener), -1);
    assert_int_equal(w->model.pool_count, 1);
    assert_true(w->model.pools[0].is_silent);
    leave(w, "p.pool", listener);
    ask(w, 2 * SECOND);
    assert_int_equal(w->model.pool_count, 0);
}

#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_vm_is_asked_each_period),
        IN_WORLD(an_answer_may_come_in_pieces),
        IN_WORLD(a_vm_that_hangs_keeps_nobody_waiting),
        IN_WORLD(a_bad_vm_is_tried_twice_a_period),
        IN_WORLD(what_dead_vms_left_is_no_vm),
        IN_WORLD(a_name_that_comes_again_is_another_vm),
        IN_WORLD(a_pool_tells_by_itself),
        IN_WORLD(a_manager_that_talks_nonsense_is_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
