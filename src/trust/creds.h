/*
 * creds.h - what one side was given with --tls DIR: its key and certificate,
 * whom it trusts and whom no more, and, on a cloud, who may have what. Loaded
 * whole or not at all; it does not change afterwards.
 *
 *     ca.crt      the authority; two of them while it is replaced
 *     kerf.crt    this side's certificate
 *     kerf.key    its key, mode 0600
 *     crl.pem     revoked certificates; an edge may be without
 *     access      a cloud's: which models an edge may have (access.h)
 *
 * Threads: any; counted.
 */
#ifndef KERF_TRUST_CREDS_H
#define KERF_TRUST_CREDS_H

#include "trust/access.h"
#include "trust/cert.h"

#define KERF_FILE_AUTHORITY "ca.crt"
#define KERF_FILE_CERT "kerf.crt"
#define KERF_FILE_KEY "kerf.key"
#define KERF_FILE_REVOKED "crl.pem"
#define KERF_FILE_ACCESS "access"

struct x509_store_st;

typedef struct kerf_creds kerf_creds;

/* side: what its certificate must be for. Errors: KERF_ENOENT, KERF_EINVAL,
 * KERF_ECORRUPT, KERF_ETOOBIG, KERF_EMISMATCH, each with the file and what to
 * do. */
KERF_NODISCARD kerf_err kerf_creds_load(kerf_creds **out, const char *dir,
                                        kerf_side side, kerf_detail *why);
kerf_creds *kerf_creds_ref(kerf_creds *creds);
void kerf_creds_unref(kerf_creds *creds); /* accepts NULL */

/* Whether a file of that name in the folder counts. */
bool kerf_creds_counts(const char *name);
/* May next take its place in a process that runs? Errors: KERF_EINVAL (its
 * own name is another one; its list of revoked certificates is older). */
KERF_NODISCARD kerf_err kerf_creds_follows(const kerf_creds *creds,
                                           const kerf_creds *next,
                                           kerf_detail *why);
/* Do they hold the same bytes? */
bool kerf_creds_same(const kerf_creds *a, const kerf_creds *b);

kerf_side kerf_creds_side(const kerf_creds *creds);
const char *kerf_creds_name(const kerf_creds *creds);
int64_t kerf_creds_until(const kerf_creds *creds);
const kerf_access *kerf_creds_access(const kerf_creds *creds);
/* Borrowed. */
struct x509_st *kerf_creds_cert(const kerf_creds *creds);
struct evp_pkey_st *kerf_creds_key(const kerf_creds *creds);
struct x509_store_st *kerf_creds_store(const kerf_creds *creds);

/* Is this a certificate of a peer on the other side, now? Errors: KERF_EDENIED,
 * with words of kerf_creds_say(). */
KERF_NODISCARD kerf_err kerf_creds_check(const kerf_creds *creds,
                                         struct x509_st *cert,
                                         kerf_detail *why);
/* code: a result of X509_verify_cert(); whose: "the edge's". Words with
 * what to do. Returns KERF_EDENIED. */
kerf_err kerf_creds_say(kerf_detail *why, int code, struct x509_st *cert,
                        const char *whose, kerf_side wanted);

#endif
