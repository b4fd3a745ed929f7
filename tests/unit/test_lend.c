#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/large.h"
#include "net/conn.h"
#include "net/lend.h"

#define BYTES ((size_t)5 << 20) /* more than sockets and pipes hold */
#define ODD 64                  /* from where pages begin */
#define PIECE ((size_t)300001)  /* of a frame; its pad follows */

/* The ends of a connection over loopback, as far as they do not block. */
struct ends {
    int from, to;
};

static void
open_ends(struct ends *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    e->from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(e->from, (struct sockaddr *)&at, len), 0);
    e->to = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(e->to >= 0);
    assert_int_equal(fcntl(e->from, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(close(listener), 0);
}

static void
close_ends(struct ends *e)
{
    (void)close(e->from);
    (void)close(e->to);
}

static uint8_t *
make_bytes(size_t len)
{
    uint8_t *data = malloc(len);
    uint32_t x = 7;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
    return data;
}

/* What is there now. */
static size_t
take(int fd, uint8_t *to, size_t room)
{
    size_t got = 0;
    ssize_t n;

    while (got < room && (n = recv(fd, to + got, room - got, 0)) > 0)
        got += (size_t)n;
    return got;
}

static void
rest__sent_as_far_as_it_goes__then_goes_on_there(void **state)
{
    uint8_t *data = make_bytes(BYTES + ODD);
    uint8_t *got = malloc(BYTES);
    kerf_lend *lend = kerf_lend_new();
    struct ends e;
    size_t sent = 0, taken = 0;
    unsigned full = 0;

    (void)state;
    assert_non_null(lend);
    open_ends(&e);
    while (taken < BYTES) {
        const size_t first = (size_t)99991;
        size_t left = BYTES - sent;
        size_t a = left < first ? left : first;
        const struct iovec iov[] = {{data + ODD + sent, a},
                                    {data + ODD + sent + a, left - a}};
        size_t put = 0;
        kerf_err err =
            kerf_lend_send(lend, e.from, iov, a < left ? 2 : 1, false, &put);

        sent += put;
        assert_true(sent <= BYTES);
        assert_int_equal(err, sent == BYTES ? KERF_OK : KERF_EAGAIN);
        full += err == KERF_EAGAIN;
        while (taken < sent) /* it is on its way, if not there yet */
            taken += take(e.to, got + taken, BYTES - taken);
    }
    assert_true(full > 0);
    assert_memory_equal(got, data + ODD, BYTES);
    kerf_lend_free(lend);
    close_ends(&e);
    free(got);
    free(data);
}

/* Who changes it too early is seen to have: the receiver reads it where it is.
 */
static void
memory__changed_after_it_was_sent__arrives_as_changed(void **state)
{
    uint8_t *data = make_bytes(PIECE);
    uint8_t got[16];
    kerf_lend *lend = kerf_lend_new();
    const struct iovec iov = {data, PIECE};
    struct ends e;
    struct pollfd there = {.events = POLLIN};
    size_t put = 0;

    (void)state;
    open_ends(&e);
    assert_int_equal(kerf_lend_send(lend, e.from, &iov, 1, false, &put),
                     KERF_OK);
    assert_int_equal(put, PIECE);
    memset(data, 0xab, sizeof got);
    there.fd = e.to;
    assert_int_equal(poll(&there, 1, 10000), 1);
    assert_int_equal(recv(e.to, got, sizeof got, 0), sizeof got);
    assert_memory_equal(got, data, sizeof got);
    kerf_lend_free(lend);
    close_ends(&e);
    free(data);
}

/* ... and who takes it back first may change it. */
static void
memory__taken_back__stays_as_it_was_for_the_receiver(void **state)
{
    const size_t len = (size_t)50000; /* whatever is behind it in its page */
    uint8_t *data = kerf_large_alloc(len);
    uint8_t *was = make_bytes(len);
    uint8_t *got = malloc(len);
    kerf_lend *lend = kerf_lend_new();
    const struct iovec iov = {data, len};
    struct ends e;
    size_t put = 0, taken = 0;

    (void)state;
    memcpy(data, was, len);
    open_ends(&e);
    assert_int_equal(kerf_lend_send(lend, e.from, &iov, 1, false, &put),
                     KERF_OK);
    (void)close(e.from); /* given up: it goes on all the same */
    assert_int_equal(kerf_lend_take_back(data, len), KERF_OK);
    assert_memory_equal(data, was, len);
    assert_int_equal(kerf_lend_take_back(data + ODD, len - ODD), KERF_EINVAL);
    memset(data, 0xab, len);
    while (taken < len)
        taken += take(e.to, got + taken, len - taken);
    assert_memory_equal(got, was, len);
    kerf_lend_free(lend);
    (void)close(e.to);
    free(got);
    free(was);
    free(data);
}

static void
peer__is_gone__closed_without_a_signal(void **state)
{
    uint8_t *data = make_bytes(PIECE);
    kerf_lend *lend = kerf_lend_new();
    const struct iovec iov = {data, PIECE};
    sigset_t broken;
    struct ends e;
    kerf_err err = KERF_OK;
    size_t put;

    (void)state;
    (void)sigemptyset(&broken);
    (void)sigaddset(&broken, SIGPIPE); /* as kerf_thread_begin() */
    assert_int_equal(sigprocmask(SIG_BLOCK, &broken, NULL), 0);
    open_ends(&e);
    (void)close(e.to);
    for (int i = 0; i < 3 && err != KERF_ECLOSED; i++)
        err = kerf_lend_send(lend, e.from, &iov, 1, false, &put);
    assert_int_equal(err, KERF_ECLOSED);
    kerf_lend_free(lend);
    (void)close(e.from);
    free(data);
}

/* A file that is only appended to cannot be spliced to. */
static void
socket__cannot_take_pages__not_supported_from_then_on(void **state)
{
    uint8_t *data = make_bytes(PIECE);
    kerf_lend *lend = kerf_lend_new();
    const struct iovec iov = {data, PIECE};
    int fd = memfd_create("appended", MFD_CLOEXEC);
    struct ends e;
    size_t put = 1;

    (void)state;
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    assert_int_equal(kerf_lend_send(lend, fd, &iov, 1, false, &put),
                     KERF_ENOTSUP);
    assert_int_equal(put, 0);
    open_ends(&e);
    assert_int_equal(kerf_lend_send(lend, e.from, &iov, 1, false, &put),
                     KERF_ENOTSUP);
    assert_int_equal(put, 0);
    close_ends(&e);
    kerf_lend_free(lend);
    (void)close(fd);
    free(data);
}

struct pair {
    kerf_loop *loop;
    kerf_conn *conn[2];
    uint8_t *sink[2];
    unsigned done, taken;
};

static kerf_err
on_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame, kerf_sink *sink,
        kerf_detail *why)
{
    struct pair *p = ctx;

    (void)conn;
    (void)frame;
    (void)why;
    sink->count = 2;
    for (size_t i = 0; i < 2; i++) {
        sink->piece[i] = p->sink[i];
        sink->len[i] = PIECE;
    }
    return KERF_OK;
}

