#include "trust/fleet_own.h"

#include "base/fs.h"
#include "trust/pem.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Makes authority `number` in f->cert[at], and writes it. */
static kerf_err
make_authority(kerf_fleet *f, size_t at, unsigned number, const char *name,
               const kerf_fleet_ask *ask, kerf_detail *why)
{
    kerf_cert_ask c = {.side = KERF_SIDE_AUTHORITY};
    char full[KERF_CERT_NAME];
    char file[32];
    kerf_err err = kerf_key_new(&f->key[at], ask->key, why);

    if (err == KERF_OK)
        err = kerf_cert_serial_new(c.serial, why);
    if (err != KERF_OK)
        return err;
    /* Two with one name would be taken for each other. */
    (void)snprintf(full, sizeof full, "%.40s-%02x%02x%02x%02x", name,
                   c.serial[1], c.serial[2], c.serial[3], c.serial[4]);
    c.name = full;
    kerf_fleet_fill_times(ask, &c.from_s, &c.until_s);
    c.key = c.signer = f->key[at];
    err = kerf_cert_make(&f->cert[at], &c, why);
    (void)snprintf(file, sizeof file, "%u.key", number);
    if (err == KERF_OK)
        err = kerf_pem_write_key(f->authority, file, f->key[at], why);
    (void)snprintf(file, sizeof file, "%u.crt", number);
    if (err == KERF_OK)
        err = kerf_pem_write_certs(f->authority, file, &f->cert[at], 1, why);
    return err;
}

kerf_err
kerf_fleet_load_authority(kerf_fleet *f, size_t at, unsigned number,
                          kerf_detail *why)
{
    kerf_pem pem = {0};
    size_t count = 0;
    char file[32];
    kerf_err err;

    (void)snprintf(file, sizeof file, "%u.crt", number);
    err = kerf_pem_read(&pem, f->authority, file, KERF_PEM_MOST, false, why);
    if (err == KERF_OK)
        err = kerf_pem_certs(&f->cert[at], 1, &count, &pem, file, why);
    kerf_pem_free(&pem);
    (void)snprintf(file, sizeof file, "%u.key", number);
    if (err == KERF_OK)
        err = kerf_pem_read(&pem, f->authority, file, KERF_PEM_MOST, true, why);
    if (err == KERF_OK)
        err = kerf_pem_key(&f->key[at], &pem, file, why);
    kerf_pem_free(&pem);
    if (err == KERF_OK && X509_check_private_key(f->cert[at], f->key[at]) != 1)
        err = kerf_fail(why, KERF_ECORRUPT, "%s does not go with %u.crt", file,
                        number);
    return err;
}

/* Of a number that no file has: what is there stays whole until the index says
 * otherwise. */
static kerf_err
free_number(const kerf_fleet *f, unsigned *out, kerf_detail *why)
{
    kerf_names names = {0};
    kerf_err err = kerf_fs_list(f->authority, 300000, &names, why);
    unsigned long most = 0;

    for (size_t i = 0; i < names.count; i++) {
        char *end;
        unsigned long n = strtoul(names.name[i], &end, 10);

        if (end != names.name[i] && *end == '.' && n > most)
            most = n;
    }
    kerf_names_free(&names);
    if (err == KERF_OK && most >= KERF_AUTHORITY_MOST)
        err = kerf_fail(why, KERF_ETOOBIG, "%s: too many authorities",
                        f->authority);
    *out = (unsigned)(most + 1);
    return err;
}

kerf_err
kerf_fleet_make(const char *dir, const char *name, const kerf_fleet_ask *ask,
                kerf_detail *why)
{
    kerf_fleet *f = NULL;
    unsigned number = 1;
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_fleet_new(&f, dir, why);

    if (err != KERF_OK)
        return err;
    if (!kerf_cert_is_name(name) || strlen(name) > 40) {
        err = kerf_fail(why, KERF_EINVAL,
                        "--name %.60s: 1 to 40 letters, digits, dots and "
                        "dashes",
                        name);
    }
    if (err == KERF_OK)
        err = kerf_fs_mkdirs(dir, why);
    if (err == KERF_OK)
        err = kerf_fleet_make_dir(f->authority, why);
    if (err == KERF_OK)
        err = kerf_fleet_lock(f, why);
    if (err == KERF_OK)
        err = kerf_path_join(path, f->authority, "index");
    if (err == KERF_OK && kerf_fs_exists(path) && !ask->force) {
        err = kerf_fail(why, KERF_EINVAL,
                        "%s is there: kerf keygen renew authority makes a new "
                        "one beside it; --force makes a new fleet, which "
                        "trusts nothing of the old one",
                        f->authority);
    }
    if (err == KERF_OK)
        err = free_number(f, &number, why);
    f->index = (kerf_index){.list = 1, .oldest = number, .newest = number};
    if (err == KERF_OK)
        err = make_authority(f, 0, number, name, ask, why);
    if (err == KERF_OK)
        err = kerf_fleet_save_index(f, why);
    kerf_fleet_close(f);
    return err;
}

kerf_err
kerf_fleet_rotate(kerf_fleet *f, const kerf_fleet_ask *ask, kerf_detail *why)
{
    char name[KERF_CERT_NAME];
    char *dash;
    kerf_err err;

    if (f->count == 2)
        return kerf_fail(why, KERF_EINVAL,
                         "the authority before this one is still trusted: kerf "
                         "keygen retire ends that");
    if (!kerf_cert_name(f->cert[0], name))
        return kerf_fail(why, KERF_ECORRUPT, "%u.crt has no name",
                         f->index.newest);
    dash = strrchr(name, '-');
    if (dash != NULL)
        *dash = '\0';
    err = make_authority(f, 1, f->index.newest + 1, name, ask, why);
    if (err != KERF_OK)
        return err;
    f->count = 2;
    f->index.newest++;
    f->index.list++;
    err = kerf_fleet_save_index(f, why);
    return err == KERF_OK ? kerf_fleet_spread(f, NULL, why) : err;
}

static kerf_err
check_retire(const kerf_fleet *f, kerf_detail *why)
{
    int64_t now_s = (int64_t)time(NULL);

    for (size_t i = 0; i < f->index.count; i++) {
        const kerf_issued *k = &f->index.issued[i];

        if (k->issuer < f->index.newest && k->revoked_s == 0 &&
            k->until_s > now_s && kerf_index_find(&f->index, k->name) == k) {
            return kerf_fail(why, KERF_EINVAL,
                             "%s has no certificate of the new authority yet: "
                             "kerf keygen renew %s, and copy it; --force "
                             "retires it all the same",
                             k->name, k->name);
        }
    }
    return KERF_OK;
}

kerf_err
kerf_fleet_retire(kerf_fleet *f, bool force, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (f->count < 2)
        return kerf_fail(why, KERF_EINVAL,
                         "there is one authority only: kerf keygen renew "
                         "authority makes the next one");
    if (!force)
        err = check_retire(f, why);
    if (err != KERF_OK)
        return err;
    X509_free(f->cert[0]);
    EVP_PKEY_free(f->key[0]);
    f->cert[0] = f->cert[1];
    f->key[0] = f->key[1];
    f->cert[1] = NULL;
    f->key[1] = NULL;
    f->count = 1;
    f->index.oldest = f->index.newest;
    f->index.list++;
    err = kerf_fleet_save_index(f, why);
    return err == KERF_OK ? kerf_fleet_spread(f, NULL, why) : err;
}
