/*
 * What the command line cannot ask for: short waits. A peer that goes silent in
 * the middle of a message is given up, and dialled or awaited again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kerf/legacy.h"
#include "legacy/edge.h"
#include "proto/legacy.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_MS 50
#define RETRY_MS 10
#define ROUNDS 3

/* A peer in a thread of its own: accepts, begins a message, and is cut off. */
struct peer {
    int listener, port;
    const uint8_t *data;
    size_t len;
    int cut_off; /* times */
};

static void
open_peer(struct peer *peer)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;

    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(peer->listener >= 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&at, sizeof at),
                     0);
    assert_int_equal(listen(peer->listener, 8), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&at, &len),
                     0);
    peer->port = ntohs(at.sin_port);
}

static void *
run_peer(void *ctx)
{
    struct peer *peer = ctx;

    for (int i = 0; i < ROUNDS; i++) {
        int fd = accept(peer->listener, NULL, NULL);
        uint8_t byte;

        if (fd < 0 || send(fd, peer->data, peer->len, MSG_NOSIGNAL) < 0)
            break;
        if (recv(fd, &byte, 1, 0) <= 0)
            peer->cut_off++;
        (void)close(fd);
    }
    (void)kill(getpid(), SIGTERM); /* how both runs are ended */
    return NULL;
}

struct told {
    int refused;
    char why[512];
};

static void
on_refused(void *ctx, const char *edge, uint64_t id, kerf_err err,
           const char *why)
{
    struct told *told = ctx;

    (void)edge;
    (void)id;
    assert_int_equal(err, KERF_EDEADLINE);
    told->refused++;
    (void)snprintf(told->why, sizeof told->why, "%s", why);
}

static void
on_state(void *ctx, bool connected, const char *text)
{
    struct told *told = ctx;

    if (!connected)
        (void)snprintf(told->why, sizeof told->why, "%s", text);
}

static void
run_cloud_against(struct peer *peer, struct told *told)
{
    char dir[] = "/tmp/kerf-legacy-XXXXXX";
    kerf_cloud_opts o = {.host = "127.0.0.1",
                         .models = mkdtemp(dir),
                         .engine = {.kind = "fake"},
                         .handle_signals = true,
                         .retry_ms = RETRY_MS,
                         .stall_ms = STALL_MS};
    kerf_cloud_events events = {.ctx = told, .refused = on_refused};
    kerf_detail why = {{0}};
    pthread_t thread;

    open_peer(peer);
    assert_int_equal(pthread_create(&thread, NULL, run_peer, peer), 0);
    assert_int_equal(
        kerf_legacy_cloud_run(&o, "127.0.0.1", peer->port, &events, &why),
        KERF_OK);
    (void)pthread_join(thread, NULL);
    (void)close(peer->listener);
    (void)rmdir(dir);
}

static void
cloud__edge_silent_in_a_length__cut_off_and_dialled_again(void **state)
{
    struct peer peer = {.data = (const uint8_t *)"\x20", .len = 1};
    struct told told = {0};

    (void)state;
    run_cloud_against(&peer, &told);
    assert_int_equal(peer.cut_off, ROUNDS);
    assert_int_equal(told.refused, ROUNDS);
    assert_non_null(strstr(told.why, "silent"));
}

static void
cloud__edge_silent_in_a_payload__cut_off_and_dialled_again(void **state)
{
    uint8_t data[KERF_LEGACY_PUT_MAX];
    kerf_shape shape = {.rank = 2, .dims = {1, 48}};
    struct peer peer = {.data = data};
    struct told told = {0};

    (void)state;
    peer.len = kerf_legacy_put_tensor(data, sizeof data, 0, &shape);
    run_cloud_against(&peer, &told);
    assert_int_equal(peer.cut_off, ROUNDS);
    assert_int_equal(told.refused, ROUNDS);
}

static void
edge__cloud_silent_in_a_file__cut_off_and_nothing_left(void **state)
{
    char dir[] = "/tmp/kerf-legacy-XXXXXX";
    uint8_t data[KERF_LEGACY_PUT_MAX + 1];
    struct peer peer = {.data = data};
    struct told told = {0};
    kerf_edge_opts o = {.host = "127.0.0.1",
                        .store = mkdtemp(dir),
                        .engine = {.kind = "fake"},
                        .handle_signals = true,
                        .retry_ms = RETRY_MS,
                        .stall_ms = STALL_MS};
    kerf_edge_events events = {.ctx = &told, .state = on_state};
    kerf_edge_total total;
    kerf_detail why = {{0}};
    pthread_t thread;

    (void)state;
    peer.len =
        kerf_legacy_put_file(data, sizeof data, "client_infer_x.pdmodel", 100);
    data[peer.len++] = '{';
    open_peer(&peer);
    o.port = peer.port;
    assert_int_equal(pthread_create(&thread, NULL, run_peer, &peer), 0);
    assert_int_equal(
        kerf_legacy_edge_run(&o, "127.0.0.1", 0, &events, &total, &why),
        KERF_OK);
    (void)pthread_join(thread, NULL);
    (void)close(peer.listener);
    assert_int_equal(peer.cut_off, ROUNDS);
    assert_non_null(strstr(told.why, "silent"));
    assert_int_equal(total.asked, 0);
    assert_int_equal(rmdir(dir), 0); /* it is empty */
}

/* A post may come when what it was for has been sent already, and the worker
 * fills the note anew. */
static void
edge__late_post__leaves_the_workers_note_alone(void **state)
{
    static kerf_legacy_edge edge = {.out_fd = -1};

    (void)state;
    assert_int_equal(pthread_mutex_init(&edge.lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&edge.changed, NULL), 0);
    edge.note.kind = KERF_LEGACY_NOTE_SKIPPED;
    kerf_legacy_out_note(&edge);
    assert_int_equal(edge.total.skipped, 0);
    edge.full = true;
    kerf_legacy_out_note(&edge);
    assert_int_equal(edge.total.skipped, 1);
    assert_false(edge.full);
    kerf_legacy_out_note(&edge);
    assert_int_equal(edge.total.skipped, 1);
    (void)pthread_cond_destroy(&edge.changed);
    (void)pthread_mutex_destroy(&edge.lock);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            cloud__edge_silent_in_a_length__cut_off_and_dialled_again),
        cmocka_unit_test(
            cloud__edge_silent_in_a_payload__cut_off_and_dialled_again),
        cmocka_unit_test(
            edge__cloud_silent_in_a_file__cut_off_and_nothing_left),
        cmocka_unit_test(edge__late_post__leaves_the_workers_note_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
