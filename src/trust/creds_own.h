/*
 * creds_own.h - the inside of a kerf_creds, for creds*.c.
 */
#ifndef KERF_TRUST_CREDS_OWN_H
#define KERF_TRUST_CREDS_OWN_H

#include "trust/creds.h"
#include "trust/pem.h"

#include <openssl/x509.h>
#include <stdatomic.h>

struct kerf_creds {
    _Atomic int refs;
    kerf_side side;
    char name[KERF_CERT_NAME];
    X509 *authority[KERF_AUTHORITIES_MAX];
    size_t authority_count;
    X509_CRL *revoked[KERF_AUTHORITIES_MAX];
    size_t revoked_count;
    X509 *cert;
    EVP_PKEY *key;
    X509_STORE *store;
    kerf_access *access;
    uint64_t access_hash;
};

/* Of what there is of authorities and lists. */
kerf_err kerf_creds_fill_store(kerf_creds *t);
/* X509_V_OK, or why it is not a certificate of that side. */
int kerf_creds_verify(const kerf_creds *t, struct x509_st *cert,
                      kerf_side wanted);

/* creds_load.c: each reads a part of the folder; on error what it has put into
 * *t is to be let go of, as by kerf_creds_unref(). */
kerf_err kerf_creds_check_folder(const char *dir, kerf_detail *why);
kerf_err kerf_creds_load_authorities(kerf_creds *t, const char *dir,
                                     kerf_detail *why);
/* As they are: by whom is not looked at. */
kerf_err kerf_creds_read_lists(kerf_creds *t, const char *dir,
                               kerf_detail *why);
kerf_err kerf_creds_load_own(kerf_creds *t, const char *dir, kerf_detail *why);
kerf_err kerf_creds_load_access(kerf_creds *t, const char *dir,
                                kerf_detail *why);
/* Says why the own certificate is none that verifies. */
kerf_err kerf_creds_say_own(kerf_detail *why, int code, struct x509_st *cert,
                            const char *dir, kerf_side side);
/* Words for lists of nobody, and for authorities without one. */
kerf_err kerf_creds_say_stray(kerf_detail *why, const char *dir);
kerf_err kerf_creds_say_bare(kerf_detail *why, const char *dir);
/* Which of the authorities has signed it, or NULL. */
X509 *kerf_creds_issuer(const kerf_creds *t, X509_CRL *crl);

#endif
