/*
 * tlsflood.c - tlsflood PORT DIR N: an edge with the good certificate of DIR,
 * that sends N new keys (TLS KeyUpdate), made before, and nothing else. Says
 * "ended" when the cloud ends it.
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int
dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
        exit(2);
    return fd;
}

/* Shakes hands, then keeps what it writes. */
static SSL *
open_tls(int fd, const char *dir, BIO **made)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char path[4096];
    SSL *ssl;

    (void)snprintf(path, sizeof path, "%s/kerf.crt", dir);
    if (SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM) != 1)
        exit(2);
    (void)snprintf(path, sizeof path, "%s/kerf.key", dir);
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
        exit(2);
    ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    (void)SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1)
        exit(3);
    *made = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, *made);
    return ssl;
}

static void
make_keys(SSL *ssl, long count)
{
    for (long i = 0; i < count; i++) {
        if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
            SSL_do_handshake(ssl) != 1)
            exit(2);
    }
}

int
main(int argc, char **argv)
{
    BIO *made;
    char *data;
    long len;
    long at = 0;
    int fd;
    SSL *ssl;

    if (argc != 4)
        return 2;
    fd = dial(atoi(argv[1]));
    ssl = open_tls(fd, argv[2], &made);
    make_keys(ssl, atol(argv[3]));
    len = BIO_get_mem_data(made, &data);
    while (at < len) {
        ssize_t n = send(fd, data + at, (size_t)(len - at), MSG_NOSIGNAL);

        if (n <= 0)
            break;
        at += n;
    }
    while (read(fd, &(char){0}, 1) > 0) /* what it says last */
        continue;
    (void)puts("ended");
    return 0;
}
