/*
 * ZeroMQ: DEALER to ROUTER, as its guide has for many requests in flight. The
 * tensor is given as it lies, with zmq_msg_init_data(); TCP_NODELAY is always
 * on. No limit on messages that wait. What arrives is in a message of the
 * library's own; where that is not aligned as an engine wants it, it is copied.
 */
#include "bench/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct zeromq {
    void *socket;
    size_t bytes;
    uint8_t *memory[KERF_PEER_WINDOW];
};

static int
fail(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
    return 1;
}

static void *
open_socket(void *context, int type)
{
    void *s = zmq_socket(context, type);
    int none = 0;

    (void)zmq_setsockopt(s, ZMQ_SNDHWM, &none, sizeof none);
    (void)zmq_setsockopt(s, ZMQ_RCVHWM, &none, sizeof none);
    (void)zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    return s;
}

static int
serve(const kerf_peer *peer, void *context)
{
    void *s = open_socket(context, ZMQ_ROUTER);
    uint8_t *aligned = kerf_peer_memory(peer->bytes, 0);
    char at[64];
    size_t len = sizeof at;
    const char *colon;

    if (zmq_bind(s, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, at, &len) != 0 ||
        (colon = strrchr(at, ':')) == NULL)
        return fail("bind");
    kerf_peer_ready(atoi(colon + 1));
    for (;;) {
        zmq_msg_t who, tensor;
        uint8_t answer[KERF_PEER_ANSWER];
        const uint8_t *data;

        (void)zmq_msg_init(&who);
        (void)zmq_msg_init(&tensor);
        if (zmq_msg_recv(&who, s, 0) < 0 || zmq_msg_recv(&tensor, s, 0) < 0 ||
            zmq_msg_size(&tensor) != peer->bytes)
            return fail("receive");
        data = zmq_msg_data(&tensor);
        if ((uintptr_t)data % KERF_PEER_ALIGN != 0)
            data = memcpy(aligned, data, peer->bytes);
        kerf_peer_answer(answer, data, peer->bytes);
        (void)zmq_msg_close(&tensor);
        if (zmq_msg_send(&who, s, ZMQ_SNDMORE) < 0 ||
            zmq_send(s, answer, sizeof answer, 0) < 0)
            return fail("send");
    }
}

static void
keep(void *data, void *hint)
{
    (void)data; /* it is the slot's */
    (void)hint;
}

static bool
send_tensor(void *ctx, unsigned slot)
{
    const struct zeromq *z = ctx;
    zmq_msg_t m;

    return zmq_msg_init_data(&m, z->memory[slot], z->bytes, keep, NULL) == 0 &&
           zmq_msg_send(&m, z->socket, 0) >= 0;
}

static bool
take_answer(void *ctx)
{
    const struct zeromq *z = ctx;
    uint8_t answer[KERF_PEER_ANSWER];

    return zmq_recv(z->socket, answer, sizeof answer, 0) == KERF_PEER_ANSWER;
}

static int
ask(kerf_peer *peer, void *context)
{
    static const kerf_peer_ops ops = {.send = send_tensor,
                                      .answer = take_answer};
    struct zeromq z = {.socket = open_socket(context, ZMQ_DEALER),
                       .bytes = peer->bytes};
    char at[64];

    (void)snprintf(at, sizeof at, "tcp://127.0.0.1:%d", peer->port);
    if (zmq_connect(z.socket, at) != 0)
        return fail("connect");
    for (unsigned i = 0; i < KERF_PEER_WINDOW; i++)
        z.memory[i] = kerf_peer_memory(peer->bytes, i);
    return kerf_peer_drive(peer, &ops, &z);
}

int
main(int argc, char **argv)
{
    void *context = zmq_ctx_new();
    kerf_peer peer;

    if (!kerf_peer_parse(&peer, argc, argv))
        return 2;
    exit(peer.is_server ? serve(&peer, context) : ask(&peer, context));
}
