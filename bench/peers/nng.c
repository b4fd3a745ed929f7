/*
 * nng: a pair of sockets over TCP (TCP_NODELAY is its default), asynchronous
 * operations, so that 8 are in flight. A message that is sent is nng's from then
 * on: the tensor is written into a new one each time. That is not part of a
 * latency (a head could write there), but of CPU time and throughput. What
 * arrives is copied where it is not aligned as an engine wants it.
 */
#include "bench/peer.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/supplemental/util/platform.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    nng_socket socket;
    size_t bytes;
    uint8_t *memory[KERF_PEER_WINDOW];
    nng_msg *message[KERF_PEER_WINDOW];
    nng_aio *send, *receive;
};

static void
must(int code, const char *what)
{
    if (code == 0)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, nng_strerror(code));
    exit(1);
}

static void
open_pair(struct pair *p)
{
    must(nng_pair0_open(&p->socket), "open");
    must(nng_socket_set_size(p->socket, NNG_OPT_RECVMAXSZ, 0), "max size");
    must(nng_socket_set_int(p->socket, NNG_OPT_SENDBUF, KERF_PEER_WINDOW),
         "send buffer");
    must(nng_socket_set_int(p->socket, NNG_OPT_RECVBUF, KERF_PEER_WINDOW),
         "receive buffer");
    must(nng_aio_alloc(&p->send, NULL, NULL), "aio");
    must(nng_aio_alloc(&p->receive, NULL, NULL), "aio");
}

static bool
push(struct pair *p, nng_msg *m)
{
    nng_aio_wait(p->send);
    if (nng_aio_result(p->send) != 0)
        return false;
    nng_aio_set_msg(p->send, m);
    nng_send_aio(p->socket, p->send);
    return true;
}

static nng_msg *
pull(struct pair *p)
{
    nng_recv_aio(p->socket, p->receive);
    nng_aio_wait(p->receive);
    must(nng_aio_result(p->receive), "receive");
    return nng_aio_get_msg(p->receive);
}

static int
serve(const kerf_peer *peer)
{
    struct pair p = {.bytes = peer->bytes};
    uint8_t *aligned = kerf_peer_memory(peer->bytes, 0);
    nng_listener listener;
    int port = 0;

    open_pair(&p);
    must(nng_listen(p.socket, "tcp://127.0.0.1:0", &listener, 0), "listen");
    must(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), "port");
    kerf_peer_ready(port);
    for (;;) {
        nng_msg *tensor = pull(&p);
        const uint8_t *data = nng_msg_body(tensor);
        nng_msg *answer;

        if (nng_msg_len(tensor) != peer->bytes)
            return 1;
        if ((uintptr_t)data % KERF_PEER_ALIGN != 0)
            data = memcpy(aligned, data, peer->bytes);
        must(nng_msg_alloc(&answer, KERF_PEER_ANSWER), "message");
        kerf_peer_answer(nng_msg_body(answer), data, peer->bytes);
        nng_msg_free(tensor);
        if (!push(&p, answer))
            return 1;
    }
}

static bool
make_message(void *ctx, unsigned slot)
{
    struct pair *p = ctx;

    if (nng_msg_alloc(&p->message[slot], p->bytes) != 0)
        return false;
    (void)memcpy(nng_msg_body(p->message[slot]), p->memory[slot], p->bytes);
    return true;
}

static bool
send_tensor(void *ctx, unsigned slot)
{
    struct pair *p = ctx;

    return push(p, p->message[slot]);
}

static bool
take_answer(void *ctx)
{
    nng_msg *m = pull(ctx);
    bool ok = nng_msg_len(m) == KERF_PEER_ANSWER;

    nng_msg_free(m);
    return ok;
}

static int
ask(kerf_peer *peer)
{
    static const kerf_peer_ops ops = {.prepare = make_message,
                                      .send = send_tensor,
                                      .answer = take_answer};
    struct pair p = {.bytes = peer->bytes};
    char at[64];

    open_pair(&p);
    (void)snprintf(at, sizeof at, "tcp://127.0.0.1:%d", peer->port);
    must(nng_dial(p.socket, at, NULL, 0), "dial");
    for (unsigned i = 0; i < KERF_PEER_WINDOW; i++)
        p.memory[i] = kerf_peer_memory(peer->bytes, i);
    return kerf_peer_drive(peer, &ops, &p);
}

int
main(int argc, char **argv)
{
    kerf_peer peer;

    if (!kerf_peer_parse(&peer, argc, argv))
        return 2;
    exit(peer.is_server ? serve(&peer) : ask(&peer));
}
