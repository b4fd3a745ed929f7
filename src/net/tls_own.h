/*
 * tls_own.h - the inside of a kerf_tls and of its links, shared by tls.c and
 * tls_say.c (words) only.
 */
#ifndef KERF_NET_TLS_OWN_H
#define KERF_NET_TLS_OWN_H

#include "net/greeting.h"
#include "net/tls.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

struct kerf_tls {
    _Atomic int refs;
    kerf_creds *creds;
    SSL_CTX *ctx;
    uint64_t key_bytes;
};

struct kerf_tls_link {
    kerf_tls *tls;
    SSL *ssl;
    pthread_mutex_t lock; /* of ssl */
    int fd;
    bool server, looked, more;
    bool spoken, shaken, too_much;
    kerf_greeting greeting;        /* until shaken */
    uint8_t first;                 /* byte of the peer, once looked */
    bool is_short, dry, wants_out; /* the reader's */
    unsigned extras;               /* since data came */
    uint64_t written;              /* under this key */
    char peer[KERF_CERT_NAME];
    X509 *refused; /* the peer's certificate that was not good */
};

/* What the peer's certificate has to be for. */
static inline kerf_side
kerf_tls_other_side(const kerf_tls *tls)
{
    return kerf_creds_side(tls->creds) == KERF_SIDE_CLOUD ? KERF_SIDE_EDGE
                                                          : KERF_SIDE_CLOUD;
}

/* Of OpenSSL's error queue, which it leaves. */
kerf_err kerf_tls_say_failure(const kerf_tls_link *link, kerf_detail *why);
/* A peer without --tls begins with "KERF". */
bool kerf_tls_is_plain(const kerf_tls_link *link);
kerf_err kerf_tls_say_plain(const kerf_tls_link *link, kerf_detail *why);

#endif
