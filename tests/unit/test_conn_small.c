#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "net/conn.h"

#define FRAMES 400
#define BAD_FRAMES 60
#define ANSWERS 2000 /* more than a socket and a queue hold */
#define ROW 10       /* that fit into what is read ahead */
#define TYPE 200     /* one that a peer may skip */
#define META_MOST 600
#define PAYLOAD_MOST 9000
#define PIECES 2

/* One connection that reads, and the other end of its socket, by hand. */
struct reader {
    kerf_loop *loop;
    kerf_conn *conn;
    int fd, own_fd;
    unsigned taken, stop_at;
    bool tiny, has_waited;
    int left; /* in the socket, at the second frame */
    uint8_t sink[PIECES][PAYLOAD_MOST];
};

/* What frame i is made of. */
struct parts {
    size_t meta, len[PIECES];
};

static uint8_t bytes[FRAMES + META_MOST + PAYLOAD_MOST];

/* Mostly small, some of them not; tiny: all of one size. */
static struct parts
parts_of(uint64_t i, bool tiny)
{
    uint64_t rng = i + 1;
    struct parts p = {.meta = 20, .len = {40, 40}};

    if (tiny)
        return p;
    p.meta = (size_t)(kerf_rng_next(&rng) % META_MOST);
    if (kerf_rng_next(&rng) % 3 > 0)
        p.meta %= 64;
    for (size_t k = 0; k < PIECES; k++) {
        p.len[k] = 1 + (size_t)(kerf_rng_next(&rng) % (PAYLOAD_MOST - 1));
        if (kerf_rng_next(&rng) % 4 > 0)
            p.len[k] = 1 + p.len[k] % 100;
    }
    return p;
}

static kerf_err
on_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame, kerf_sink *sink,
        kerf_detail *why)
{
    struct reader *r = ctx;
    struct parts p = parts_of(frame->header.id, r->tiny);

    (void)conn;
    (void)why;
    sink->count = PIECES;
    for (size_t k = 0; k < PIECES; k++) {
        sink->piece[k] = r->sink[k];
        sink->len[k] = p.len[k];
    }
    return KERF_OK;
}

