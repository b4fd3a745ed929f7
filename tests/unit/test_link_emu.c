/*
 * The emulated link between plain sockets: what arrives, and what does not.
 * Its loop runs in a thread; what it is told goes through posts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "net/link_emu.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define MANY ((size_t)300000)

struct fixture {
    kerf_loop *loop;
    kerf_link_emu *emu;
    pthread_t thread;
    int listener; /* behind the link */
    int port;     /* of the link */
    kerf_post post;
    const char *text;
    kerf_err told;
    kerf_link_counts counts;
    pthread_barrier_t met;
};

static int
listen_any(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void *
run_loop(void *ctx)
{
    struct fixture *f = ctx;

    kerf_loop_run(f->loop);
    return NULL;
}

static void
start(struct fixture *f, const char *text)
{
    kerf_link_spec spec;
    kerf_link_emu_opts opts = {
        .host = "127.0.0.1", .to_host = "127.0.0.1", .spec = &spec};

    memset(f, 0, sizeof *f);
    f->listener = listen_any(&opts.to_port);
    assert_int_equal(kerf_link_spec_parse(&spec, text, NULL), KERF_OK);
    assert_int_equal(kerf_loop_new(&f->loop), KERF_OK);
    assert_int_equal(kerf_link_emu_new(&f->emu, f->loop, &opts, NULL), KERF_OK);
    f->port = kerf_link_emu_port(f->emu);
    assert_int_equal(pthread_barrier_init(&f->met, NULL, 2), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f), 0);
}

static void
stop(struct fixture *f)
{
    kerf_loop_stop(f->loop);
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    f->counts = kerf_link_emu_counts(f->emu);
    kerf_link_emu_free(f->emu);
    kerf_loop_free(f->loop);
    (void)pthread_barrier_destroy(&f->met);
    (void)close(f->listener);
}

static void
on_post(void *ctx)
{
    struct fixture *f = ctx;

    f->told = kerf_link_emu_tell(f->emu, f->text, NULL);
    f->counts = kerf_link_emu_counts(f->emu);
    (void)pthread_barrier_wait(&f->met);
}

static kerf_err
tell(struct fixture *f, const char *text)
{
    f->text = text;
    f->post = (kerf_post){.fn = on_post, .ctx = f};
    kerf_loop_post(f->loop, &f->post);
    (void)pthread_barrier_wait(&f->met);
    return f->told;
}

static int
dial(const struct fixture *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)},
                             .sin_port = htons((uint16_t)f->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void
join(const struct fixture *f, int fd[2])
{
    fd[0] = dial(f);
    fd[1] = accept(f->listener, NULL, NULL);
    assert_true(fd[1] >= 0);
}

static uint8_t *
make_bytes(size_t len)
{
    uint8_t *data = malloc(len);
    uint64_t rng = 5;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)kerf_rng_next(&rng);
    return data;
}

/* Sends in pieces while it reads at the other end, until len are there, or
 * the end. Returns how many came; -1 behind them: reset. */
static size_t
pass(const int fd[2], const uint8_t *data, uint8_t *got, size_t len,
     size_t piece, bool *reset)
{
    size_t sent = 0;
    size_t there = 0;

    *reset = false;
    while (there < len) {
        struct pollfd wait[2] = {
            {.fd = fd[0], .events = sent < len ? POLLOUT : 0},
            {.fd = fd[1], .events = POLLIN}};

        assert_true(poll(wait, 2, PATIENCE_MS) > 0);
        if ((wait[0].revents & POLLOUT) != 0) {
            size_t left = len - sent < piece ? len - sent : piece;
            ssize_t n =
                send(fd[0], data + sent, left, MSG_NOSIGNAL | MSG_DONTWAIT);

            if (n > 0)
                sent += (size_t)n;
            else if (errno != EAGAIN)
                sent = len; /* nobody takes more */
        } else if (wait[0].revents != 0) {
            sent = len;
        }
        if (wait[1].revents != 0) {
            ssize_t n = recv(fd[1], got + there, len - there, 0);

            if (n <= 0) {
                *reset = n < 0;
                break;
            }
            there += (size_t)n;
        } else if (sent == len) {
            (void)poll(&wait[1], 1, PATIENCE_MS);
        }
    }
    return there;
}

static void
close_both(const int fd[2])
{
    (void)close(fd[0]);
    (void)close(fd[1]);
}

