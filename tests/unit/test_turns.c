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

#define PAIRS 50 /* more than have their turns together */
#define TYPE 200 /* one that a peer may skip */

/* Connections whose frames are all there before the loop looks. */
struct crowd {
    kerf_loop *loop;
    kerf_timer *over;
    kerf_conn *conn[PAIRS];
    int peer[PAIRS];
    unsigned taken[PAIRS];
    unsigned told, closed;
    unsigned closes; /* how many others each closes */
};

static void
stop_when_done(struct crowd *c)
{
    if (c->told + c->closed == PAIRS)
        kerf_loop_stop(c->loop);
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
write_frame(int fd, uint64_t id)
{
    uint8_t head[KERF_HEAD_STEP] = {0};
    kerf_header h = {.type = TYPE, .id = id};
    kerf_out out = {0};

    kerf_out_seal(&out, head, &h, 0);
    assert_int_equal(write(fd, head, out.head_len), (ssize_t)out.head_len);
}

static void
on_over(void *ctx)
{
    struct crowd *c = ctx;

    kerf_loop_stop(c->loop);
}

static void
open_crowd(struct crowd *c)
{
    assert_int_equal(kerf_loop_new(&c->loop), KERF_OK);
    for (size_t k = 0; k < PAIRS; k++) {
        void *gone = malloc(100);
        int fds[2];

        assert_int_equal(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(kerf_conn_open(&c->conn[k], c->loop, fds[0], &ops, c),
                         KERF_OK);
        c->peer[k] = fds[1];
        assert_non_null(gone);
        kerf_conn_near(c->conn[k], 0, gone, 100);
        free(gone);
    }
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
    for (size_t k = 0; k < PAIRS; k++)
        write_frame(c.peer[k], k);
    run_on(&c);
    for (size_t k = 0; k < PAIRS; k++)
        assert_int_equal(c.taken[k], 1);
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

/* Half of the peers are gone: those close others, too. */
static void
turns__of_broken_ones__end_each_once(void **state)
{
    struct crowd c = {.closes = 1};

    (void)state;
    open_crowd(&c);
    for (size_t k = 0; k < PAIRS; k++) {
        if (k % 2 == 0)
            write_frame(c.peer[k], k);
        else
            (void)shutdown(c.peer[k], SHUT_RDWR);
    }
    run_on(&c);
    assert_int_equal(c.told + c.closed, PAIRS);
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
        cmocka_unit_test(turns__an_end_before_a_beginning__is_served_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