static void
expect_whole(const struct reader *r, const kerf_frame_in *frame)
{
    uint64_t i = frame->header.id;
    struct parts p = parts_of(i, r->tiny);

    assert_int_equal(frame->header.meta_len, p.meta);
    assert_memory_equal(frame->meta, bytes + i, p.meta);
    for (size_t k = 0; k < PIECES; k++)
        assert_memory_equal(r->sink[k], bytes + i + k, p.len[k]);
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct reader *r = ctx;

    (void)conn;
    (void)why;
    if (r->taken == 1)
        assert_int_equal(ioctl(r->own_fd, FIONREAD, &r->left), 0);
    assert_int_equal(frame->header.id, r->taken++);
    expect_whole(r, frame);
    if (r->taken == r->stop_at)
        kerf_loop_stop(r->loop);
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

static const kerf_conn_ops small_ops = {.small = true,
                                        .on_head = on_head,
                                        .on_frame = on_frame,
                                        .on_close = on_close};
static const kerf_conn_ops other_ops = {
    .on_head = on_head, .on_frame = on_frame, .on_close = on_close};

static void
open_reader(struct reader *r, const kerf_conn_ops *ops, unsigned stop_at,
            bool tiny)
{
    int fd[2];

    memset(r, 0, sizeof *r);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    r->fd = fd[0];
    r->stop_at = stop_at;
    r->tiny = tiny;
    assert_int_equal(ioctl(fd[1], FIONBIO, &(int){1}), 0);
    assert_int_equal(kerf_loop_new(&r->loop), KERF_OK);
    assert_int_equal(kerf_conn_open(&r->conn, r->loop, fd[1], ops, r), KERF_OK);
    r->own_fd = fd[1];
    kerf_conn_set_payload_max(r->conn, (uint64_t)PIECES * PAYLOAD_MOST * 2);
}

static void
close_reader(struct reader *r)
{
    kerf_conn_close(r->conn);
    kerf_loop_flush(r->loop);
    kerf_loop_free(r->loop);
    (void)close(r->fd);
}

static void
on_sent(void *ctx, kerf_err err)
{
    (void)ctx;
    (void)err;
}

/* Frame i as it goes over the wire, behind at. Returns the new at. */
static size_t
put_frame(uint8_t *wire, size_t at, uint64_t i, bool tiny)
{
    struct parts p = parts_of(i, tiny);
    kerf_header h = {.type = TYPE, .id = i};
    kerf_out out = {.count = PIECES, .done = on_sent};
    uint8_t *head = calloc(1, kerf_head_len(p.meta));

    memcpy(head + KERF_HEADER_LEN, bytes + i, p.meta);
    for (size_t k = 0; k < PIECES; k++) {
        out.piece[k] = bytes + i + k;
        out.len[k] = p.len[k];
    }
    kerf_out_seal(&out, head, &h, p.meta);
    memcpy(wire + at, head, out.head_len);
    at += out.head_len;
    free(head);
    for (size_t k = 0; k < PIECES; k++) {
        memcpy(wire + at, bytes + i + k, p.len[k]);
        at += (size_t)kerf_pieces_len(&p.len[k], 1);
    }
    return at;
}

static size_t
put_frames(uint8_t **wire, unsigned count, bool tiny)
{
    size_t at = 0;

    *wire = calloc(count, (size_t)PIECES * PAYLOAD_MOST + META_MOST + 512);
    for (unsigned i = 0; i < count; i++)
        at = put_frame(*wire, at, i, tiny);
    return at;
}

struct writer {
    int fd;
    uint64_t seed;
    const uint8_t *wire;
    size_t len;
};

/* Pieces that cut heads, metas and payloads anywhere. */
static void *
write_pieces(void *ctx)
{
    struct writer *w = ctx;
    size_t most = 1 + (size_t)w->seed * w->seed * 40;

    for (size_t at = 0; at < w->len;) {
        size_t n = 1 + (size_t)(kerf_rng_next(&w->seed) % most);

        n = n < w->len - at ? n : w->len - at;
        if (write(w->fd, w->wire + at, n) != (ssize_t)n)
            break;
        at += n;
    }
    return NULL;
}

static void
small__cut_anywhere__every_frame_is_right(void **state)
{
    uint8_t *wire;
    size_t len = put_frames(&wire, FRAMES, false);

    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct reader r;
        pthread_t thread;
        struct writer w = {.seed = seed, .wire = wire, .len = len};

        open_reader(&r, &small_ops, FRAMES, false);
        w.fd = r.fd;
        assert_int_equal(pthread_create(&thread, NULL, write_pieces, &w), 0);
        kerf_loop_run(r.loop);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(r.taken, FRAMES);
        close_reader(&r);
    }
    free(wire);
}

/* Once one has shown that they are small: more frames than a turn has, and none
 * of them is left in the socket for the poll to find. */
static void
small__a_row__is_taken_with_the_second_read(void **state)
{
    struct reader r;
    uint8_t *wire;
    size_t len = put_frames(&wire, ROW, true);

    (void)state;
    open_reader(&r, &small_ops, ROW, true);
    assert_int_equal(write(r.fd, wire, len), (ssize_t)len);
    kerf_loop_run(r.loop);
    assert_int_equal(r.taken, ROW);
    assert_int_equal(r.left, 0);
    close_reader(&r);
    free(wire);
}

/* Where payloads are large, they are read to where they belong. */
static void
other__a_row__is_read_frame_by_frame(void **state)
{
    struct reader r;
    uint8_t *wire;
    size_t len = put_frames(&wire, ROW, true);

    (void)state;
    open_reader(&r, &other_ops, ROW, true);
    assert_int_equal(write(r.fd, wire, len), (ssize_t)len);
    kerf_loop_run(r.loop);
    assert_int_equal(r.taken, ROW);
    assert_true(r.left >= (int)(len / ROW * (ROW - 3)));
    close_reader(&r);
    free(wire);
}

/* Each frame that is taken is what it was, or is not taken at all: its hash is
 * looked at, also where its payload is dropped. */
static kerf_err
on_bad_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
            kerf_sink *sink, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (frame->header.id >= FRAMES)
        return kerf_fail(why, KERF_EPROTO, "no such frame");
    if (frame->header.id % 2 == 0)
        sink->discard = true;
    else
        err = on_head(ctx, conn, frame, sink, why);
    return err;
}

static kerf_err
on_bad_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
             kerf_detail *why)
{
    struct reader *r = ctx;

    (void)conn;
    (void)why;
    r->taken++;
    if (frame->header.id % 2 == 1 && frame->header.payload_len > 0) {
        expect_whole(r, frame);
    }
    return KERF_OK;
}