static void
link__jitter_and_rate__bytes_come_in_order_both_ways(void **state)
{
    struct fixture f;
    uint8_t *data = make_bytes(MANY);
    uint8_t *got = calloc(1, MANY);
    int fd[2];
    int back[2];
    bool reset;

    (void)state;
    start(&f, "rate=400,rtt=2,jitter=3,seed=9");
    join(&f, fd);
    back[0] = fd[1];
    back[1] = fd[0];
    assert_int_equal(pass(fd, data, got, MANY, 7000, &reset), MANY);
    assert_memory_equal(data, got, MANY);
    memset(got, 0, MANY);
    assert_int_equal(pass(back, data, got, MANY, 1, &reset), MANY);
    assert_memory_equal(data, got, MANY);
    /* Half-close: the other way stays open. */
    assert_int_equal(shutdown(fd[0], SHUT_WR), 0);
    assert_int_equal(recv(fd[1], got, 1, 0), 0);
    assert_int_equal(send(fd[1], "x", 1, 0), 1);
    assert_int_equal(recv(fd[0], got, 1, 0), 1);
    assert_int_equal(got[0], 'x');
    (void)close(fd[1]);
    assert_int_equal(recv(fd[0], got, 1, 0), 0);
    (void)close(fd[0]);
    stop(&f);
    assert_int_equal(f.counts.connections, 1);
    assert_int_equal(f.counts.up_bytes, MANY);
    assert_int_equal(f.counts.down_bytes, MANY + 1);
    free(data);
    free(got);
}

/* Which bytes of the second connection are wrong, as 0 and 1 bits. */
static size_t
spoil(const char *spec, size_t piece, const uint8_t *data, uint8_t *wrong)
{
    struct fixture f;
    int first[2];
    int fd[2];
    bool reset;
    size_t count = 0;

    start(&f, spec);
    join(&f, first);
    join(&f, fd);
    assert_int_equal(pass(fd, data, wrong, MANY, piece, &reset), MANY);
    close_both(first);
    close_both(fd);
    stop(&f);
    for (size_t i = 0; i < MANY; i++) {
        wrong[i] ^= data[i];
        assert_true((wrong[i] & (wrong[i] - 1)) == 0); /* one bit at most */
        count += wrong[i] != 0;
    }
    assert_int_equal(f.counts.flipped, count);
    return count;
}

static void
link__flip__same_seed_same_errors_whatever_the_pieces(void **state)
{
    uint8_t *data = make_bytes(MANY);
    uint8_t *one = malloc(MANY);
    uint8_t *two = malloc(MANY);
    size_t count = spoil("flip=0.001,seed=3", 65536, data, one);

    (void)state;
    /* 300 expected; 17 is the standard deviation. */
    assert_in_range(count, 200, 400);
    assert_int_equal(spoil("flip=0.001,seed=3,rate=500", 333, data, two),
                     count);
    assert_memory_equal(one, two, MANY);
    (void)spoil("flip=0.001,seed=4", 65536, data, two);
    assert_memory_not_equal(one, two, MANY);
    free(data);
    free(one);
    free(two);
}

static void
link__cut__exactly_so_many_bytes_then_the_end(void **state)
{
    struct fixture f;
    uint8_t *data = make_bytes(MANY);
    uint8_t *got = calloc(1, MANY);
    int fd[2];
    bool reset;

    (void)state;
    start(&f, "cut=123457");
    for (int i = 0; i < 2; i++) { /* each connection anew */
        join(&f, fd);
        assert_int_equal(pass(fd, data, got, MANY, 9999, &reset), 123457);
        assert_memory_equal(data, got, 123457);
        close_both(fd);
    }
    assert_int_equal(tell(&f, "cut=0"), KERF_OK);
    join(&f, fd);
    assert_int_equal(pass(fd, data, got, MANY, 9999, &reset), MANY);
    assert_int_equal(tell(&f, "cut 10"), KERF_OK);
    assert_int_equal(pass(fd, data, got, MANY, 9999, &reset), 10);
    close_both(fd);
    stop(&f);
    assert_int_equal(f.counts.cut, 3);
    free(data);
    free(got);
}

/* Each `tell` comes back when the link has moved what may move. */
static void
link__hold_and_go__nothing_moves_nothing_is_lost(void **state)
{
    struct fixture f;
    int fd[2];
    char c = 0;

    (void)state;
    start(&f, "rtt=1");
    join(&f, fd);
    assert_int_equal(tell(&f, "hold"), KERF_OK);
    assert_int_equal(send(fd[0], "a", 1, 0), 1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(tell(&f, "hold"), KERF_OK);
    assert_int_equal(recv(fd[1], &c, 1, MSG_DONTWAIT), -1);
    assert_int_equal(f.counts.up_bytes, 0);
    assert_int_equal(tell(&f, "go"), KERF_OK);
    assert_int_equal(recv(fd[1], &c, 1, 0), 1);
    assert_int_equal(c, 'a');
    close_both(fd);
    stop(&f);
    assert_int_equal(f.counts.stalls, 1);
}

static void
link__stall_now__ends_by_itself(void **state)
{
    struct fixture f;
    int fd[2];
    char c = 0;

    (void)state;
    start(&f, "rtt=1");
    join(&f, fd);
    assert_int_equal(tell(&f, "stall=@0/30ms"), KERF_OK);
    assert_int_equal(send(fd[0], "a", 1, 0), 1);
    assert_int_equal(recv(fd[1], &c, 1, 0), 1);
    close_both(fd);
    stop(&f);
    assert_int_equal(f.counts.stalls, 1);
}

static void
link__reset_and_down__connections_break(void **state)
{
    struct fixture f;
    int fd[2];
    int refused;
    char c = 0;

    (void)state;
    start(&f, "rtt=0");
    join(&f, fd);
    assert_int_equal(tell(&f, "reset"), KERF_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recv(fd[i], &c, 1, 0), -1);
        assert_int_equal(errno, ECONNRESET);
    }
    close_both(fd);
    join(&f, fd);
    assert_int_equal(tell(&f, "down"), KERF_OK);
    assert_int_equal(recv(fd[1], &c, 1, 0), -1);
    refused = dial(&f);
    assert_int_equal(recv(refused, &c, 1, 0), -1);
    (void)close(refused);
    close_both(fd);
    assert_int_equal(tell(&f, "up"), KERF_OK);
    join(&f, fd);
    assert_int_equal(send(fd[1], "b", 1, 0), 1);
    assert_int_equal(recv(fd[0], &c, 1, 0), 1);
    close_both(fd);
    stop(&f);
    assert_int_equal(f.counts.reset, 2);
    assert_int_equal(f.counts.outages, 1);
}

