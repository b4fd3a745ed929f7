#include "trust/creds_own.h"

#include "base/fs.h"
#include "base/hash.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

kerf_err
kerf_creds_say_own(kerf_detail *why, int code, struct x509_st *cert,
                   const char *dir, kerf_side side)
{
    char whose[KERF_PATH_MAX + 32];

    (void)snprintf(whose, sizeof whose, "%s/" KERF_FILE_CERT ": this", dir);
    return kerf_creds_say(why, code, cert, whose, side);
}

/* Reading. */

static kerf_err
read_file(const char *dir, const char *name, size_t most, bool secret,
          kerf_pem *pem, kerf_detail *why)
{
    kerf_err err = kerf_pem_read(pem, dir, name, most, secret, why);

    if (err == KERF_ENOENT) {
        return kerf_fail(why, err,
                         "%s/%s is not there: kerf keygen makes the folder for "
                         "each cloud and edge",
                         dir, name);
    }
    return err;
}

kerf_err
kerf_creds_load_authorities(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem pem = {0};
    kerf_side side;
    kerf_err err =
        read_file(dir, KERF_FILE_AUTHORITY, KERF_PEM_MOST, false, &pem, why);

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

X509 *
kerf_creds_issuer(const kerf_creds *t, X509_CRL *crl)
{
    X509 *issuer = NULL;

    for (size_t i = 0; issuer == NULL && i < t->authority_count; i++) {
        if (X509_NAME_cmp(X509_get_subject_name(t->authority[i]),
                          X509_CRL_get_issuer(crl)) == 0 &&
            X509_CRL_verify(crl, X509_get0_pubkey(t->authority[i])) == 1)
            issuer = t->authority[i];
    }
    ERR_clear_error();
    return issuer;
}

kerf_err
kerf_creds_say_stray(kerf_detail *why, const char *dir)
{
    return kerf_fail(why, KERF_EMISMATCH,
                     "%s/" KERF_FILE_REVOKED " is not signed by an authority "
                     "of %s/" KERF_FILE_AUTHORITY ": copy both again",
                     dir, dir);
}

kerf_err
kerf_creds_say_bare(kerf_detail *why, const char *dir)
{
    return kerf_fail(why, KERF_EMISMATCH,
                     "%s/" KERF_FILE_REVOKED " has no list of one authority of "
                     "%s/" KERF_FILE_AUTHORITY ": copy both again",
                     dir, dir);
}

static kerf_err
check_lists(const kerf_creds *t, const char *dir, kerf_detail *why)
{
    for (size_t i = 0; i < t->revoked_count; i++) {
        if (kerf_creds_issuer(t, t->revoked[i]) == NULL)
            return kerf_creds_say_stray(why, dir);
    }
    for (size_t i = 0; t->revoked_count > 0 && i < t->authority_count; i++) {
        bool has = false;

        for (size_t k = 0; !has && k < t->revoked_count; k++)
            has = kerf_creds_issuer(t, t->revoked[k]) == t->authority[i];
        if (!has)
            return kerf_creds_say_bare(why, dir);
    }
    return KERF_OK;
}

kerf_err
kerf_creds_read_lists(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem pem = {0};
    kerf_err err =
        read_file(dir, KERF_FILE_REVOKED, KERF_CRL_MOST, false, &pem, why);

    if (err == KERF_OK)
        err = kerf_pem_crls(t->revoked, KERF_AUTHORITIES_MAX, &t->revoked_count,
                            &pem, KERF_FILE_REVOKED, why);
    kerf_pem_free(&pem);
    return err;
}

static kerf_err
load_lists(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_err err = kerf_creds_read_lists(t, dir, why);

    if (err == KERF_ENOENT && t->side == KERF_SIDE_EDGE)
        return KERF_OK;
    return err == KERF_OK ? check_lists(t, dir, why) : err;
}

kerf_err
kerf_creds_load_own(kerf_creds *t, const char *dir, kerf_detail *why)
{
    kerf_pem pem = {0};
    kerf_side side;
    size_t count = 0;
    kerf_err err =
        read_file(dir, KERF_FILE_CERT, KERF_PEM_MOST, false, &pem, why);

    if (err == KERF_OK)
        err = kerf_pem_certs(&t->cert, 1, &count, &pem, KERF_FILE_CERT, why);
    kerf_pem_free(&pem);
    if (err == KERF_OK)
        err = read_file(dir, KERF_FILE_KEY, KERF_PEM_MOST, true, &pem, why);
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
        return kerf_creds_say_own(why, X509_V_ERR_INVALID_PURPOSE, t->cert, dir,
                                  t->side);
    return KERF_OK;
}

kerf_err
kerf_creds_load_access(kerf_creds *t, const char *dir, kerf_detail *why)
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
    t->access_hash = kerf_xxh3_seed(text.data, text.len, 0);
    err = kerf_access_parse(&t->access, (const char *)text.data, text.len, why);
    kerf_pem_free(&text);
    return err == KERF_OK || err == KERF_ENOMEM
               ? err
               : kerf_fail_in(why, err, "%s/" KERF_FILE_ACCESS, dir);
}

static kerf_err
check_own(const kerf_creds *t, const char *dir, kerf_detail *why)
{
    int code = kerf_creds_verify(t, t->cert, t->side);

    return code == X509_V_OK
               ? KERF_OK
               : kerf_creds_say_own(why, code, t->cert, dir, t->side);
}

kerf_err
kerf_creds_check_folder(const char *dir, kerf_detail *why)
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
    kerf_err err = t != NULL ? kerf_creds_check_folder(dir, why) : KERF_ENOMEM;

    if (t != NULL) {
        t->refs = 1;
        t->side = side;
    }
    if (err == KERF_OK)
        err = kerf_creds_load_authorities(t, dir, why);
    if (err == KERF_OK)
        err = kerf_creds_load_own(t, dir, why);
    if (err == KERF_OK)
        err = load_lists(t, dir, why);
    if (err == KERF_OK)
        err = kerf_creds_load_access(t, dir, why);
    if (err == KERF_OK)
        err = kerf_creds_fill_store(t);
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
