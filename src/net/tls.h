/*
 * tls.h - TLS 1.3 with certificates on both sides, over a socket that does not
 * block. conn.c uses it; what is trusted is in trust/creds.h.
 *
 * Each step returns KERF_OK, KERF_EAGAIN (wait for the socket), or why the
 * connection is over: KERF_ENOTSUP (the peer speaks Kerf without TLS),
 * KERF_EDENIED (one side does not take the other's certificate), KERF_ECLOSED
 * or KERF_EPROTO. Words say what to do about it.
 *
 * Threads: a kerf_tls any, counted; a link one reader and one writer at a time,
 * which may be two threads; shake, recheck and free: the reader's.
 */
#ifndef KERF_NET_TLS_H
#define KERF_NET_TLS_H

#include "trust/creds.h"

#define KERF_TLS_RECORD ((size_t)16384) /* bytes of one, at most */

typedef struct kerf_tls kerf_tls;
typedef struct kerf_tls_link kerf_tls_link;

/* Keeps creds. */
KERF_NODISCARD kerf_err kerf_tls_new(kerf_tls **out, kerf_creds *creds,
                                     kerf_detail *why);
kerf_tls *kerf_tls_ref(kerf_tls *tls);
void kerf_tls_unref(kerf_tls *tls); /* accepts NULL */
/* A new key for what is sent after so many bytes under one, for links made from
 * now on; without it 64 GiB. */
void kerf_tls_set_key_bytes(kerf_tls *tls, uint64_t bytes);
const kerf_creds *kerf_tls_creds(const kerf_tls *tls);

/* fd stays the caller's. host: of the cloud, as it was dialled; NULL on the
 * cloud. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_tls_link_new(kerf_tls_link **out, kerf_tls *tls,
                                          int fd, const char *host);
void kerf_tls_link_free(kerf_tls_link *link); /* accepts NULL */

/* Before reading, each time that the socket became readable. */
void kerf_tls_turn(kerf_tls_link *link);
KERF_NODISCARD kerf_err kerf_tls_shake(kerf_tls_link *link, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_tls_read(kerf_tls_link *link, void *data,
                                      size_t len, size_t *got,
                                      kerf_detail *why);
/* One record at most. After KERF_EAGAIN the same bytes are given again. more:
 * others follow at once. */
KERF_NODISCARD kerf_err kerf_tls_write(kerf_tls_link *link, const void *data,
                                       size_t len, bool more, size_t *put);
bool kerf_tls_is_server(const kerf_tls_link *link);
/* The last step of the reader wants to write: wait for that, too. */
bool kerf_tls_wants_out(const kerf_tls_link *link);
/* Nothing more is here, until the socket is readable again. */
bool kerf_tls_is_dry(const kerf_tls_link *link);

/* How far the handshake is: nothing whole came, it was answered, the peer's
 * certificate is good. The reader's thread. */
typedef enum kerf_tls_step {
    KERF_TLS_SILENT = 0,
    KERF_TLS_GREETED,
    KERF_TLS_SHAKEN,
} kerf_tls_step;
kerf_tls_step kerf_tls_how_far(const kerf_tls_link *link);

/* The name in the peer's certificate; "" before the handshake is over. */
const char *kerf_tls_peer(const kerf_tls_link *link);
/* Is the peer's certificate good, by what is trusted now? */
KERF_NODISCARD kerf_err kerf_tls_recheck(const kerf_tls_link *link,
                                         const kerf_tls *now, kerf_detail *why);

#endif
