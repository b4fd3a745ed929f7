#include "trust/creds.h"

#include "base/fs.h"
#include "base/hash.h"
#include "trust/pem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct kerf_creds {
    _Atomic int refs;
    kerf_side side;
    char name[KERF_CERT_NAME];
    X509 *authority[KERF_AUTHORITIES_MAX];
    size_t authority_count;
    X509_CRL *revoked[KERF_AUTHORITIES_MAX];
    size_t revoked_count;
    uint64_t list; /* the number of the latest; 0: none */
    X509 *cert;
    EVP_PKEY *key;
    X509_STORE *store;
    kerf_access *access;
    uint64_t hash; /* of all bytes */
};

kerf_creds *
kerf_creds_ref(kerf_creds *creds)
{
    (void)atomic_fetch_add(&creds->refs, 1);
    return creds;
}

void
kerf_creds_unref(kerf_creds *t)
{
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < t->authority_count; i++)
        X509_free(t->authority[i]);
    for (size_t i = 0; i < t->revoked_count; i++)
        X509_CRL_free(t->revoked[i]);
    X509_free(t->cert);
    EVP_PKEY_free(t->key);
    X509_STORE_free(t->store);
    kerf_access_free(t->access);
    free(t);
}

kerf_side
kerf_creds_side(const kerf_creds *creds)
{
    return creds->side;
}

const char *
kerf_creds_name(const kerf_creds *creds)
{
    return creds->name;
}

int64_t
kerf_creds_until(const kerf_creds *creds)
{
    return kerf_cert_until(creds->cert);
}

const kerf_access *
kerf_creds_access(const kerf_creds *creds)
{
    return creds->access;
}

struct x509_st *
kerf_creds_cert(const kerf_creds *creds)
{
    return creds->cert;
}

struct evp_pkey_st *
kerf_creds_key(const kerf_creds *creds)
{
    return creds->key;
}

struct x509_store_st *
kerf_creds_store(const kerf_creds *creds)
{
    return creds->store;
}

/* Words. */

static const char *
a_side(kerf_side side)
{
    return side == KERF_SIDE_EDGE ? "an edge" : "a cloud";
}

kerf_err
kerf_creds_say(kerf_detail *why, int code, struct x509_st *cert,
               const char *whose, kerf_side wanted)
{
    char name[KERF_CERT_NAME] = "NAME";
    char day[16] = "?";

    if (cert != NULL)
        (void)kerf_cert_name(cert, name);
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        if (cert != NULL)
            (void)kerf_cert_day(day, kerf_cert_until(cert));
        return kerf_fail(why, KERF_EDENIED,
                         "%s certificate (%s) expired on %s: kerf keygen renew "
                         "%s, and copy it; or is a clock wrong?",
                         whose, name, day, name);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        if (cert != NULL)
            (void)kerf_cert_day(day, kerf_cert_from(cert));
        return kerf_fail(why, KERF_EDENIED,
                         "%s certificate (%s) is not valid before %s: is a "
                         "clock wrong?",
                         whose, name, day);
    case X509_V_ERR_CERT_REVOKED:
        return kerf_fail(why, KERF_EDENIED,
                         "%s certificate (%s) is revoked: kerf keygen renew %s "
                         "--force makes a new one, if it shall have one",
                         whose, name, name);
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_INVALID_CA:
        return kerf_fail(why, KERF_EDENIED,
                         "%s certificate (%s) is not %s's: kerf keygen %s "
                         "makes those",
                         whose, name, a_side(wanted), kerf_side_name(wanted));
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return kerf_fail(why, KERF_EDENIED,
                         "%s certificate (%s) is for other names and "
                         "addresses: kerf keygen cloud has to be given those "
                         "that --cloud-host says",
                         whose, name);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        return kerf_fail(why, KERF_EDENIED,
                         "%s certificate (%s) is not of the authority "
                         "in " KERF_FILE_AUTHORITY
                         ": are both of the same fleet?",
                         whose, name);
    default:
        return kerf_fail(why, KERF_EDENIED, "%s certificate (%s): %s", whose,
                         name, X509_verify_cert_error_string(code));
    }
}

