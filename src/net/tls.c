/*
 * OpenSSL behind tls.h. Its own buffers are as small as they go, one record
 * each, and given back while nothing is in them. It does not know the socket
 * but by the BIO here, which
 *   - remembers a read that got less than it asked for: nothing more is there,
 *     and the next system call is saved;
 *   - sends without SIGPIPE, and with MSG_MORE when more follows.
 *
 * No tickets and no resumption: each connection shows its certificate, so that
 * one that is revoked is not let in again.
 */
#include "net/tls_own.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* AES-GCM keys wear out (RFC 8446, 5.5: 24 million full records). */
#define KEY_BYTES (UINT64_C(1) << 36)
/* New keys, and tickets, between two reads that give data. A few are usual;
 * OpenSSL takes one after the other as long as they come, within one call. */
#define EXTRAS_MAX 8

/* The socket. */

static int
read_socket(BIO *bio, char *data, int len)
{
    kerf_tls_link *link = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (link->extras > EXTRAS_MAX) { /* kerf_tls_read() says so */
        errno = EPROTO;
        return -1;
    }
    if (link->is_short) {
        BIO_set_retry_read(bio);
        return -1;
    }
    n = recv(link->fd, data, (size_t)len, 0);
    if (n > 0 && !link->shaken &&
        !kerf_greeting_add(&link->greeting, (const uint8_t *)data, (size_t)n)) {
        link->too_much = true; /* kerf_tls_shake() says so */
        errno = EPROTO;
        return -1;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    link->is_short = n > 0 && n < len;
    if (n > 0 && !link->looked) { /* it came after look() */
        link->looked = true;
        link->first = (uint8_t)data[0];
    }
    return (int)n;
}

static int
write_socket(BIO *bio, const char *data, int len)
{
    kerf_tls_link *link = BIO_get_data(bio);
    ssize_t n = send(link->fd, data, (size_t)len,
                     MSG_NOSIGNAL | (link->more ? MSG_MORE : 0));

    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    link->spoken = true;
    return (int)n;
}

static long
control_socket(BIO *bio, int command, long number, void *ptr)
{
    (void)bio;
    (void)number;
    (void)ptr;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int
create_socket(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method;
static int link_index = -1; /* of a link in its SSL */

static void
make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kerf");
    link_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (method == NULL)
        return;
    (void)BIO_meth_set_read(method, read_socket);
    (void)BIO_meth_set_write(method, write_socket);
    (void)BIO_meth_set_ctrl(method, control_socket);
    (void)BIO_meth_set_create(method, create_socket);
}

/* Contexts. */

/* What OpenSSL checks, and that the certificate says what it is for. */
static int
on_verify(int fine, X509_STORE_CTX *ctx)
{
    SSL *ssl =
        X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    kerf_tls_link *link = SSL_get_ex_data(ssl, link_index);
    X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    kerf_side side;

    if (fine == 1 && X509_STORE_CTX_get_error_depth(ctx) == 0 &&
        (!kerf_cert_side(cert, &side) ||
         side != kerf_tls_other_side(link->tls))) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_INVALID_PURPOSE);
        fine = 0;
    }
    if (fine != 1 && link->refused == NULL && cert != NULL &&
        X509_up_ref(cert) == 1)
        link->refused = cert;
    return fine;
}

/* Counts what a peer may send beside data once hands are shaken. */
static void
on_message(int is_ours, int version, int type, const void *data, size_t len,
           SSL *ssl, void *arg)
{
    kerf_tls_link *link = SSL_get_ex_data(ssl, link_index);
    const uint8_t *first = data;

    (void)version;
    (void)arg;
    if (is_ours == 0 && type == SSL3_RT_HANDSHAKE && len > 0 &&
        (*first == SSL3_MT_KEY_UPDATE || *first == SSL3_MT_NEWSESSION_TICKET))
        link->extras++;
}

static bool
set_up(kerf_tls *tls)
{
    SSL_CTX *ctx = tls->ctx;

    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       SSL_OP_PRIORITIZE_CHACHA |
                                       SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                    SSL_MODE_RELEASE_BUFFERS |
                                    SSL_MODE_AUTO_RETRY);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, (long)KERF_GREETING_MESSAGE);
    SSL_CTX_set_msg_callback(ctx, on_message);
    SSL_CTX_set_verify_depth(ctx, 2);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       on_verify);
    SSL_CTX_set1_cert_store(ctx, kerf_creds_store(tls->creds));
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:"
                                         "TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_use_certificate(ctx, kerf_creds_cert(tls->creds)) == 1 &&
           SSL_CTX_use_PrivateKey(ctx, kerf_creds_key(tls->creds)) == 1;
}

