#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "net/conn.h"
#include "net/greeting.h"
#include "net/tls.h"
#include "trust/fleet.h"

#define FRAMES 200 /* fewer than wait before a side stops reading */
#define PIECES 3
#define PIECE_MOST 70000u /* several records */

/* Two connections over a pair of sockets, in one loop: frames go both ways at
 * once, those of each side from a thread of its own. */
struct side {
    kerf_conn *conn;
    struct pair *pair;
    uint64_t seed; /* of what it sends */
    unsigned taken;
    bool ended;
    kerf_err err;
    char why[512];
    uint8_t *sink[PIECES];
    pthread_t thread;
};

struct pair {
    kerf_loop *loop;
    struct side side[2]; /* the cloud's, the edge's */
    kerf_timer *timer;
    unsigned turns;
};

struct sent {
    kerf_out out;
    uint8_t head[KERF_HEAD_STEP * 2];
    uint8_t *piece[PIECES];
};

static char dir[64];
static kerf_creds *creds[2]; /* of the cloud, of the edge */

/* What frame n of a side holds. */
static size_t
fill(uint64_t seed, unsigned n, uint8_t *piece[PIECES], size_t len[PIECES])
{
    uint64_t rng = seed * 1000003 + n;
    size_t count = kerf_rng_next(&rng) % (PIECES + 1);

    for (size_t i = 0; i < count; i++) {
        uint64_t r = kerf_rng_next(&rng);

        len[i] = 1 + (r % 3 == 0 ? r / 8 % PIECE_MOST : r / 8 % 600);
        for (size_t k = 0; piece != NULL && k < len[i]; k += 8) {
            uint64_t v = kerf_rng_next(&rng);
            size_t part = len[i] - k < 8 ? len[i] - k : 8;

            memcpy(piece[i] + k, &v, part);
        }
    }
    return count;
}

static void
on_sent(void *ctx, kerf_err err)
{
    struct sent *s = ctx;

    (void)err;
    for (size_t i = 0; i < PIECES; i++)
        free(s->piece[i]);
    free(s);
}

static void
send_one(struct side *side, unsigned n)
{
    struct sent *s = calloc(1, sizeof *s);
    kerf_header h = {.type = KERF_FRAME_TENSOR, .id = n};

    for (size_t i = 0; i < PIECES; i++)
        s->piece[i] = malloc(PIECE_MOST + 16);
    s->out.count = fill(side->seed, n, s->piece, s->out.len);
    for (size_t i = 0; i < s->out.count; i++)
        s->out.piece[i] = s->piece[i];
    s->out.done = on_sent;
    s->out.ctx = s;
    s->out.more = n % 5 == 0;
    memset(s->head + KERF_HEADER_LEN, (int)n, n % 300);
    kerf_out_seal_over(&s->out, s->head, &h, n % 300, true);
    kerf_conn_send(side->conn, &s->out);
}

static void *
send_all(void *ctx)
{
    struct side *side = ctx;

    for (unsigned n = 0; n < FRAMES; n++)
        send_one(side, n);
    kerf_conn_flush(side->conn);
    return NULL;
}

/* Of the other side's frames. */
static uint64_t
seed_of(const struct side *side)
{
    return side == &side->pair->side[0] ? side->pair->side[1].seed
                                        : side->pair->side[0].seed;
}

static kerf_err
on_head(void *ctx, kerf_conn *conn, const kerf_frame_in *frame, kerf_sink *sink,
        kerf_detail *why)
{
    struct side *side = ctx;
    uint8_t *scratch[PIECES];

    (void)conn;
    (void)why;
    for (size_t i = 0; i < PIECES; i++)
        scratch[i] = malloc(PIECE_MOST + 16);
    sink->count =
        fill(seed_of(side), (unsigned)frame->header.id, scratch, sink->len);
    for (size_t i = 0; i < PIECES; i++) {
        sink->piece[i] = side->sink[i];
        memset(side->sink[i], 0, PIECE_MOST);
        free(scratch[i]);
    }
    return KERF_OK;
}