static void
check_over(struct pair *p)
{
    if (p->done == 3 && p->taken == 3)
        kerf_loop_stop(p->loop);
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct pair *p = ctx;

    (void)conn;
    (void)frame;
    (void)why;
    p->taken++;
    check_over(p);
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

static void
on_sent(void *ctx, kerf_err err)
{
    struct pair *p = ctx;

    assert_int_equal(err, KERF_OK);
    p->done++;
    check_over(p);
}

/* Three frames with odd lengths, of which the second is copied, and more than
 * the kernel takes at once. fds: none are left for a pipe. */
static void
send_frames(rlim_t fds)
{
    static const kerf_conn_ops ops = {
        .on_head = on_head, .on_frame = on_frame, .on_close = on_close};
    struct rlimit before, few;
    struct pair p = {0};
    struct ends e;
    uint8_t *data[2];
    uint8_t head[3][KERF_HEAD_STEP];
    kerf_out out[3];
    int small = 1;

    open_ends(&e);
    (void)setsockopt(e.from, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_int_equal(kerf_loop_new(&p.loop), KERF_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(kerf_conn_open(&p.conn[i], p.loop,
                                        i == 0 ? e.from : e.to, &ops, &p),
                         KERF_OK);
        kerf_conn_set_payload_max(p.conn[i], 2 * PIECE + 1000);
        data[i] = make_bytes(PIECE + i);
        p.sink[i] = malloc(PIECE);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = fds;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (size_t i = 0; i < 3; i++) {
        kerf_header h = {.type = 200, .id = i};

        out[i] = (kerf_out){.count = 2,
                            .piece = {data[0], data[1] + 1},
                            .len = {PIECE, PIECE},
                            .lend = i != 1,
                            .done = on_sent,
                            .ctx = &p};
        kerf_out_seal(&out[i], head[i], &h, 0);
        kerf_conn_send(p.conn[0], &out[i]);
    }
    kerf_loop_run(p.loop);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_memory_equal(p.sink[0], data[0], PIECE);
    assert_memory_equal(p.sink[1], data[1] + 1, PIECE);
    for (size_t i = 0; i < 2; i++) {
        kerf_conn_close(p.conn[i]);
        free(p.sink[i]);
        free(data[i]);
    }
    kerf_loop_flush(p.loop);
    kerf_loop_free(p.loop);
}

static void
frames__lent_and_copied__arrive_whole(void **state)
{
    (void)state;
    send_frames(1024);
}

static void
frames__no_descriptors_for_a_pipe__are_copied(void **state)
{
    (void)state;
    send_frames(3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rest__sent_as_far_as_it_goes__then_goes_on_there),
        cmocka_unit_test(memory__changed_after_it_was_sent__arrives_as_changed),
        cmocka_unit_test(memory__taken_back__stays_as_it_was_for_the_receiver),
        cmocka_unit_test(peer__is_gone__closed_without_a_signal),
        cmocka_unit_test(socket__cannot_take_pages__not_supported_from_then_on),
        cmocka_unit_test(frames__lent_and_copied__arrive_whole),
        cmocka_unit_test(frames__no_descriptors_for_a_pipe__are_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