kerf_err
kerf_tls_new(kerf_tls **out, kerf_creds *creds, kerf_detail *why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    kerf_tls *tls = calloc(1, sizeof *tls);

    if (tls == NULL)
        return KERF_ENOMEM;
    (void)pthread_once(&once, make_method);
    ERR_clear_error();
    tls->refs = 1;
    tls->key_bytes = KEY_BYTES;
    tls->creds = kerf_creds_ref(creds);
    tls->ctx = SSL_CTX_new(TLS_method());
    if (method == NULL || link_index < 0 || tls->ctx == NULL || !set_up(tls)) {
        unsigned long code = ERR_peek_error();
        const char *text = ERR_reason_error_string(code);

        ERR_clear_error();
        kerf_tls_unref(tls);
        return kerf_fail(why, code != 0 ? KERF_EINVAL : KERF_ENOMEM,
                         "TLS does not take this key or certificate: %s",
                         text != NULL ? text : "out of memory");
    }
    *out = tls;
    return KERF_OK;
}

kerf_tls *
kerf_tls_ref(kerf_tls *tls)
{
    (void)atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void
kerf_tls_unref(kerf_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) != 1)
        return;
    SSL_CTX_free(tls->ctx);
    kerf_creds_unref(tls->creds);
    free(tls);
}

void
kerf_tls_set_key_bytes(kerf_tls *tls, uint64_t bytes)
{
    tls->key_bytes = bytes;
}

const kerf_creds *
kerf_tls_creds(const kerf_tls *tls)
{
    return tls->creds;
}

/* Links. */

static bool
set_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return true;
    ERR_clear_error();
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

/* Held for a record, some microseconds: to sleep for it would take longer. */
static void
init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t kind;

    (void)pthread_mutexattr_init(&kind);
    (void)pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void)pthread_mutex_init(lock, &kind);
    (void)pthread_mutexattr_destroy(&kind);
}

kerf_err
kerf_tls_link_new(kerf_tls_link **out, kerf_tls *tls, int fd, const char *host)
{
    kerf_tls_link *link = calloc(1, sizeof *link);
    BIO *bio = NULL;

    if (link == NULL)
        return KERF_ENOMEM;
    init_lock(&link->lock);
    link->tls = kerf_tls_ref(tls);
    link->fd = fd;
    link->server = host == NULL;
    link->ssl = SSL_new(tls->ctx);
    if (link->ssl != NULL)
        bio = BIO_new(method);
    if (bio == NULL || SSL_set_ex_data(link->ssl, link_index, link) != 1 ||
        (host != NULL && !set_host(link->ssl, host))) {
        BIO_free(bio);
        kerf_tls_link_free(link);
        return KERF_ENOMEM;
    }
    BIO_set_data(bio, link);
    SSL_set_bio(link->ssl, bio, bio);
    if (link->server)
        SSL_set_accept_state(link->ssl);
    else
        SSL_set_connect_state(link->ssl);
    *out = link;
    return KERF_OK;
}

void
kerf_tls_link_free(kerf_tls_link *link)
{
    if (link == NULL)
        return;
    SSL_free(link->ssl);
    X509_free(link->refused);
    kerf_tls_unref(link->tls);
    (void)pthread_mutex_destroy(&link->lock);
    free(link);
}

void
kerf_tls_turn(kerf_tls_link *link)
{
    link->is_short = link->dry = false;
}

bool
kerf_tls_is_server(const kerf_tls_link *link)
{
    return link->server;
}

bool
kerf_tls_wants_out(const kerf_tls_link *link)
{
    return link->wants_out;
}

bool
kerf_tls_is_dry(const kerf_tls_link *link)
{
    return link->dry;
}

kerf_tls_step
kerf_tls_how_far(const kerf_tls_link *link)
{
    return link->shaken   ? KERF_TLS_SHAKEN
           : link->spoken ? KERF_TLS_GREETED
                          : KERF_TLS_SILENT;
}

const char *
kerf_tls_peer(const kerf_tls_link *link)
{
    return link->peer;
}