static void
check_frame(struct side *side, const kerf_frame_in *frame)
{
    unsigned n = (unsigned)frame->header.id;
    uint8_t *piece[PIECES];
    size_t len[PIECES];
    size_t count;

    assert_int_equal(n, side->taken);
    assert_int_equal(frame->header.flags & KERF_FLAG_BODY_HASH, 0);
    assert_int_equal(frame->header.meta_len, n % 300);
    for (size_t i = 0; i < PIECES; i++)
        piece[i] = malloc(PIECE_MOST + 16);
    count = fill(seed_of(side), n, piece, len);
    assert_int_equal(frame->header.payload_len, kerf_pieces_len(len, count));
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(piece[i], side->sink[i], len[i]);
    for (size_t i = 0; i < PIECES; i++)
        free(piece[i]);
}

static kerf_err
on_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
         kerf_detail *why)
{
    struct side *side = ctx;

    (void)conn;
    (void)why;
    check_frame(side, frame);
    side->taken++;
    if (side->pair->side[0].taken == FRAMES &&
        side->pair->side[1].taken == FRAMES)
        kerf_loop_stop(side->pair->loop);
    return KERF_OK;
}

static void
on_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    struct side *side = ctx;

    (void)conn;
    side->ended = true;
    side->err = err;
    (void)snprintf(side->why, sizeof side->why, "%s", why);
    if (side->pair->side[0].ended && side->pair->side[1].ended)
        kerf_loop_stop(side->pair->loop);
}

static const kerf_conn_ops ops = {
    .on_head = on_head, .on_frame = on_frame, .on_close = on_close};

/* Other sizes of what goes out at a time, also in the midst of a record. */
static void
on_turn(void *ctx)
{
    static const uint64_t rates[] = {UINT64_C(4000000000), 100000000, 0,
                                     30000000};
    struct pair *p = ctx;

    for (size_t i = 0; i < 2; i++) {
        if (!p->side[i].ended)
            kerf_conn_pace(p->side[i].conn, rates[(p->turns + i) % 4]);
    }
    p->turns++;
}

static void
open_pair(struct pair *p, const char *host, uint64_t key_bytes)
{
    int fd[2];
    int small = 4096; /* the kernel takes a record in parts */

    memset(p, 0, sizeof *p);
    assert_int_equal(kerf_loop_new(&p->loop), KERF_OK);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd),
        0);
    for (size_t i = 0; i < 2; i++) {
        struct side *side = &p->side[i];
        kerf_tls *tls = NULL;

        side->pair = p;
        side->seed = 7 + i;
        for (size_t k = 0; k < PIECES; k++)
            side->sink[k] = malloc(PIECE_MOST);
        (void)setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        assert_int_equal(kerf_tls_new(&tls, creds[i], NULL), KERF_OK);
        if (key_bytes != 0)
            kerf_tls_set_key_bytes(tls, key_bytes);
        assert_int_equal(kerf_conn_open_tls(&side->conn, p->loop, fd[i], tls,
                                            i == 0 ? NULL : host, &ops, side),
                         KERF_OK);
        kerf_conn_set_payload_max(side->conn, 1 << 20);
        kerf_tls_unref(tls);
    }
}

static void
close_pair(struct pair *p)
{
    for (size_t i = 0; i < 2; i++) {
        kerf_conn_close(p->side[i].conn);
        for (size_t k = 0; k < PIECES; k++)
            free(p->side[i].sink[k]);
    }
    kerf_timer_free(p->timer);
    kerf_loop_flush(p->loop);
    kerf_loop_free(p->loop);
}

