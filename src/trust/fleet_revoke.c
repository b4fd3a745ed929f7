#include "trust/fleet_own.h"

#include "base/fs.h"
#include "base/hash.h"
#include "trust/creds.h"
#include "trust/pem.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A list need not say that what has expired is revoked; clocks may be wrong. */
#define EXPIRED_S (30 * INT64_C(86400))

static bool
is_of_use(const kerf_fleet *f, const kerf_issued *k, int64_t now_s)
{
    return k->issuer >= f->index.oldest && k->until_s > now_s - EXPIRED_S;
}

size_t
kerf_fleet_revoked(const kerf_fleet *f)
{
    int64_t now_s = (int64_t)time(NULL);
    size_t n = 0;

    for (size_t i = 0; i < f->index.count; i++)
        n += f->index.issued[i].revoked_s != 0 &&
             is_of_use(f, &f->index.issued[i], now_s);
    return n;
}

/* The list of one authority. */
static kerf_err
make_list(kerf_fleet *f, size_t at, X509_CRL **out, kerf_detail *why)
{
    kerf_revoked *list = calloc(f->index.count + 1, sizeof *list);
    int64_t now_s = (int64_t)time(NULL);
    size_t n = 0;
    kerf_err err;

    if (list == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < f->index.count; i++) {
        const kerf_issued *k = &f->index.issued[i];

        if (k->revoked_s == 0 || k->issuer != f->index.oldest + at ||
            !is_of_use(f, k, now_s))
            continue;
        memcpy(list[n].serial, k->serial, sizeof list[n].serial);
        list[n++].at_s = k->revoked_s;
    }
    err = kerf_crl_make(out, f->cert[at], f->key[at], f->index.list, list, n,
                        why);
    free(list);
    return err;
}

/* Into one folder, if it is there: whom to trust, and whom no more. */
static kerf_err
write_common(const kerf_fleet *f, const char *dir, X509_CRL *const list[2],
             kerf_detail *why)
{
    kerf_err err =
        kerf_pem_write_crls(dir, KERF_FILE_REVOKED, list, f->count, why);

    return err == KERF_OK ? kerf_pem_write_certs(dir, KERF_FILE_AUTHORITY,
                                                 f->cert, f->count, why)
                          : err;
}

/* only: NULL: into all folders that are there. */
kerf_err
kerf_fleet_spread(kerf_fleet *f, const char *only, kerf_detail *why)
{
    X509_CRL *list[2] = {NULL, NULL};
    char dir[KERF_PATH_MAX];
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < f->count; i++)
        err = make_list(f, i, &list[i], why);
    if (err == KERF_OK && only != NULL)
        err = write_common(f, only, list, why);
    for (size_t i = 0; only == NULL && err == KERF_OK && i < f->index.count;
         i++) {
        const kerf_issued *k = &f->index.issued[i];

        kerf_fleet_path(f, dir, k->side, k->name);
        if (kerf_index_find(&f->index, k->name) == k && kerf_fs_is_dir(dir))
            err = write_common(f, dir, list, why);
    }
    X509_CRL_free(list[0]);
    X509_CRL_free(list[1]);
    return err;
}

/* Whether k is one of those that are asked for; last: of its name. */
static bool
is_asked(const kerf_issued *k, const char *name, const uint8_t serial[16],
         const kerf_issued *last)
{
    if (name != NULL)
        return strcmp(k->name, name) == 0 && k != last;
    return serial != NULL && memcmp(k->serial, serial, sizeof k->serial) == 0;
}

kerf_err
kerf_fleet_mark(kerf_fleet *f, const char *name, const uint8_t serial[16],
                bool earlier, size_t *count, kerf_detail *why)
{
    const kerf_issued *last = earlier ? kerf_index_find(&f->index, name) : NULL;
    int64_t now_s = (int64_t)time(NULL);
    size_t more = 0;

    *count = 0;
    for (size_t i = 0; i < f->index.count; i++) {
        const kerf_issued *k = &f->index.issued[i];

        more += k->revoked_s == 0 && is_asked(k, name, serial, last) &&
                is_of_use(f, k, now_s);
    }
    if (more > 0 && kerf_fleet_revoked(f) + more > KERF_REVOKED_MAX) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "more than %u certificates would be revoked that have "
                         "not expired, and clouds take no longer list: kerf "
                         "keygen renew authority, renew all others, retire",
                         KERF_REVOKED_MAX);
    }
    for (size_t i = 0; i < f->index.count; i++) {
        kerf_issued *k = &f->index.issued[i];

        if (k->revoked_s != 0 || !is_asked(k, name, serial, last))
            continue;
        k->revoked_s = now_s;
        (*count)++;
    }
    f->index.list += *count > 0;
    return KERF_OK;
}

int64_t
kerf_fleet_earlier(const kerf_fleet *f, const char *name)
{
    const kerf_issued *last = kerf_index_find(&f->index, name);
    int64_t now_s = (int64_t)time(NULL);
    int64_t until_s = 0;

    for (size_t i = 0; i < f->index.count; i++) {
        const kerf_issued *k = &f->index.issued[i];

        if (is_asked(k, name, NULL, last) && k->revoked_s == 0 &&
            k->issuer >= f->index.oldest && k->until_s > now_s &&
            k->until_s > until_s)
            until_s = k->until_s;
    }
    return until_s;
}

static bool
has_serial(const kerf_fleet *f, const uint8_t serial[16])
{
    for (size_t i = 0; i < f->index.count; i++) {
        if (is_asked(&f->index.issued[i], NULL, serial, NULL))
            return true;
    }
    return false;
}

kerf_err
kerf_fleet_revoke(kerf_fleet *f, const char *what, bool earlier,
                  kerf_detail *why)
{
    const char *name = kerf_index_find(&f->index, what) != NULL ? what : NULL;
    uint8_t serial[16] = {0};
    size_t count = 0;
    kerf_err err;

    if (name == NULL && (earlier || !kerf_unhex(serial, sizeof serial, what) ||
                         !has_serial(f, serial)))
        return kerf_fleet_fail_unknown(f, what, why);
    err = kerf_fleet_mark(f, name, serial, earlier, &count, why);
    if (err != KERF_OK)
        return err;
    if (count == 0) {
        return kerf_fail(why, KERF_EINVAL,
                         earlier ? "%s has no earlier certificate that is not "
                                   "revoked"
                                 : "%s is revoked already",
                         what);
    }
    err = kerf_fleet_save_index(f, why);
    return err == KERF_OK ? kerf_fleet_spread(f, NULL, why) : err;
}
