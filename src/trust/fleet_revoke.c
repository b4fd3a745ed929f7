#include "trust/fleet_own.h"

#include "base/fs.h"
#include "trust/creds.h"
#include "trust/pem.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The list of one authority. */
static kerf_err
make_list(kerf_fleet *f, size_t at, X509_CRL **out, kerf_detail *why)
{
    kerf_revoked *list = calloc(f->index.count + 1, sizeof *list);
    size_t n = 0;
    kerf_err err;

    if (list == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < f->index.count; i++) {
        const kerf_issued *k = &f->index.issued[i];

        if (k->revoked_s == 0 || k->issuer != f->index.oldest + at)
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

kerf_err
kerf_fleet_revoke(kerf_fleet *f, const char *name, kerf_detail *why)
{
    int64_t now_s = (int64_t)time(NULL);
    bool any = false;
    kerf_err err;

    if (kerf_index_find(&f->index, name) == NULL)
        return kerf_fleet_fail_unknown(f, name, why);
    for (size_t i = 0; i < f->index.count; i++) {
        kerf_issued *k = &f->index.issued[i];

        if (strcmp(k->name, name) != 0 || k->revoked_s != 0)
            continue;
        k->revoked_s = now_s;
        any = true;
    }
    if (!any)
        return kerf_fail(why, KERF_EINVAL, "%s is revoked already", name);
    f->index.list++;
    err = kerf_fleet_save_index(f, why);
    return err == KERF_OK ? kerf_fleet_spread(f, NULL, why) : err;
}