static void
carry(uint64_t key_bytes, bool turns)
{
    struct pair p;

    open_pair(&p, "127.0.0.1", key_bytes);
    if (turns) {
        assert_int_equal(kerf_timer_new(&p.timer, p.loop, on_turn, &p),
                         KERF_OK);
        kerf_timer_start(p.timer, 1, 1);
    }
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            pthread_create(&p.side[i].thread, NULL, send_all, &p.side[i]), 0);
    kerf_loop_run(p.loop);
    for (size_t i = 0; i < 2; i++) {
        (void)pthread_join(p.side[i].thread, NULL);
        assert_false(p.side[i].ended);
        assert_int_equal(p.side[i].taken, FRAMES);
    }
    assert_string_equal(kerf_conn_name(p.side[0].conn), "door");
    assert_string_equal(kerf_conn_name(p.side[1].conn), "cloud");
    close_pair(&p);
}

static void
carry__both_ways_at_once__every_byte_is_right(void **state)
{
    (void)state;
    carry(0, false);
}

static void
carry__new_keys_all_the_time__every_byte_is_right(void **state)
{
    (void)state;
    carry(20000, false);
}

static void
carry__the_pace_changes_within_records__every_byte_is_right(void **state)
{
    (void)state;
    carry(50000, true);
}

static void
shake__wrong_host__both_sides_say_it(void **state)
{
    struct pair p;

    (void)state;
    open_pair(&p, "192.0.2.1", 0);
    kerf_loop_run(p.loop);
    assert_int_equal(p.side[1].err, KERF_EDENIED);
    assert_non_null(strstr(p.side[1].why, "is for other names"));
    assert_int_equal(p.side[0].err, KERF_EDENIED);
    assert_non_null(strstr(p.side[0].why, "does not take this cloud's"));
    close_pair(&p);
}

/* An edge of another make, with the right certificate. */
static SSL *
other_edge(int fd)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;

    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, kerf_creds_cert(creds[1])),
                     1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, kerf_creds_key(creds[1])), 1);
    ssl = SSL_new(ctx);
    SSL_CTX_free(ctx); /* ssl counts it */
    assert_non_null(ssl);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    SSL_set_connect_state(ssl);
    return ssl;
}

/* What the cloud reads after `count` new keys and a byte. */
static kerf_err
read_after_keys(size_t count, uint8_t *data, kerf_detail *why)
{
    kerf_tls *tls = NULL;
    kerf_tls_link *link = NULL;
    int fds[2];
    SSL *ssl;
    bool shaken[2] = {false, false};
    kerf_err err = KERF_OK;
    size_t got = 0;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(kerf_tls_new(&tls, creds[0], NULL), KERF_OK);
    assert_int_equal(kerf_tls_link_new(&link, tls, fds[0], NULL), KERF_OK);
    ssl = other_edge(fds[1]);
    while (!shaken[0] || !shaken[1]) {
        shaken[1] = shaken[1] || SSL_do_handshake(ssl) == 1;
        kerf_tls_turn(link);
        if (!shaken[0])
            err = kerf_tls_shake(link, why);
        assert_true(err == KERF_OK || err == KERF_EAGAIN);
        shaken[0] = err == KERF_OK;
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(ssl), 1);
    }
    assert_int_equal(SSL_write(ssl, "x", 1), 1);
    do {
        kerf_tls_turn(link);
        err = kerf_tls_read(link, data, 1, &got, why);
    } while (err == KERF_EAGAIN);
    kerf_tls_link_free(link);
    kerf_tls_unref(tls);
    SSL_free(ssl);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return err;
}

static void
read__new_keys_without_end__are_not_taken(void **state)
{
    kerf_detail why = {{0}};
    uint8_t data = 0;

    (void)state;
    assert_int_equal(read_after_keys(8, &data, &why), KERF_OK);
    assert_int_equal(data, 'x');
    assert_int_equal(read_after_keys(9, &data, &why), KERF_EPROTO);
    assert_non_null(strstr(why.text, "only changes keys"));
    assert_int_equal(read_after_keys(100, &data, &why), KERF_EPROTO);
}

/* A record of `len` bytes of messages; out has room for it. Returns its end. */
static uint8_t *
put_record(uint8_t *out, uint8_t kind, const uint8_t *data, size_t len)
{
    const uint8_t head[] = {kind, 3, 1, (uint8_t)(len >> 8), (uint8_t)len};

    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, data, len);
    return out + sizeof head + len;
}

