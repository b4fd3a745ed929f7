/*
 * creds.h - what one side was given with --tls DIR: its key and certificate,
 * whom it trusts and whom no more, and, on a cloud, who may have what. Loaded
 * whole or not at all at the start, part by part later; it does not change.
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
/* For a process that runs: of each part what is in the folder, if it is good,
 * else that of now. A list of revoked certificates counts when it is signed and
 * not older than that in use, whatever else is wrong; its own certificate may
 * have expired. keep: parts that are not to be looked for. *kept: parts of
 * which something was not taken, with why; 0: none. Errors: KERF_ENOENT,
 * KERF_EINVAL (of the folder), KERF_ENOMEM. */
enum {
    KERF_PART_AUTHORITY = 1,
    KERF_PART_REVOKED = 2,
    KERF_PART_KEY = 4,
    KERF_PART_ACCESS = 8,
};
KERF_NODISCARD kerf_err kerf_creds_reload(kerf_creds **out,
                                          const kerf_creds *now,
                                          const char *dir, unsigned keep,
                                          unsigned *kept, kerf_detail *why);
/* Do they hold the same? */
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
