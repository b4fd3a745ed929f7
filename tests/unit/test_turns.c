#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/fd_watch.h"

#define PAIRS 50 /* more than have their turns together */
#define TYPE 200 /* one that a peer may skip */

/* Connections whose frames are all there before the loop looks. */
struct crowd {
    kerf_loop *loop;
    kerf_timer *over;
    kerf_conn *conn[PAIRS];
    int own[PAIRS], peer[PAIRS];
    unsigned taken[PAIRS];
    unsigned told, closed;
    unsigned closes; /* how many others each closes */
    unsigned before; /* told in rounds that are over */
};

static void
stop_when_done(struct crowd *c)
{
    if (c->told - c->before + c->closed == PAIRS)
        kerf_loop_stop(c->loop);
}

static void
write_frame(int fd, uint64_t id)
{
    uint8_t head[KERF_HEAD_STEP] = {0};
    kerf_header h = {.type = TYPE, .id = id};
    kerf_out out = {0};

    kerf_out_seal(&out, head, &h, 0);
    assert_int_equal(write(fd, head, out.head_len), (ssize_t)out.head_len);
}

/* Up to n that were not told yet. */
static void
close_others(struct crowd *c, unsigned n)
{
    for (size_t k = 0; k < PAIRS && n > 0; k++) {
        if (c->conn[k] == NULL || c->taken[k] > 0)
            continue;
        kerf_conn_close(c->conn[k]);
        c->conn[k] = NULL;
        c->closed++;
        n--;
    }
}

static size_t
number_of(const struct crowd *c, const kerf_conn *conn)
{
    size_t k = 0;

    while (k < PAIRS && c->conn[k] != conn)
        k++;
    return k;
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct crowd *c = ctx;
    size_t k = number_of(c, conn);

    (void)why;
    assert_true(k < PAIRS); /* else it was closed */
    assert_int_equal(frame->header.id, k);
    c->taken[k]++;
    c->told++;
    close_others(c, c->closes);
    stop_when_done(c);
    return KERF_OK;
}

static void
on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    struct crowd *c = ctx;
    size_t k = number_of(c, conn);

    (void)err;
    (void)why;
    assert_true(k < PAIRS);
    kerf_conn_close(conn);
    c->conn[k] = NULL;
    c->closed++;
    close_others(c, c->closes);
    stop_when_done(c);
}

static const kerf_conn_ops ops = {.on_frame = on_frame, .on_close = on_close};

static void
on_over(void *ctx)
{
    struct crowd *c = ctx;

    kerf_loop_stop(c->loop);
}