static kerf_err
say_own(kerf_detail *why, int code, X509 *cert, const char *dir, kerf_side side)
{
    char whose[KERF_PATH_MAX + 32];

    (void)snprintf(whose, sizeof whose, "%s/" KERF_FILE_CERT ": this", dir);
    return kerf_creds_say(why, code, cert, whose, side);
}

/* Reading. */

static kerf_err
read_file(kerf_creds *t, const char *dir, const char *name, size_t most,
          bool secret, kerf_pem *pem, kerf_detail *why)
{
    kerf_err err = kerf_pem_read(pem, dir, name, most, secret, why);

    if (err == KERF_ENOENT) {
        return kerf_fail(why, err,
                         "%s/%s is not there: kerf keygen makes the folder for "
                         "each cloud and edge",
                         dir, name);
    }
    if (err == KERF_OK)
        t->hash = kerf_xxh3_seed(pem->data, pem->len, t->hash);
    return err;
}

static kerf_err
load_authorities(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem pem = {0};
    kerf_side side;
    kerf_err err =
        read_file(t, dir, KERF_FILE_AUTHORITY, KERF_PEM_MOST, false, &pem, why);

    if (err == KERF_OK)
        err =
            kerf_pem_certs(t->authority, KERF_AUTHORITIES_MAX,
                           &t->authority_count, &pem, KERF_FILE_AUTHORITY, why);
    kerf_pem_free(&pem);
    for (size_t i = 0; err == KERF_OK && i < t->authority_count; i++) {
        if (!kerf_cert_side(t->authority[i], &side) ||
            side != KERF_SIDE_AUTHORITY) {
            err = kerf_fail(why, KERF_EMISMATCH,
                            "%s/" KERF_FILE_AUTHORITY ": certificate %zu is "
                            "not an authority's",
                            dir, i + 1);
        }
    }
    return err;
}

static X509 *
issuer_of(const kerf_creds *t, X509_CRL *crl)
{
    for (size_t i = 0; i < t->authority_count; i++) {
        if (X509_NAME_cmp(X509_get_subject_name(t->authority[i]),
                          X509_CRL_get_issuer(crl)) == 0 &&
            X509_CRL_verify(crl, X509_get0_pubkey(t->authority[i])) == 1)
            return t->authority[i];
    }
    return NULL;
}

static uint64_t
number_of(X509_CRL *crl)
{
    ASN1_INTEGER *n = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    uint64_t value = 0;

    if (n != NULL && ASN1_INTEGER_get_uint64(&value, n) != 1)
        value = 0;
    ASN1_INTEGER_free(n);
    return value;
}

static kerf_err
check_lists(kerf_creds *t, const char *dir, kerf_detail *why)
{
    const char *file = KERF_FILE_REVOKED;

    for (size_t i = 0; i < t->revoked_count; i++) {
        uint64_t number = number_of(t->revoked[i]);

        if (issuer_of(t, t->revoked[i]) == NULL) {
            ERR_clear_error();
            return kerf_fail(why, KERF_EMISMATCH,
                             "%s/%s is not signed by an authority of "
                             "%s/" KERF_FILE_AUTHORITY ": copy both again",
                             dir, file, dir);
        }
        t->list = number > t->list ? number : t->list;
    }
    for (size_t i = 0; t->revoked_count > 0 && i < t->authority_count; i++) {
        bool has = false;

        for (size_t k = 0; !has && k < t->revoked_count; k++)
            has = issuer_of(t, t->revoked[k]) == t->authority[i];
        ERR_clear_error();
        if (!has) {
            return kerf_fail(why, KERF_EMISMATCH,
                             "%s/%s has no list of one authority of "
                             "%s/" KERF_FILE_AUTHORITY ": copy both again",
                             dir, file, dir);
        }
    }
    return KERF_OK;
}

