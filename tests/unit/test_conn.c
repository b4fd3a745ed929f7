#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"

#define ROWS 300
#define ROW 3
#define PAYLOAD 40000
#define IN_ROW 200 /* types that a peer may skip */
#define ALONE 201
#define FRAMES (ROWS * (ROW + 1))

/* Two connections over a pair of sockets, in one loop. Frames go one way: rows
 * of them from one thread, others from another. */
struct pair {
    kerf_loop *loop;
    kerf_conn *conn[2];
    unsigned taken, row, turns;
    uint8_t sink[PAYLOAD];
};

static const uint8_t payload[PAYLOAD] = {1, 2, 3};

struct sent {
    kerf_out out[ROW];
    uint8_t head[ROW][KERF_HEAD_STEP];
    unsigned left;
};

static void
on_sent(void *ctx, kerf_err err)
{
    struct sent *s = ctx;

    assert_int_equal(err, KERF_OK);
    if (__atomic_sub_fetch(&s->left, 1, __ATOMIC_SEQ_CST) == 0)
        free(s);
}

static struct sent *
make_frames(uint8_t type, unsigned count)
{
    struct sent *s = calloc(1, sizeof *s);

    s->left = count;
    for (unsigned i = 0; i < count; i++) {
        kerf_header h = {.type = type, .id = i};

        s->out[i].count = 1;
        s->out[i].piece[0] = payload;
        s->out[i].len[0] = PAYLOAD;
        s->out[i].done = on_sent;
        s->out[i].ctx = s;
        s->out[i].next = i + 1 < count ? &s->out[i + 1] : NULL;
        kerf_out_seal(&s->out[i], s->head[i], &h, 0);
    }
    return s;
}

static void *
send_rows(void *ctx)
{
    struct pair *p = ctx;

    for (unsigned n = 0; n < ROWS; n++)
        kerf_conn_send_row(p->conn[0], make_frames(IN_ROW, ROW)->out);
    return NULL;
}

static void *
send_others(void *ctx)
{
    struct pair *p = ctx;

    for (unsigned n = 0; n < ROWS; n++)
        kerf_conn_send(p->conn[0], make_frames(ALONE, 1)->out);
    return NULL;
}

static kerf_err
on_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame, kerf_sink *sink,
        kerf_detail *why)
{
    struct pair *p = ctx;

    (void)conn;
    (void)frame;
    (void)why;
    sink->count = 1;
    sink->piece[0] = p->sink;
    sink->len[0] = PAYLOAD;
    return KERF_OK;
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct pair *p = ctx;

    (void)conn;
    (void)why;
    if (frame->header.type == ALONE) {
        assert_int_equal(p->row, 0);
    } else {
        assert_int_equal(frame->header.id, p->row);
        p->row = (p->row + 1) % ROW;
    }
    assert_memory_equal(p->sink, payload, PAYLOAD);
    if (++p->taken == FRAMES)
        kerf_loop_stop(p->loop);
    return KERF_OK;
}

static void
on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    (void)ctx;
    (void)conn;
    (void)err;
    fail_msg("it ended: %s", why);
}

static const kerf_conn_ops ops = {
    .on_head = on_head, .on_frame = on_frame, .on_close = on_close};

static void
on_turn(void *ctx)
{
    struct pair *p = ctx;

    p->turns++;
}

static void
open_pair(struct pair *p)
{
    int fd[2];

    memset(p, 0, sizeof *p);
    assert_int_equal(kerf_loop_new(&p->loop), KERF_OK);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd),
        0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(kerf_conn_open(&p->conn[i], p->loop, fd[i], &ops, p),
                         KERF_OK);
        kerf_conn_set_payload_max(p->conn[i], PAYLOAD + KERF_PIECE_ALIGN);
    }
}

static void
close_pair(struct pair *p)
{
    for (size_t i = 0; i < 2; i++)
        kerf_conn_close(p->conn[i]);
    kerf_loop_flush(p->loop);
    kerf_loop_free(p->loop);
}

struct expecting {
    kerf_loop *loop;
    kerf_timer *timer;
    kerf_post post;
    unsigned turns, posts, ticks;
};

static void
on_expecting_turn(void *ctx)
{
    struct expecting *e = ctx;

    e->turns++;
    if (e->turns % 4 == 0)
        kerf_loop_came(e->loop);
    if (e->turns % 4 < 2)
        kerf_loop_expect(e->loop, e->turns % 2 == 0);
}

static void
on_expecting_post(void *ctx)
{
    struct expecting *e = ctx;

    e->posts++;
}

static void
on_expecting_tick(void *ctx)
{
    struct expecting *e = ctx;

    if (++e->ticks == 3)
        kerf_loop_stop(e->loop);
    kerf_loop_post(e->loop, &e->post);
}