static void
open_some(struct crowd *c, size_t from, size_t to)
{
    for (size_t k = from; k < to; k++) {
        void *gone = malloc(100);
        int fds[2];

        assert_int_equal(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(kerf_conn_open(&c->conn[k], c->loop, fds[0], &ops, c),
                         KERF_OK);
        c->own[k] = fds[0];
        c->peer[k] = fds[1];
        assert_non_null(gone);
        kerf_conn_near(c->conn[k], 0, gone, 100);
        free(gone);
    }
}

static void
open_crowd(struct crowd *c)
{
    assert_int_equal(kerf_loop_new(&c->loop), KERF_OK);
    open_some(c, 0, PAIRS);
}

/* What follows the last turn, too: for a while. */
static void
run_on(struct crowd *c)
{
    kerf_loop_run(c->loop);
    assert_int_equal(kerf_timer_new(&c->over, c->loop, on_over, c), KERF_OK);
    kerf_timer_start(c->over, 50, 0);
    kerf_loop_run(c->loop);
    kerf_timer_free(c->over);
}

static void
close_crowd(struct crowd *c)
{
    for (size_t k = 0; k < PAIRS; k++) {
        if (c->conn[k] != NULL)
            kerf_conn_close(c->conn[k]);
        (void)close(c->peer[k]);
    }
    kerf_loop_free(c->loop);
}

static void
turns__of_a_crowd__each_has_its_own(void **state)
{
    struct crowd c = {0};

    (void)state;
    open_crowd(&c);
    for (unsigned round = 1; round <= 3; round++) {
        for (size_t k = 0; k < PAIRS; k++)
            write_frame(c.peer[k], k);
        run_on(&c);
        for (size_t k = 0; k < PAIRS; k++)
            assert_int_equal(c.taken[k], round);
        c.before = c.told;
    }
    close_crowd(&c);
}

/* They wait for their turn, and then it does not come. */
static void
turns__closed_before_theirs__are_not_told(void **state)
{
    (void)state;
    for (unsigned closes = 1; closes <= PAIRS; closes += 7) {
        struct crowd c = {.closes = closes};

        open_crowd(&c);
        for (size_t k = 0; k < PAIRS; k++)
            write_frame(c.peer[k], k);
        run_on(&c);
        assert_int_equal(c.told + c.closed, PAIRS);
        assert_true(c.closed >= PAIRS / 2 - 1);
        close_crowd(&c);
    }
}

/* Of the peers a third has left, and a third broken off: the connection is
 * reset, since what came to it was not read. */
static void
turns__of_broken_ones__end_each_once(void **state)
{
    (void)state;
    for (unsigned closes = 0; closes < 2; closes++) {
        struct crowd c = {.closes = closes};

        open_crowd(&c);
        for (size_t k = 0; k < PAIRS; k++) {
            if (k % 3 == 0) {
                write_frame(c.peer[k], k);
            } else if (k % 3 == 1) {
                (void)shutdown(c.peer[k], SHUT_RDWR);
            } else {
                assert_int_equal(write(c.own[k], "x", 1), 1);
                (void)close(c.peer[k]);
                c.peer[k] = -1;
            }
        }
        run_on(&c);
        assert_int_equal(c.told + c.closed, PAIRS);
        close_crowd(&c);
    }
}

/* How many had their turns when the poll came to this place among them. */
struct place {
    struct crowd *crowd;
    kerf_fd_watch *watch;
    int pipe[2];
    unsigned told;
};

static void
on_place(void *ctx, bool readable, bool writable)
{
    struct place *p = ctx;

    (void)readable;
    (void)writable;
    p->told = p->crowd->told;
    kerf_fd_watch_set(p->watch, false, false);
}

static void
open_place(struct place *p, struct crowd *c)
{
    p->crowd = c;
    assert_int_equal(pipe(p->pipe), 0);
    assert_int_equal(write(p->pipe[1], "x", 1), 1);
    assert_int_equal(
        kerf_fd_watch_new(&p->watch, c->loop, p->pipe[0], on_place, p),
        KERF_OK);
    kerf_fd_watch_set(p->watch, true, false);
}

static void
close_place(struct place *p)
{
    kerf_fd_watch_free(p->watch);
    (void)close(p->pipe[0]);
    (void)close(p->pipe[1]);
}

/* Their turns come together, but not those of all. */
static void
turns__of_a_crowd__come_some_at_a_time(void **state)
{
    struct crowd c = {0};
    struct place place[2];

    (void)state;
    assert_int_equal(kerf_loop_new(&c.loop), KERF_OK);
    open_some(&c, 0, 20);
    open_place(&place[0], &c);
    open_some(&c, 20, 40);
    open_place(&place[1], &c);
    open_some(&c, 40, PAIRS);
    for (size_t k = 0; k < PAIRS; k++)
        write_frame(c.peer[k], k);
    run_on(&c);
    assert_in_range(place[0].told, 1, 19);
    assert_in_range(place[1].told, 21, 39);
    for (size_t k = 0; k < 2; k++)
        close_place(&place[k]);
    close_crowd(&c);
}

/* A connection that ends, and one that is to be accepted, in one poll. */
struct door {
    kerf_loop *loop;
    kerf_listener *listener;
    kerf_conn *conn;
    unsigned ended, accepted;
    bool shuts; /* the end closes the listener */
};

static void
on_end(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    struct door *d = ctx;

    (void)err;
    (void)why;
    kerf_conn_close(conn);
    d->ended++;
    assert_int_equal(d->accepted, 0);
    if (d->shuts) {
        kerf_listener_free(d->listener);
        d->listener = NULL;
        kerf_loop_stop(d->loop);
    }
}

static void
on_accepted(void *ctx, int fd)
{
    struct door *d = ctx;

    (void)close(fd);
    d->accepted++;
    kerf_loop_stop(d->loop);
}

static const kerf_conn_ops door_ops = {.on_frame = on_frame,
                                       .on_close = on_end};

static int
knock(const kerf_listener *listener)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port =
                                 htons((uint16_t)kerf_listener_port(listener)),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* What ends gives its file back first: the next one may need it. */
static void
turns__an_end_before_a_beginning__is_served_first(void **state)
{
    (void)state;
    for (int shuts = 0; shuts < 2; shuts++) {
        struct door d = {.shuts = shuts == 1};
        int fds[2];
        int guest;

        assert_int_equal(kerf_loop_new(&d.loop), KERF_OK);
        assert_int_equal(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(kerf_conn_open(&d.conn, d.loop, fds[0], &door_ops, &d),
                         KERF_OK);
        assert_int_equal(kerf_listen(&d.listener, d.loop, "127.0.0.1", 0,
                                     KERF_REACH_HERE, on_accepted, &d, NULL),
                         KERF_OK);
        (void)close(fds[1]);
        guest = knock(d.listener);
        kerf_loop_run(d.loop);
        assert_int_equal(d.ended, 1);
        assert_int_equal(d.accepted, shuts == 1 ? 0 : 1);
        kerf_listener_free(d.listener);
        (void)close(guest);
        kerf_loop_free(d.loop);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns__of_a_crowd__each_has_its_own),
        cmocka_unit_test(turns__closed_before_theirs__are_not_told),
        cmocka_unit_test(turns__of_broken_ones__end_each_once),
        cmocka_unit_test(turns__of_a_crowd__come_some_at_a_time),
        cmocka_unit_test(turns__an_end_before_a_beginning__is_served_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