/* What came of a step that was not done. */
static kerf_err
judge(kerf_tls_link *link, int ret, kerf_detail *why)
{
    int code = errno;
    kerf_err err;

    switch (SSL_get_error(link->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        link->dry = true;
        return KERF_EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        link->wants_out = true;
        return KERF_EAGAIN;
    case SSL_ERROR_SSL:
        err = kerf_tls_say_failure(link, why);
        ERR_clear_error();
        return err;
    case SSL_ERROR_ZERO_RETURN:
        return kerf_fail(why, KERF_ECLOSED, "closed by the peer");
    default:
        return kerf_fail(why, KERF_ECLOSED, "%s",
                         code != 0 ? strerror(code) : "closed by the peer");
    }
}

/* Steps. */

static kerf_err
look(kerf_tls_link *link, kerf_detail *why)
{
    if (recv(link->fd, &link->first, 1, MSG_PEEK) == 1)
        link->looked = true; /* else the handshake finds out */
    return kerf_tls_is_plain(link) ? kerf_tls_say_plain(link, why) : KERF_OK;
}

static kerf_err
take_peer(kerf_tls_link *link, kerf_detail *why)
{
    X509 *cert = SSL_get0_peer_certificate(link->ssl);

    if (cert != NULL && kerf_cert_name(cert, link->peer))
        return KERF_OK;
    link->peer[0] = '\0';
    return kerf_fail(why, KERF_EDENIED,
                     "the name in the %s's certificate is none that Kerf knows",
                     link->server ? "edge" : "cloud");
}

kerf_err
kerf_tls_shake(kerf_tls_link *link, kerf_detail *why)
{
    kerf_err err = link->looked ? KERF_OK : look(link, why);
    int ret;

    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&link->lock);
    ERR_clear_error();
    link->wants_out = false;
    errno = 0;
    ret = SSL_do_handshake(link->ssl);
    if (link->too_much) {
        ERR_clear_error();
        err = kerf_fail(why, KERF_EPROTO,
                        "the peer's handshake is too long: is it a Kerf %s?",
                        link->server ? "edge" : "cloud");
    } else {
        err = ret == 1 ? take_peer(link, why) : judge(link, ret, why);
    }
    link->shaken = err == KERF_OK;
    (void)pthread_mutex_unlock(&link->lock);
    if (err == KERF_ECLOSED)
        return kerf_fail(why, err, "closed during the handshake of TLS");
    return err;
}

kerf_err
kerf_tls_read(kerf_tls_link *link, void *data, size_t len, size_t *got,
              kerf_detail *why)
{
    kerf_err err = KERF_OK;
    int ret;

    (void)pthread_mutex_lock(&link->lock);
    ERR_clear_error();
    link->wants_out = false;
    errno = 0;
    ret = SSL_read_ex(link->ssl, data, len, got);
    if (link->extras > EXTRAS_MAX) {
        ERR_clear_error();
        err = kerf_fail(why, KERF_EPROTO, "the peer only changes keys");
    } else if (ret != 1) {
        err = judge(link, ret, why);
    } else {
        link->extras = 0;
    }
    (void)pthread_mutex_unlock(&link->lock);
    return err;
}

/* To begin what does not go out at once would stop reading until it has: two
 * ends that both wait so would wait for ever. */
static bool
has_room(const kerf_tls_link *link)
{
    struct pollfd p = {.fd = link->fd, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

kerf_err
kerf_tls_write(kerf_tls_link *link, const void *data, size_t len, bool more,
               size_t *put)
{
    kerf_err err = KERF_OK;
    int ret;

    (void)pthread_mutex_lock(&link->lock);
    if (link->written > link->tls->key_bytes && has_room(link) &&
        SSL_key_update(link->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
        link->written = 0; /* else a record is half sent: the next time */
    ERR_clear_error();
    link->more = more;
    ret = SSL_write_ex(link->ssl, data, len, put);
    link->more = false;
    if (ret == 1) {
        link->written += *put;
    } else {
        int code = SSL_get_error(link->ssl, ret);

        err = code == SSL_ERROR_WANT_WRITE || code == SSL_ERROR_WANT_READ
                  ? KERF_EAGAIN
                  : KERF_ECLOSED;
        ERR_clear_error();
    }
    (void)pthread_mutex_unlock(&link->lock);
    return err;
}

kerf_err
kerf_tls_recheck(const kerf_tls_link *link, const kerf_tls *now,
                 kerf_detail *why)
{
    X509 *cert = SSL_get0_peer_certificate(link->ssl);

    if (cert == NULL)
        return KERF_OK; /* still shaking hands */
    return kerf_creds_check(now->creds, cert, why);
}
