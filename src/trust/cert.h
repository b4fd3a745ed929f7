/*
 * cert.h - certificates and revocation lists, made and looked at. What they are
 * for in Kerf: docs/SECURITY.md.
 *
 * OpenSSL's types are named here without its headers: only src/trust and
 * net/tls.c include those.
 * Threads: any, on different objects.
 */
#ifndef KERF_TRUST_CERT_H
#define KERF_TRUST_CERT_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct x509_st;
struct X509_crl_st;
struct evp_pkey_st;

#define KERF_CERT_NAME 65   /* with the end */
#define KERF_CERT_SERIAL 33 /* hex digits and the end */
#define KERF_HOSTS_MAX 32   /* names and addresses in a certificate */

/* What the holder of a certificate may be. */
typedef enum kerf_side {
    KERF_SIDE_EDGE = 0,
    KERF_SIDE_CLOUD,
    KERF_SIDE_AUTHORITY, /* makes certificates, speaks to nobody */
} kerf_side;

typedef enum kerf_key_kind {
    KERF_KEY_ED25519 = 0,
    KERF_KEY_P256,
} kerf_key_kind;

typedef struct kerf_cert_ask {
    kerf_side side;
    const char *name;           /* kerf_cert_is_name() */
    const char *const *host;    /* of a cloud: names and addresses */
    size_t host_count;          /* at most KERF_HOSTS_MAX */
    int64_t from_s, until_s;    /* seconds since 1970 */
    uint8_t serial[16];         /* kerf_cert_serial_new() */
    struct evp_pkey_st *key;    /* whose public half it is for */
    struct x509_st *issuer;     /* NULL: itself */
    struct evp_pkey_st *signer; /* the issuer's key */
} kerf_cert_ask;

/* "edge", "cloud", "authority". */
const char *kerf_side_name(kerf_side side);
/* 1 to 64 of [A-Za-z0-9._-], beginning with a letter or digit: it is a file
 * name, too. */
bool kerf_cert_is_name(const char *name);
/* An address, or a DNS name, perhaps one that begins with "*." */
bool kerf_cert_is_host(const char *host);

/* Free: EVP_PKEY_free(). Errors: KERF_ENOMEM, KERF_EIO (no random numbers). */
KERF_NODISCARD kerf_err kerf_key_new(struct evp_pkey_st **out,
                                     kerf_key_kind kind, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_cert_serial_new(uint8_t out[16], kerf_detail *why);
/* Free: X509_free(). */
KERF_NODISCARD kerf_err kerf_cert_make(struct x509_st **out,
                                       const kerf_cert_ask *ask,
                                       kerf_detail *why);

typedef struct kerf_revoked {
    uint8_t serial[16];
    int64_t at_s;
} kerf_revoked;

/* The list of this issuer, valid as long as the issuer itself: clouds that
 * nobody visits must not stop because nobody renewed a list. number: grows with
 * each list. Free: X509_CRL_free(). */
KERF_NODISCARD kerf_err kerf_crl_make(struct X509_crl_st **out,
                                      struct x509_st *issuer,
                                      struct evp_pkey_st *signer,
                                      uint64_t number, const kerf_revoked *list,
                                      size_t count, kerf_detail *why);

/* The name in it; false: none that Kerf would give. */
bool kerf_cert_name(const struct x509_st *cert, char out[KERF_CERT_NAME]);
/* What it is for; false: it does not say so, or says more than one thing. */
bool kerf_cert_side(struct x509_st *cert, kerf_side *out);
int64_t kerf_cert_from(const struct x509_st *cert);  /* seconds since 1970 */
int64_t kerf_cert_until(const struct x509_st *cert); /* INT64_MAX: unreadable */
/* "2027-11-30", UTC, into out[16]. Returns out. */
char *kerf_cert_day(char out[16], int64_t at_s);

#endif