/* It is awake for what it waits for, and for all else. */
static void
loop__expects_something__does_the_rest_meanwhile(void **state)
{
    struct expecting e = {0};

    (void)state;
    assert_int_equal(kerf_loop_new(&e.loop), KERF_OK);
    assert_int_equal(kerf_timer_new(&e.timer, e.loop, on_expecting_tick, &e),
                     KERF_OK);
    e.post = (kerf_post){.fn = on_expecting_post, .ctx = &e};
    kerf_loop_on_turn(e.loop, on_expecting_turn, &e);
    kerf_timer_start(e.timer, 1, 2);
    kerf_loop_run(e.loop);
    assert_int_equal(e.ticks, 3);
    assert_in_range(e.posts, 2, 3);
    assert_true(e.turns >= 3);
    kerf_loop_on_turn(e.loop, NULL, NULL);
    kerf_timer_free(e.timer);
    kerf_loop_flush(e.loop);
    kerf_loop_free(e.loop);
}

static void
row__others_send_too__nothing_comes_between(void **state)
{
    struct pair p;
    pthread_t thread[2];

    (void)state;
    open_pair(&p);
    kerf_loop_on_turn(p.loop, on_turn, &p);
    assert_int_equal(pthread_create(&thread[0], NULL, send_rows, &p), 0);
    assert_int_equal(pthread_create(&thread[1], NULL, send_others, &p), 0);
    kerf_loop_run(p.loop);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(p.taken, FRAMES);
    assert_true(p.turns > 0);
    close_pair(&p);
}

static void
keep(void *ctx, kerf_err err)
{
    kerf_err *done = ctx;

    *done = err;
}

/* As much as the kernel takes, and more. */
static void
taken__only_when_the_kernel_has_all_of_it(void **state)
{
    struct pair p;
    struct sent *s;
    kerf_err done = KERF_EAGAIN;
    unsigned n = 0;

    (void)state;
    open_pair(&p);
    s = make_frames(ALONE, 1);
    s->out[0].done = keep;
    s->out[0].ctx = &done;
    kerf_out_begin(s->out);
    assert_false(kerf_conn_has_taken(p.conn[0], s->out));
    do { /* nobody reads */
        done = KERF_EAGAIN;
        kerf_conn_send(p.conn[0], s->out);
        assert_int_equal(kerf_conn_has_taken(p.conn[0], s->out),
                         done == KERF_OK);
    } while (done == KERF_OK && ++n < 10000);
    assert_int_equal(done, KERF_EAGAIN);
    close_pair(&p);
    assert_int_equal(done, KERF_ECLOSED);
    free(s);
}

/* One that reads in steps, and a plain socket that sends to it by hand. */
#define LARGE ((size_t)700 << 10)
#define LAST (32 << 10) /* comes apart */

struct large {
    kerf_loop *loop;
    kerf_conn *conn;
    kerf_timer *timer;
    int fd, own_fd;
    bool taken, ended;
    unsigned pauses;
    int low; /* that is waited for */
    uint8_t *sink;
};

static int
low_of(int fd)
{
    int low = 0;
    socklen_t len = sizeof low;

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, &len), 0);
    return low;
}

static kerf_err
on_large_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
              kerf_sink *sink, kerf_detail *why)
{
    struct large *l = ctx;

    (void)conn;
    (void)frame;
    (void)why;
    sink->count = 1;
    sink->piece[0] = l->sink;
    sink->len[0] = LARGE;
    return KERF_OK;
}

static kerf_err
on_large(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct large *l = ctx;

    (void)conn;
    (void)frame;
    (void)why;
    l->taken = true;
    kerf_loop_stop(l->loop);
    return KERF_OK;
}

static void
on_large_end(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    struct large *l = ctx;

    (void)conn;
    (void)why;
    assert_int_equal(err, KERF_ECLOSED);
    l->ended = true;
    kerf_loop_stop(l->loop);
}

static void
on_large_pause(void *ctx)
{
    struct large *l = ctx;

    l->pauses++;
}

static const kerf_conn_ops large_ops = {.in_steps = true,
                                        .on_head = on_large_head,
                                        .on_frame = on_large,
                                        .on_pause = on_large_pause,
                                        .on_close = on_large_end};

static void
on_look(void *ctx)
{
    struct large *l = ctx;

    if (!l->ended && low_of(l->own_fd) == l->low) /* else fd is closed */
        kerf_loop_stop(l->loop);
}

/* Over TCP: other sockets wake up for every byte. */
static void
connect_large(struct large *l)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(l->fd, (struct sockaddr *)&at, sizeof at), 0);
    l->own_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(l->own_fd >= 0);
    (void)close(listener);
}

static void
open_large(struct large *l)
{
    memset(l, 0, sizeof *l);
    l->sink = malloc(LARGE);
    assert_int_equal(kerf_loop_new(&l->loop), KERF_OK);
    connect_large(l);
    assert_int_equal(
        kerf_conn_open(&l->conn, l->loop, l->own_fd, &large_ops, l), KERF_OK);
    kerf_conn_set_payload_max(l->conn, LARGE);
    assert_int_equal(kerf_timer_new(&l->timer, l->loop, on_look, l), KERF_OK);
    kerf_timer_start(l->timer, 1, 1);
}

