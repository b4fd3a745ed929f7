/*
 * Bare OpenSSL over blocking sockets, what `openssl s_client | s_server` would
 * cost: TLS 1.3 with the library's defaults, a certificate made at the start
 * that nobody checks, SSL_write of a tensor and SSL_read into where it belongs.
 */
#include "bench/peer.h"
#include "bench/plain.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct pipe {
    SSL *ssl;
    size_t bytes;
    uint8_t *memory[KERF_PEER_WINDOW];
};

static void
must(bool done, const char *what)
{
    if (done)
        return;
    (void)fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void
make_certificate(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *cert = X509_new();

    must(key != NULL && cert != NULL, "key");
    (void)X509_set_version(cert, X509_VERSION_3);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    (void)X509_set_pubkey(cert, key);
    must(X509_sign(cert, key, NULL) > 0, "certificate");
    must(SSL_CTX_use_certificate(ctx, cert) == 1 &&
             SSL_CTX_use_PrivateKey(ctx, key) == 1,
         "certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
}

static SSL *
open_tls(int fd, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl;

    must(ctx != NULL, "context");
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    if (server)
        make_certificate(ctx);
    ssl = SSL_new(ctx);
    must(ssl != NULL && SSL_set_fd(ssl, fd) == 1, "connection");
    must((server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1, "handshake");
    return ssl;
}

static bool
receive(SSL *ssl, uint8_t *data, size_t len)
{
    for (size_t got = 0; len > 0; len -= got, data += got) {
        if (SSL_read_ex(ssl, data, len, &got) != 1)
            return false;
    }
    return true;
}

static bool
push(SSL *ssl, const uint8_t *data, size_t len)
{
    size_t put;

    return SSL_write_ex(ssl, data, len, &put) == 1;
}

static int
serve(const kerf_peer *peer)
{
    struct sockaddr_in at;
    uint8_t *memory = kerf_peer_memory(peer->bytes, 0);
    uint8_t answer[KERF_PEER_ANSWER];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *ssl;
    int fd;

    kerf_plain_tune(listener);
    must(listener >= 0 && kerf_plain_listen(listener, &at), "listen");
    kerf_peer_ready(ntohs(at.sin_port));
    fd = accept(listener, NULL, NULL);
    must(fd >= 0, "accept");
    ssl = open_tls(fd, true);
    while (receive(ssl, memory, peer->bytes)) {
        kerf_peer_answer(answer, memory, peer->bytes);
        if (!push(ssl, answer, sizeof answer))
            break;
    }
    (void)pause(); /* its CPU time is looked at after the last answer */
    return 0;
}

static bool
send_tensor(void *ctx, unsigned slot)
{
    const struct pipe *p = ctx;

    return push(p->ssl, p->memory[slot], p->bytes);
}

static bool
take_answer(void *ctx)
{
    const struct pipe *p = ctx;
    uint8_t answer[KERF_PEER_ANSWER];

    return receive(p->ssl, answer, sizeof answer);
}

static int
ask(kerf_peer *peer)
{
    static const kerf_peer_ops ops = {.send = send_tensor,
                                      .answer = take_answer};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)peer->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pipe p = {.bytes = peer->bytes};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    kerf_plain_tune(fd);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0,
         "connect");
    p.ssl = open_tls(fd, false);
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