static void
on_bad_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    struct reader *r = ctx;

    (void)conn;
    (void)err;
    (void)why;
    kerf_loop_stop(r->loop);
}

static const kerf_conn_ops bad_ops = {.small = true,
                                      .on_head = on_bad_head,
                                      .on_frame = on_bad_frame,
                                      .on_close = on_bad_close};

/* As write_pieces(), and no more follows. Whoever reads may be gone. */
static void *
write_bad(void *ctx)
{
    struct writer *w = ctx;

    (void)write_pieces(w);
    (void)shutdown(w->fd, SHUT_WR);
    return NULL;
}

static void
small__bits_flipped_and_cut_off__nothing_wrong_is_taken(void **state)
{
    uint8_t *wire;
    size_t len = put_frames(&wire, BAD_FRAMES, false);
    uint8_t *bad = malloc(len);

    (void)state;
    assert_non_null(bad);
    for (unsigned seed = 1; seed <= 300; seed++) {
        uint64_t rng = seed;
        struct reader r;
        pthread_t thread;
        struct writer w = {.seed = 1 + seed % 12, .wire = bad};

        memcpy(bad, wire, len);
        w.len = 1 + (size_t)(kerf_rng_next(&rng) % len);
        for (uint64_t left = kerf_rng_next(&rng) % 4; left > 0; left--)
            bad[kerf_rng_next(&rng) % w.len] ^=
                (uint8_t)(1u << kerf_rng_next(&rng) % 8);
        open_reader(&r, &bad_ops, BAD_FRAMES, false);
        w.fd = r.fd;
        assert_int_equal(pthread_create(&thread, NULL, write_bad, &w), 0);
        kerf_loop_run(r.loop);
        assert_in_range(r.taken, 0, BAD_FRAMES);
        kerf_conn_close(r.conn);
        (void)shutdown(r.fd, SHUT_RDWR);
        assert_int_equal(pthread_join(thread, NULL), 0);
        kerf_loop_flush(r.loop);
        kerf_loop_free(r.loop);
        (void)close(r.fd);
    }
    free(bad);
    free(wire);
}

/* Not now, once, of the third frame: the second was read with all that follows.
 */
static kerf_err
on_head_later(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
              kerf_sink *sink, kerf_detail *why)
{
    struct reader *r = ctx;

    if (frame->header.id == 2 && !r->has_waited) {
        r->has_waited = true;
        kerf_loop_stop(r->loop);
        return KERF_EAGAIN;
    }
    return on_head(ctx, conn, frame, sink, why);
}

static const kerf_conn_ops later_ops = {.small = true,
                                        .on_head = on_head_later,
                                        .on_frame = on_frame,
                                        .on_close = on_close};

static void *
read_all(void *ctx)
{
    static uint8_t scrap[1 << 16];

    while (read(*(int *)ctx, scrap, sizeof scrap) > 0)
        continue;
    return NULL;
}

/* All that is to come was read ahead, so that no poll tells of it. */
static void
resume__while_the_peer_reads_nothing__goes_on_when_it_does(void **state)
{
    struct reader r;
    pthread_t thread;
    uint8_t *wire;
    size_t len = put_frames(&wire, ROW, true);

    (void)state;
    open_reader(&r, &later_ops, ROW, true);
    assert_int_equal(write(r.fd, wire, len), (ssize_t)len);
    kerf_loop_run(r.loop);
    assert_int_equal(r.taken, 2);
    for (unsigned i = 0; i < ANSWERS; i++)
        assert_int_equal(
            kerf_conn_send_meta(r.conn, KERF_FRAME_PING, 0, bytes, META_MOST),
            KERF_OK);
    kerf_conn_resume(r.conn);
    assert_int_equal(r.taken, 2);
    assert_int_equal(r.left, 0);
    assert_int_equal(pthread_create(&thread, NULL, read_all, &r.fd), 0);
    while (r.taken < ROW) /* it stays one that was stopped */
        kerf_loop_run(r.loop);
    (void)shutdown(r.fd, SHUT_RDWR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_reader(&r);
    free(wire);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small__cut_anywhere__every_frame_is_right),
        cmocka_unit_test(small__a_row__is_taken_with_the_second_read),
        cmocka_unit_test(other__a_row__is_read_frame_by_frame),
        cmocka_unit_test(
            small__bits_flipped_and_cut_off__nothing_wrong_is_taken),
        cmocka_unit_test(
            resume__while_the_peer_reads_nothing__goes_on_when_it_does),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
