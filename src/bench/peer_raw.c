/*
 * Raw sockets: blocking, TCP_NODELAY, nothing around the bytes. The floor that
 * the others are held against.
 */
#include "bench/peer_own.h"

#include "bench/peer.h"
#include "bench/plain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct raw {
    int fd;
    size_t bytes;
    uint8_t *memory[KERF_PEER_WINDOW];
};

static int
serve(const kerf_peer *peer)
{
    struct sockaddr_in at;
    uint8_t *memory = kerf_peer_memory(peer->bytes, 0);
    uint8_t answer[KERF_PEER_ANSWER];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = -1;

    kerf_plain_tune(listener);
    if (listener >= 0 && kerf_plain_listen(listener, &at)) {
        kerf_peer_ready(ntohs(at.sin_port));
        fd = accept(listener, NULL, NULL);
    }
    if (fd < 0) {
        (void)fprintf(stderr, "raw sockets: %s\n", strerror(errno));
        free(memory);
        return 1;
    }
    while (kerf_plain_recv(fd, memory, peer->bytes)) {
        kerf_peer_answer(answer, memory, peer->bytes);
        if (!kerf_plain_send(fd, answer, sizeof answer))
            break;
    }
    (void)pause(); /* its CPU time is looked at after the last answer */
    free(memory);
    return 0;
}

static bool
send_tensor(void *ctx, unsigned slot)
{
    const struct raw *raw = ctx;

    return kerf_plain_send(raw->fd, raw->memory[slot], raw->bytes);
}

static bool
take_answer(void *ctx)
{
    const struct raw *raw = ctx;
    uint8_t answer[KERF_PEER_ANSWER];

    return kerf_plain_recv(raw->fd, answer, sizeof answer);
}

static int
ask(kerf_peer *peer)
{
    static const kerf_peer_ops ops = {.send = send_tensor,
                                      .answer = take_answer};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)peer->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct raw raw = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                      .bytes = peer->bytes};
    int status = 1;

    kerf_plain_tune(raw.fd);
    if (raw.fd < 0 || connect(raw.fd, (struct sockaddr *)&at, sizeof at) != 0) {
        (void)fprintf(stderr, "raw sockets: %s\n", strerror(errno));
        return 1;
    }
    for (unsigned i = 0; i < KERF_PEER_WINDOW; i++)
        raw.memory[i] = kerf_peer_memory(peer->bytes, i);
    status = kerf_peer_drive(peer, &ops, &raw);
    for (unsigned i = 0; i < KERF_PEER_WINDOW; i++)
        free(raw.memory[i]);
    (void)close(raw.fd);
    return status;
}

int
kerf_peer_raw(kerf_peer *peer)
{
    return peer->is_server ? serve(peer) : ask(peer);
}