static kerf_err
load_lists(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem pem = {0};
    kerf_err err =
        read_file(t, dir, KERF_FILE_REVOKED, KERF_CRL_MOST, false, &pem, why);

    if (err == KERF_ENOENT && t->side == KERF_SIDE_EDGE)
        return KERF_OK;
    if (err == KERF_OK)
        err = kerf_pem_crls(t->revoked, KERF_AUTHORITIES_MAX, &t->revoked_count,
                            &pem, KERF_FILE_REVOKED, why);
    kerf_pem_free(&pem);
    return err == KERF_OK ? check_lists(t, dir, why) : err;
}

static kerf_err
load_own(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem pem = {0};
    kerf_side side;
    size_t count = 0;
    kerf_err err =
        read_file(t, dir, KERF_FILE_CERT, KERF_PEM_MOST, false, &pem, why);

    if (err == KERF_OK)
        err = kerf_pem_certs(&t->cert, 1, &count, &pem, KERF_FILE_CERT, why);
    kerf_pem_free(&pem);
    if (err == KERF_OK)
        err = read_file(t, dir, KERF_FILE_KEY, KERF_PEM_MOST, true, &pem, why);
    if (err == KERF_OK)
        err = kerf_pem_key(&t->key, &pem, KERF_FILE_KEY, why);
    kerf_pem_free(&pem);
    if (err != KERF_OK)
        return err;
    if (X509_check_private_key(t->cert, t->key) != 1) {
        ERR_clear_error();
        return kerf_fail(why, KERF_EMISMATCH,
                         "%s/" KERF_FILE_KEY
                         " is not the key of %s/" KERF_FILE_CERT
                         ": copy both again",
                         dir, dir);
    }
    if (!kerf_cert_name(t->cert, t->name))
        return kerf_fail(why, KERF_EMISMATCH,
                         "%s/" KERF_FILE_CERT ": no name in it that Kerf knows",
                         dir);
    if (!kerf_cert_side(t->cert, &side) || side != t->side)
        return say_own(why, X509_V_ERR_INVALID_PURPOSE, t->cert, dir, t->side);
    return KERF_OK;
}

static kerf_err
load_access(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem text = {0};
    kerf_err err;

    if (t->side != KERF_SIDE_CLOUD)
        return KERF_OK;
    err = kerf_pem_read(&text, dir, KERF_FILE_ACCESS, KERF_ACCESS_MOST, false,
                        why);
    if (err == KERF_ENOENT) { /* it would take back what it forbids */
        return kerf_fail(why, err,
                         "%s/" KERF_FILE_ACCESS " is not there: a line \"* *\" "
                         "lets each edge have each model",
                         dir);
    }
    if (err != KERF_OK)
        return err;
    t->hash = kerf_xxh3_seed(text.data, text.len, t->hash);
    err = kerf_access_parse(&t->access, (const char *)text.data, text.len, why);
    kerf_pem_free(&text);
    return err == KERF_OK || err == KERF_ENOMEM
               ? err
               : kerf_fail_in(why, err, "%s/" KERF_FILE_ACCESS, dir);
}

/* Checking. */

static kerf_err
fill_store(kerf_creds *t)
{
    bool done;

    t->store = X509_STORE_new();
    done = t->store != NULL;
    for (size_t i = 0; done && i < t->authority_count; i++)
        done = X509_STORE_add_cert(t->store, t->authority[i]) == 1;
    for (size_t i = 0; done && i < t->revoked_count; i++)
        done = X509_STORE_add_crl(t->store, t->revoked[i]) == 1;
    if (done && t->revoked_count > 0)
        done = X509_STORE_set_flags(t->store, X509_V_FLAG_CRL_CHECK) == 1;
    return done ? KERF_OK : KERF_ENOMEM;
}

