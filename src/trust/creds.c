#include "trust/creds_own.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Checking. */

kerf_err
kerf_creds_fill_store(kerf_creds *t)
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

int
kerf_creds_verify(const kerf_creds *t, struct x509_st *cert, kerf_side wanted)
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
    int code = kerf_creds_verify(t, cert, wanted);

    return code == X509_V_OK
               ? KERF_OK
               : kerf_creds_say(why, code, cert,
                                wanted == KERF_SIDE_EDGE ? "the edge's"
                                                         : "the cloud's",
                                wanted);
}

bool
kerf_creds_same(const kerf_creds *a, const kerf_creds *b)
{
    bool same = a->authority_count == b->authority_count &&
                a->revoked_count == b->revoked_count &&
                a->access_hash == b->access_hash &&
                X509_cmp(a->cert, b->cert) == 0;

    for (size_t i = 0; same && i < a->authority_count; i++)
        same = X509_cmp(a->authority[i], b->authority[i]) == 0;
    for (size_t i = 0; same && i < a->revoked_count; i++)
        same = X509_CRL_match(a->revoked[i], b->revoked[i]) == 0;
    return same;
}