static void
close_large(struct large *l)
{
    kerf_timer_free(l->timer);
    kerf_conn_close(l->conn);
    if (l->fd >= 0)
        (void)close(l->fd);
    kerf_loop_flush(l->loop);
    kerf_loop_free(l->loop);
    free(l->sink);
}

struct part {
    int fd;
    const uint8_t *data;
    size_t len;
};

static void *
put(void *ctx)
{
    struct part *p = ctx;

    while (p->len > 0) {
        ssize_t n = write(p->fd, p->data, p->len);

        assert_true(n > 0);
        p->data += n;
        p->len -= (size_t)n;
    }
    return NULL;
}

/* Sends so much, until the other side waits for `low` bytes, or ends. */
static void
put_until(struct large *l, const uint8_t *data, size_t len, int low)
{
    struct part part = {.fd = l->fd, .data = data, .len = len};
    pthread_t thread;

    l->low = low;
    assert_int_equal(pthread_create(&thread, NULL, put, &part), 0);
    kerf_loop_run(l->loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* The frame's bytes; free them. */
static uint8_t *
make_large(size_t *head_len)
{
    uint8_t *bytes = malloc(KERF_HEAD_STEP + LARGE);
    kerf_header h = {.type = IN_ROW};
    kerf_out out = {.count = 1, .len = {LARGE}};

    for (size_t i = 0; i < LARGE; i++)
        bytes[KERF_HEAD_STEP + i] = (uint8_t)(i * 7 + i / 251);
    out.piece[0] = bytes + KERF_HEAD_STEP;
    kerf_out_seal(&out, bytes, &h, 0);
    *head_len = out.head_len;
    return bytes;
}

static void
steps__part_of_a_large_payload__waits_for_the_rest_of_it(void **state)
{
    enum { STEP = 256 << 10, PART = 100 << 10 };
    struct large l;
    size_t head;
    uint8_t *bytes = make_large(&head);
    size_t at = head + PART;

    (void)state;
    assert_int_equal(head, KERF_HEAD_STEP);
    open_large(&l);
    put_until(&l, bytes, at, STEP);
    assert_false(l.taken);
    assert_true(l.pauses > 0); /* also in the midst of a frame */
    /* Then 88 KB are missing, then a little. */
    put_until(&l, bytes + at, (size_t)2 * STEP,
              LARGE - PART - (size_t)2 * STEP - LAST);
    assert_false(l.taken);
    at += (size_t)2 * STEP;
    put_until(&l, bytes + at, head + LARGE - LAST - at, LAST);
    assert_false(l.taken);
    at = head + LARGE - LAST;
    put_until(&l, bytes + at, head + LARGE - at, 0);
    assert_true(l.taken);
    assert_memory_equal(l.sink, bytes + head, LARGE);
    assert_int_equal(low_of(l.own_fd), 1); /* the next head is short */
    close_large(&l);
    free(bytes);
}

static void
steps__peer_goes_in_the_midst__is_noticed(void **state)
{
    struct large l;
    size_t head;
    uint8_t *bytes = make_large(&head);

    (void)state;
    open_large(&l);
    put_until(&l, bytes, head + 1000, 256 << 10);
    assert_int_equal(shutdown(l.fd, SHUT_WR), 0);
    l.low = 0;
    kerf_loop_run(l.loop);
    assert_true(l.ended);
    close_large(&l);
    free(bytes);
}

/* As when a cloud says "revoked" and goes, while the edge sends. */
static void
broken__what_the_peer_said_before__is_read(void **state)
{
    enum { REST = 88 << 10 };
    const struct linger at_once = {.l_onoff = 1};
    struct large l;
    size_t head;
    uint8_t *bytes = make_large(&head);
    size_t at = head + LARGE - REST;
    struct part rest = {.data = bytes + at, .len = REST};
    int waiting = 0;

    (void)state;
    open_large(&l);
    put_until(&l, bytes, at, REST - LAST);
    rest.fd = l.fd;
    (void)put(&rest); /* nobody reads: the kernel keeps it */
    while (waiting < REST)
        assert_int_equal(ioctl(l.own_fd, FIONREAD, &waiting), 0);
    assert_int_equal(
        setsockopt(l.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    assert_int_equal(close(l.fd), 0); /* a reset */
    l.fd = -1;
    l.low = 0;
    while (!l.ended)
        kerf_loop_run(l.loop);
    assert_true(l.taken);
    assert_memory_equal(l.sink, bytes + head, LARGE);
    close_large(&l);
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop__expects_something__does_the_rest_meanwhile),
        cmocka_unit_test(row__others_send_too__nothing_comes_between),
        cmocka_unit_test(taken__only_when_the_kernel_has_all_of_it),
        cmocka_unit_test(
            steps__part_of_a_large_payload__waits_for_the_rest_of_it),
        cmocka_unit_test(steps__peer_goes_in_the_midst__is_noticed),
        cmocka_unit_test(broken__what_the_peer_said_before__is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