/* X509_V_OK, or why not. */
static int
verify(const kerf_creds *t, X509 *cert, kerf_side wanted)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    kerf_side side;
    int code = X509_V_ERR_OUT_OF_MEM;

    if (ctx != NULL && X509_STORE_CTX_init(ctx, t->store, cert, NULL) == 1) {
        (void)X509_STORE_CTX_set_purpose(ctx, wanted == KERF_SIDE_CLOUD
                                                  ? X509_PURPOSE_SSL_SERVER
                                                  : X509_PURPOSE_SSL_CLIENT);
        code = X509_verify_cert(ctx) == 1 ? X509_V_OK
                                          : X509_STORE_CTX_get_error(ctx);
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    if (code == X509_V_OK && (!kerf_cert_side(cert, &side) || side != wanted))
        code = X509_V_ERR_INVALID_PURPOSE;
    return code;
}

kerf_err
kerf_creds_check(const kerf_creds *t, struct x509_st *cert, kerf_detail *why)
{
    kerf_side wanted =
        t->side == KERF_SIDE_CLOUD ? KERF_SIDE_EDGE : KERF_SIDE_CLOUD;
    int code = verify(t, cert, wanted);

    return code == X509_V_OK
               ? KERF_OK
               : kerf_creds_say(why, code, cert,
                                wanted == KERF_SIDE_EDGE ? "the edge's"
                                                         : "the cloud's",
                                wanted);
}

static kerf_err
check_own(const kerf_creds *t, const char *dir, kerf_detail *why)
{
    int code = verify(t, t->cert, t->side);

    return code == X509_V_OK ? KERF_OK
                             : say_own(why, code, t->cert, dir, t->side);
}

static kerf_err
check_folder(const char *dir, kerf_detail *why)
{
    struct stat st;

    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return kerf_fail(why, KERF_ENOENT,
                         "--tls %s: no such folder: kerf keygen makes one for "
                         "each cloud and edge",
                         dir);
    }
    if ((st.st_mode & 02) != 0)
        return kerf_fail(why, KERF_EINVAL,
                         "--tls %s: everybody may write to it: chmod 700", dir);
    return KERF_OK;
}

kerf_err
kerf_creds_load(kerf_creds **out, const char *dir, kerf_side side,
                kerf_detail *why)
{
    kerf_creds *t = calloc(1, sizeof *t);
    kerf_err err = t != NULL ? check_folder(dir, why) : KERF_ENOMEM;

    if (t != NULL) {
        t->refs = 1;
        t->side = side;
    }
    if (err == KERF_OK)
        err = load_authorities(t, dir, why);
    if (err == KERF_OK)
        err = load_own(t, dir, why);
    if (err == KERF_OK)
        err = load_lists(t, dir, why);
    if (err == KERF_OK)
        err = load_access(t, dir, why);
    if (err == KERF_OK)
        err = fill_store(t);
    if (err == KERF_OK)
        err = check_own(t, dir, why);
    if (err != KERF_OK) {
        kerf_creds_unref(t);
        return err;
    }
    *out = t;
    return KERF_OK;
}

bool
kerf_creds_counts(const char *name)
{
    static const char *const counts[] = {KERF_FILE_AUTHORITY, KERF_FILE_CERT,
                                         KERF_FILE_KEY, KERF_FILE_REVOKED,
                                         KERF_FILE_ACCESS};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (strcmp(name, counts[i]) == 0)
            return true;
    }
    return false;
}

kerf_err
kerf_creds_follows(const kerf_creds *creds, const kerf_creds *next,
                   kerf_detail *why)
{
    if (strcmp(creds->name, next->name) != 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "its name is %s, and was %s: start again to change "
                         "that",
                         next->name, creds->name);
    }
    if (next->list < creds->list)
        return kerf_fail(why, KERF_EINVAL,
                         "its " KERF_FILE_REVOKED " is older than the one in "
                         "use: copy the latest");
    return KERF_OK;
}

bool
kerf_creds_same(const kerf_creds *a, const kerf_creds *b)
{
    return a->hash == b->hash;
}
