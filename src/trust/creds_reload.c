/*
 * A folder is rarely copied at one moment, and what is wrong in one file must
 * not keep a revocation from taking effect. So each part stands for itself,
 * with one rule: trust is taken away at once, and given only by authorities
 * that the own certificate belongs to; a folder of another fleet, half copied,
 * changes nothing.
 */
#include "trust/creds_own.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct notes {
    unsigned kept;
    kerf_detail *why;
} notes;

/* The first two reasons; more do not fit into a line. */
static void
note(notes *n, unsigned part, const kerf_detail *why, kerf_err err)
{
    const char *text = why->text[0] != '\0' ? why->text : kerf_err_text(err);
    size_t len = strlen(n->why->text);

    n->kept |= part;
    (void)snprintf(n->why->text + len, sizeof n->why->text - len, "%s%s",
                   len > 0 ? "; " : "", text);
}

static void
drop_lists(kerf_creds *t)
{
    while (t->revoked_count > 0)
        X509_CRL_free(t->revoked[--t->revoked_count]);
}

static void
keep_authorities(kerf_creds *t, const kerf_creds *now)
{
    while (t->authority_count > 0)
        X509_free(t->authority[--t->authority_count]);
    for (; t->authority_count < now->authority_count; t->authority_count++) {
        t->authority[t->authority_count] = now->authority[t->authority_count];
        (void)X509_up_ref(t->authority[t->authority_count]);
    }
}

static void
keep_own(kerf_creds *t, const kerf_creds *now)
{
    X509_free(t->cert);
    EVP_PKEY_free(t->key);
    t->cert = now->cert;
    t->key = now->key;
    (void)X509_up_ref(t->cert);
    (void)EVP_PKEY_up_ref(t->key);
    (void)snprintf(t->name, sizeof t->name, "%s", now->name);
}

/* Authorities. */

static bool
trusts_more(const kerf_creds *t, const kerf_creds *now)
{
    for (size_t i = 0; i < t->authority_count; i++) {
        bool known = false;

        for (size_t k = 0; !known && k < now->authority_count; k++)
            known = X509_cmp(t->authority[i], now->authority[k]) == 0;
        if (!known)
            return true;
    }
    return false;
}

/* Whenever it is or was valid. */
static bool
is_of(const kerf_creds *t, X509 *cert)
{
    bool is = false;

    for (size_t i = 0; !is && i < t->authority_count; i++) {
        is = X509_check_issued(t->authority[i], cert) == X509_V_OK &&
             X509_verify(cert, X509_get0_pubkey(t->authority[i])) == 1;
    }
    ERR_clear_error();
    return is;
}

static void
take_authorities(kerf_creds *t, const kerf_creds *now, const char *dir,
                 notes *n)
{
    kerf_detail why = {{0}};
    kerf_err err = kerf_creds_load_authorities(t, dir, &why);

    if (err == KERF_OK && trusts_more(t, now) && !is_of(t, t->cert) &&
        !is_of(t, now->cert))
        err = kerf_creds_say_own(&why, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
                                 t->cert, dir, t->side);
    if (err == KERF_OK)
        return;
    note(n, KERF_PART_AUTHORITY, &why, err);
    keep_authorities(t, now);
}

/* Lists. */

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

/* The latest of from's that this authority has signed, or NULL. */
static X509_CRL *
latest(const kerf_creds *t, size_t authority, const kerf_creds *from)
{
    X509_CRL *best = NULL;

    for (size_t i = 0; i < from->revoked_count; i++) {
        X509_CRL *crl = from->revoked[i];

        if (kerf_creds_issuer(t, crl) == t->authority[authority] &&
            (best == NULL || number_of(crl) > number_of(best)))
            best = crl;
    }
    return best;
}

/* For each authority the later one of file's and now's. Returns false, and
 * takes none, when one has none and another one has. */
static bool
merge_lists(kerf_creds *t, const kerf_creds *file, const kerf_creds *now,
            bool *older)
{
    for (size_t i = 0; i < t->authority_count; i++) {
        X509_CRL *ours = latest(t, i, now);
        X509_CRL *its = latest(t, i, file);

        if (ours != NULL && its != NULL && number_of(its) < number_of(ours))
            *older = true;
        else if (its != NULL)
            ours = its;
        if (ours == NULL)
            continue;
        (void)X509_CRL_up_ref(ours);
        t->revoked[t->revoked_count++] = ours;
    }
    if (t->revoked_count == t->authority_count || t->revoked_count == 0)
        return t->revoked_count > 0 || t->side == KERF_SIDE_EDGE;
    drop_lists(t);
    return false;
}