static void
link__vanish__nobody_is_told__new_ones_work(void **state)
{
    struct fixture f;
    int old[2];
    int fd[2];
    char c = 0;

    (void)state;
    start(&f, "rtt=0");
    join(&f, old);
    assert_int_equal(tell(&f, "vanish"), KERF_OK);
    assert_int_equal(send(old[0], "a", 1, 0), 1);
    (void)close(old[0]); /* not even that gets through */
    join(&f, fd);
    assert_int_equal(send(fd[0], "b", 1, 0), 1);
    assert_int_equal(recv(fd[1], &c, 1, 0), 1);
    assert_int_equal(recv(old[1], &c, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    (void)close(old[1]);
    close_both(fd);
    join(&f, fd); /* clears away what both have closed */
    assert_int_equal(tell(&f, "rtt=0"), KERF_OK);
    assert_true(f.counts.open <= 2);
    close_both(fd);
    stop(&f);
}

/* A sender feels the link: what is neither sent nor queued stays with it. */
static void
link__slow__takes_no_more_than_it_holds(void **state)
{
    struct fixture f;
    uint8_t *data = make_bytes((size_t)8 << 20);
    int fd[2];
    int size = 16384;
    size_t taken = 0;
    ssize_t n;

    (void)state;
    start(&f, "rate=0.001,queue=100");
    join(&f, fd);
    assert_int_equal(
        setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    for (int quiet = 0; quiet < 3; quiet++) {
        while ((n = send(fd[0], data, 65536, MSG_DONTWAIT)) > 0) {
            taken += (size_t)n;
            quiet = 0;
        }
        (void)usleep(20000);
    }
    /* Its socket's 64 KB, our 32 KB, and what the link lets through. */
    assert_in_range(taken, 1000, 400000);
    close_both(fd);
    stop(&f);
    free(data);
}

static void
link__many_connections__each_gets_its_bytes(void **state)
{
    enum { COUNT = 40 };
    struct fixture f;
    uint8_t *data = make_bytes(MANY);
    int fd[COUNT][2];
    uint8_t got[2000];

    (void)state;
    start(&f, "rate=200,rtt=1");
    for (int i = 0; i < COUNT; i++)
        join(&f, fd[i]);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(send(fd[i][0], data + i, sizeof got, 0), sizeof got);
    for (int i = COUNT - 1; i >= 0; i--) {
        assert_int_equal(recv(fd[i][1], got, sizeof got, MSG_WAITALL),
                         sizeof got);
        assert_memory_equal(got, data + i, sizeof got);
        close_both(fd[i]);
    }
    stop(&f);
    assert_int_equal(f.counts.connections, COUNT);
    free(data);
}

static void
link__nobody_behind_it__the_connection_breaks(void **state)
{
    struct fixture f;
    char c;
    int fd;

    (void)state;
    start(&f, "rtt=0");
    (void)close(f.listener);
    fd = dial(&f);
    assert_int_equal(recv(fd, &c, 1, 0), -1);
    (void)close(fd);
    f.listener = -1;
    stop(&f);
}

static void
tell__what_it_does_not_know__is_an_error(void **state)
{
    static const char *const bad[] = {"",       "stop",  "cut",      "cut x",
                                      "cut 1x", "cut -", "rate=fast"};
    struct fixture f;

    (void)state;
    start(&f, "lte");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tell(&f, bad[i]), KERF_EINVAL);
    stop(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(link__jitter_and_rate__bytes_come_in_order_both_ways),
        cmocka_unit_test(link__flip__same_seed_same_errors_whatever_the_pieces),
        cmocka_unit_test(link__cut__exactly_so_many_bytes_then_the_end),
        cmocka_unit_test(link__hold_and_go__nothing_moves_nothing_is_lost),
        cmocka_unit_test(link__stall_now__ends_by_itself),
        cmocka_unit_test(link__reset_and_down__connections_break),
        cmocka_unit_test(link__vanish__nobody_is_told__new_ones_work),
        cmocka_unit_test(link__slow__takes_no_more_than_it_holds),
        cmocka_unit_test(link__many_connections__each_gets_its_bytes),
        cmocka_unit_test(link__nobody_behind_it__the_connection_breaks),
        cmocka_unit_test(tell__what_it_does_not_know__is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