static void
greeting_add__however_it_is_cut__the_length_is_found(void **state)
{
    static const size_t lens[] = {0, 500, KERF_GREETING_MESSAGE,
                                  KERF_GREETING_MESSAGE + 1, 0xffffff};

    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        for (size_t step = 1; step < 9; step++) {
            const uint8_t head[] = {1, (uint8_t)(lens[i] >> 16),
                                    (uint8_t)(lens[i] >> 8), (uint8_t)lens[i]};
            kerf_greeting g = {0};
            uint8_t data[64];
            uint8_t *end = put_record(data, 20, head, 1); /* of no matter */
            bool fine = true;

            for (size_t at = 0; at < 4; at += step)
                end = put_record(end, 22, head + at,
                                 4 - at < step ? 4 - at : step);
            for (const uint8_t *at = data; at < end; at += step) {
                fine = fine && kerf_greeting_add(&g, at,
                                                 (size_t)(end - at) < step
                                                     ? (size_t)(end - at)
                                                     : step);
            }
            assert_int_equal(fine, lens[i] <= KERF_GREETING_MESSAGE);
        }
    }
}

static void
greeting_add__more_than_a_handshake__is_refused(void **state)
{
    static const uint8_t sealed[100]; /* encrypted: nothing is to be seen */
    static uint8_t data[KERF_GREETING_MOST];
    kerf_greeting g = {0};

    (void)state;
    (void)put_record(data, 23, sealed, sizeof sealed);
    memset(data + 105, 0xff, sizeof data - 105);
    assert_true(kerf_greeting_add(&g, data, sizeof data - 1));
    assert_true(kerf_greeting_add(&g, data, 1));
    assert_false(kerf_greeting_add(&g, data, 1));
}

static int
make_creds(void **state)
{
    static const char *const hosts[] = {"127.0.0.1"};
    const kerf_fleet_ask ask = {.days = 2};
    kerf_fleet *f = NULL;
    char path[1024];

    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/kerf-tls-XXXXXX");
    if (mkdtemp(dir) == NULL ||
        kerf_fleet_make(dir, "fleet", &ask, NULL) != KERF_OK ||
        kerf_fleet_open(&f, dir, NULL) != KERF_OK ||
        kerf_fleet_issue(f, KERF_SIDE_CLOUD, "cloud", hosts, 1, &ask, NULL) !=
            KERF_OK ||
        kerf_fleet_issue(f, KERF_SIDE_EDGE, "door", NULL, 0, &ask, NULL) !=
            KERF_OK ||
        kerf_creds_load(&creds[0],
                        kerf_fleet_path(f, path, KERF_SIDE_CLOUD, "cloud"),
                        KERF_SIDE_CLOUD, NULL) != KERF_OK ||
        kerf_creds_load(&creds[1],
                        kerf_fleet_path(f, path, KERF_SIDE_EDGE, "door"),
                        KERF_SIDE_EDGE, NULL) != KERF_OK)
        return -1;
    kerf_fleet_close(f);
    return 0;
}

static int
drop_creds(void **state)
{
    char command[100];

    (void)state;
    kerf_creds_unref(creds[0]);
    kerf_creds_unref(creds[1]);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command); /* NOLINT(cert-env33-c): our own folder */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carry__both_ways_at_once__every_byte_is_right),
        cmocka_unit_test(carry__new_keys_all_the_time__every_byte_is_right),
        cmocka_unit_test(
            carry__the_pace_changes_within_records__every_byte_is_right),
        cmocka_unit_test(shake__wrong_host__both_sides_say_it),
        cmocka_unit_test(read__new_keys_without_end__are_not_taken),
        cmocka_unit_test(greeting_add__however_it_is_cut__the_length_is_found),
        cmocka_unit_test(greeting_add__more_than_a_handshake__is_refused),
    };

    return cmocka_run_group_tests(tests, make_creds, drop_creds);
}