static void
take_lists(kerf_creds *t, kerf_creds *file, const kerf_creds *now,
           const char *dir, notes *n)
{
    kerf_detail why = {{0}};
    kerf_err err = kerf_creds_read_lists(file, dir, &why);
    bool older = false;

    if (err == KERF_ENOENT && now->revoked_count == 0 &&
        t->side == KERF_SIDE_EDGE)
        err = KERF_OK;
    for (size_t i = 0; err == KERF_OK && i < file->revoked_count; i++) {
        if (kerf_creds_issuer(t, file->revoked[i]) == NULL)
            err = kerf_creds_say_stray(&why, dir);
    }
    if (!merge_lists(t, file, now, &older)) {
        kerf_detail bare = {{0}};

        note(n, KERF_PART_AUTHORITY, &bare, kerf_creds_say_bare(&bare, dir));
        keep_authorities(t, now);
        (void)merge_lists(t, file, now, &older);
    }
    if (err == KERF_OK && older) {
        err = kerf_fail(&why, KERF_EINVAL,
                        "%s/" KERF_FILE_REVOKED " is older than the one in "
                        "use: copy the latest",
                        dir);
    }
    if (err != KERF_OK)
        note(n, KERF_PART_REVOKED, &why, err);
}

/* The own key, and access. */

static void
read_own(kerf_creds *t, const kerf_creds *now, const char *dir, unsigned keep,
         notes *n)
{
    kerf_detail why = {{0}};
    kerf_err err;

    if ((keep & KERF_PART_KEY) != 0) {
        keep_own(t, now);
        return;
    }
    err = kerf_creds_load_own(t, dir, &why);
    if (err == KERF_OK && strcmp(t->name, now->name) != 0) {
        err = kerf_fail(&why, KERF_EINVAL,
                        "%s/" KERF_FILE_CERT ": its name is %s, and was %s: "
                        "start again to change that",
                        dir, t->name, now->name);
    }
    if (err == KERF_OK)
        return;
    note(n, KERF_PART_KEY, &why, err);
    keep_own(t, now);
}

/* The one that is good; if none is, the new one of an authority that is
 * trusted. */
static void
choose_own(kerf_creds *t, const kerf_creds *now, const char *dir, notes *n)
{
    kerf_detail why = {{0}};
    int code = kerf_creds_verify(t, t->cert, t->side);

    if (code == X509_V_OK)
        return;
    note(n, KERF_PART_KEY, &why,
         kerf_creds_say_own(&why, code, t->cert, dir, t->side));
    if (!is_of(t, t->cert) ||
        kerf_creds_verify(t, now->cert, t->side) == X509_V_OK)
        keep_own(t, now);
}

static kerf_err
take_access(kerf_creds *t, const kerf_creds *now, const char *dir, notes *n)
{
    kerf_detail why = {{0}};
    kerf_err err = kerf_creds_load_access(t, dir, &why);

    if (err == KERF_OK || err == KERF_ENOMEM)
        return err;
    note(n, KERF_PART_ACCESS, &why, err);
    t->access_hash = now->access_hash;
    return kerf_access_copy(&t->access, now->access);
}

kerf_err
kerf_creds_reload(kerf_creds **out, const kerf_creds *now, const char *dir,
                  unsigned keep, unsigned *kept, kerf_detail *why)
{
    kerf_creds *t = calloc(1, sizeof *t);
    kerf_creds *file = calloc(1, sizeof *file);
    notes n = {.why = why};
    kerf_err err = t != NULL && file != NULL ? KERF_OK : KERF_ENOMEM;

    if (err == KERF_OK) {
        t->refs = file->refs = 1;
        t->side = now->side;
        why->text[0] = '\0';
        err = kerf_creds_check_folder(dir, why);
    }
    if (err == KERF_OK) {
        read_own(t, now, dir, keep, &n);
        take_authorities(t, now, dir, &n);
        take_lists(t, file, now, dir, &n);
        err = take_access(t, now, dir, &n);
    }
    if (err == KERF_OK)
        err = kerf_creds_fill_store(t);
    kerf_creds_unref(file);
    if (err != KERF_OK) {
        kerf_creds_unref(t);
        return err;
    }
    choose_own(t, now, dir, &n);
    *kept = n.kept;
    *out = t;
    return KERF_OK;
}
