/*
 * Order of writing: the index first, then what it tells of. A crash in between
 * leaves a certificate that nobody has, which does no harm, and a folder that
 * the next renewal makes whole.
 */
#include "trust/fleet.h"

#include "base/fs.h"
#include "base/hash.h"
#include "trust/pem.h"
#include "trust/creds.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400
#define CLOCKS_S 300 /* by which the clocks of a fleet may differ */

struct kerf_fleet {
    char dir[KERF_PATH_MAX], authority[KERF_PATH_MAX];
    int lock;
    kerf_index index;
    /* Of the authorities in use, the oldest first; two at most. */
    X509 *cert[2];
    EVP_PKEY *key[2];
    size_t count;
};

static kerf_err
make_dir(const char *path, kerf_detail *why)
{
    if (mkdir(path, 0700) == 0 || (errno == EEXIST && kerf_fs_is_dir(path)))
        return KERF_OK;
    return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                     strerror(errno));
}

static kerf_err
make_dir_in(const char *dir, const char *name, char path[KERF_PATH_MAX],
            kerf_detail *why)
{
    kerf_err err = kerf_path_join(path, dir, name);

    return err == KERF_OK ? make_dir(path, why) : err;
}

static kerf_err
save_index(kerf_fleet *f, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    kerf_err err = kerf_path_join(path, f->authority, "index");

    if (err == KERF_OK)
        err = kerf_index_format(&f->index, &text, &len);
    if (err == KERF_OK)
        err = kerf_fs_write_mode(path, text, len, 0600, why);
    free(text);
    return err;
}

static void
fill_times(const kerf_fleet_ask *ask, int64_t *from_s, int64_t *until_s)
{
    int64_t now_s = (int64_t)time(NULL);

    *from_s = ask->from_s != 0 ? ask->from_s : now_s - CLOCKS_S;
    *until_s =
        (ask->from_s != 0 ? ask->from_s : now_s) + (int64_t)ask->days * DAY_S;
}

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
    fill_times(ask, &c.from_s, &c.until_s);
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

static kerf_err
load_authority(kerf_fleet *f, size_t at, unsigned number, kerf_detail *why)
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

static kerf_err
lock_fleet(kerf_fleet *f, kerf_detail *why)
{
    f->lock = open(f->authority, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock < 0) {
        return kerf_fail(why, KERF_ENOENT,
                         "%s: no fleet's keys are there: kerf keygen authority "
                         "makes them",
                         f->dir);
    }
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0)
        return kerf_fail(why, KERF_EBUSY, "%s: another kerf keygen is at work",
                         f->dir);
    return KERF_OK;
}

static kerf_err
new_fleet(kerf_fleet **out, const char *dir, kerf_detail *why)
{
    kerf_fleet *f = calloc(1, sizeof *f);

    if (f == NULL)
        return KERF_ENOMEM;
    f->lock = -1;
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    if (strlen(dir) >= sizeof f->dir - 200 ||
        kerf_path_join(f->authority, dir, "authority") != KERF_OK) {
        free(f);
        return kerf_fail(why, KERF_ETOOBIG, "%.60s...: path too long", dir);
    }
    *out = f;
    return KERF_OK;
}

void
kerf_fleet_close(kerf_fleet *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < 2; i++) {
        X509_free(f->cert[i]);
        EVP_PKEY_free(f->key[i]);
    }
    kerf_index_free(&f->index);
    if (f->lock >= 0)
        (void)close(f->lock);
    free(f);
}

kerf_err
kerf_fleet_make(const char *dir, const char *name, const kerf_fleet_ask *ask,
                kerf_detail *why)
{
    kerf_fleet *f = NULL;
    char path[KERF_PATH_MAX];
    kerf_err err = new_fleet(&f, dir, why);

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
        err = make_dir(f->authority, why);
    if (err == KERF_OK)
        err = lock_fleet(f, why);
    if (err == KERF_OK)
        err = kerf_path_join(path, f->authority, "index");
    if (err == KERF_OK && kerf_fs_exists(path) && !ask->force) {
        err = kerf_fail(why, KERF_EINVAL,
                        "%s is there: kerf keygen renew authority makes a new "
                        "one beside it; --force makes a new fleet, which "
                        "trusts nothing of the old one",
                        f->authority);
    }
    f->index = (kerf_index){.list = 1, .oldest = 1, .newest = 1};
    if (err == KERF_OK)
        err = make_authority(f, 0, 1, name, ask, why);
    if (err == KERF_OK)
        err = save_index(f, why);
    kerf_fleet_close(f);
    return err;
}

kerf_err
kerf_fleet_open(kerf_fleet **out, const char *dir, kerf_detail *why)
{
    kerf_fleet *f = NULL;
    char path[KERF_PATH_MAX];
    uint8_t *text = NULL;
    size_t len = 0;
    kerf_err err = new_fleet(&f, dir, why);

    if (err != KERF_OK)
        return err;
    err = lock_fleet(f, why);
    if (err == KERF_OK)
        err = kerf_path_join(path, f->authority, "index");
    if (err == KERF_OK)
        err = kerf_fs_read(path, KERF_INDEX_MOST, &text, &len, why);
    if (err == KERF_OK) {
        err = kerf_index_parse(&f->index, (const char *)text, len, why);
        if (err != KERF_OK)
            err = kerf_fail_in(why, err, "%s", path);
    }
    free(text);
    for (unsigned n = f->index.oldest; err == KERF_OK && n <= f->index.newest;
         n++)
        err = load_authority(f, f->count++, n, why);
    if (err != KERF_OK) {
        kerf_fleet_close(f);
        return err;
    }
    *out = f;
    return KERF_OK;
}

const kerf_index *
kerf_fleet_index(const kerf_fleet *f)
{
    return &f->index;
}

int64_t
kerf_fleet_until(const kerf_fleet *f)
{
    return kerf_cert_until(f->cert[f->count - 1]);
}

char *
kerf_fleet_path(const kerf_fleet *f, char *out, kerf_side side,
                const char *name)
{
    (void)snprintf(out, KERF_PATH_MAX, "%s/%ss/%s", f->dir,
                   kerf_side_name(side), name);
    return out;
}

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
static kerf_err
spread(kerf_fleet *f, const char *only, kerf_detail *why)
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

static kerf_err
write_access(const char *dir, kerf_detail *why)
{
    static const char text[] =
        "# Which models an edge may have. The first line whose NAME fits\n"
        "# counts; * is anything, ? one character. Followed while kerf cloud\n"
        "# runs.\n"
        "#\n"
        "# NAME      MODEL...\n"
        "*           *\n";
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, KERF_FILE_ACCESS);

    if (err != KERF_OK || kerf_fs_exists(path)) /* it is somebody's work */
        return err;
    return kerf_fs_write(path, text, sizeof text - 1, why);
}

static kerf_err
write_own(kerf_fleet *f, const char *dir, kerf_side side, X509 *cert,
          EVP_PKEY *key, kerf_detail *why)
{
    kerf_err err = spread(f, dir, why);

    if (err == KERF_OK && side == KERF_SIDE_CLOUD)
        err = write_access(dir, why);
    if (err == KERF_OK)
        err = kerf_pem_write_key(dir, KERF_FILE_KEY, key, why);
    if (err == KERF_OK)
        err = kerf_pem_write_certs(dir, KERF_FILE_CERT, &cert, 1, why);
    return err;
}

static kerf_err
make_folder(kerf_fleet *f, kerf_side side, const char *name,
            char dir[KERF_PATH_MAX], kerf_detail *why)
{
    char above[KERF_PATH_MAX];
    char sides[16];
    kerf_err err;

    (void)snprintf(sides, sizeof sides, "%ss", kerf_side_name(side));
    err = make_dir_in(f->dir, sides, above, why);
    return err == KERF_OK ? make_dir_in(above, name, dir, why) : err;
}

/* hosts: with commas. */
static kerf_err
issue(kerf_fleet *f, kerf_side side, const char *name, char *hosts,
      const kerf_fleet_ask *ask, kerf_detail *why)
{
    const char *host[KERF_HOSTS_MAX];
    kerf_issued k = {.side = side, .issuer = f->index.newest, .hosts = hosts};
    kerf_cert_ask c = {.side = side,
                       .name = name,
                       .host = host,
                       .issuer = f->cert[f->count - 1],
                       .signer = f->key[f->count - 1]};
    char *copy = strdup(hosts);
    char *rest = copy;
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    char dir[KERF_PATH_MAX];
    kerf_err err = copy != NULL ? KERF_OK : KERF_ENOMEM;

    for (char *at;
         rest != NULL && rest[0] != '\0' && c.host_count < KERF_HOSTS_MAX;) {
        at = strsep(&rest, ",");
        host[c.host_count++] = at;
    }
    fill_times(ask, &c.from_s, &c.until_s);
    if (c.until_s > kerf_fleet_until(f))
        c.until_s = kerf_fleet_until(f);
    if (err == KERF_OK)
        err = kerf_cert_serial_new(c.serial, why);
    if (err == KERF_OK)
        err = kerf_key_new(&key, ask->key, why);
    c.key = key;
    if (err == KERF_OK)
        err = kerf_cert_make(&cert, &c, why);
    memcpy(k.serial, c.serial, sizeof k.serial);
    (void)snprintf(k.name, sizeof k.name, "%s", name);
    k.from_s = c.from_s > 0 ? c.from_s : 0;
    k.until_s = c.until_s > 0 ? c.until_s : 0;
    if (err == KERF_OK)
        err = kerf_index_add(&f->index, &k);
    if (err == KERF_OK)
        err = save_index(f, why);
    if (err == KERF_OK)
        err = make_folder(f, side, name, dir, why);
    if (err == KERF_OK)
        err = write_own(f, dir, side, cert, key, why);
    X509_free(cert);
    EVP_PKEY_free(key);
    free(copy);
    return err;
}

static kerf_err
check_new(const kerf_fleet *f, kerf_side side, const char *name, bool force,
          kerf_detail *why)
{
    const kerf_issued *is = kerf_index_find(&f->index, name);
    char dir[KERF_PATH_MAX];

    if (!kerf_cert_is_name(name) || strcmp(name, "authority") == 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "%.80s is no name: 1 to 64 letters, digits, dots and "
                         "dashes",
                         name);
    }
    if (is != NULL && is->side != side)
        return kerf_fail(
            why, KERF_EINVAL, "%s is the name of a%s already: take another one",
            name, is->side == KERF_SIDE_EDGE ? "n edge" : " cloud");
    kerf_fleet_path(f, dir, side, name);
    if (!force && (is != NULL || kerf_fs_exists(dir))) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s is there: kerf keygen renew %s makes a new key "
                         "and certificate; --force makes it anew",
                         dir, name);
    }
    return KERF_OK;
}

kerf_err
kerf_fleet_issue(kerf_fleet *f, kerf_side side, const char *name,
                 const char *const *host, size_t count,
                 const kerf_fleet_ask *ask, kerf_detail *why)
{
    char hosts[KERF_HOSTS_TEXT] = "";
    size_t at = 0;
    kerf_err err = check_new(f, side, name, ask->force, why);

    if (err != KERF_OK)
        return err;
    if (count > KERF_HOSTS_MAX)
        return kerf_fail(why, KERF_EINVAL, "more than %d names and addresses",
                         KERF_HOSTS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!kerf_cert_is_host(host[i]))
            return kerf_fail(why, KERF_EINVAL,
                             "%.80s is no name or address of a cloud", host[i]);
        at += (size_t)snprintf(hosts + at, sizeof hosts - at, "%s%s",
                               i > 0 ? "," : "", host[i]);
        if (at >= sizeof hosts)
            return kerf_fail(why, KERF_EINVAL,
                             "these names and addresses are too long");
    }
    return issue(f, side, name, hosts, ask, why);
}

static kerf_err
fail_unknown(const kerf_fleet *f, const char *name, kerf_detail *why)
{
    return kerf_fail(why, KERF_ENOENT,
                     "%.80s: no such name in %s: kerf keygen list shows them",
                     name, f->dir);
}

kerf_err
kerf_fleet_renew(kerf_fleet *f, const char *name, const kerf_fleet_ask *ask,
                 kerf_detail *why)
{
    const kerf_issued *k = kerf_index_find(&f->index, name);
    char hosts[KERF_HOSTS_TEXT];

    if (k == NULL)
        return fail_unknown(f, name, why);
    if (k->revoked_s != 0 && !ask->force)
        return kerf_fail(why, KERF_EINVAL,
                         "%s is revoked: --force gives it a new certificate",
                         name);
    (void)snprintf(hosts, sizeof hosts, "%s", k->hosts);
    return issue(f, k->side, name, hosts, ask, why);
}

kerf_err
kerf_fleet_revoke(kerf_fleet *f, const char *name, kerf_detail *why)
{
    int64_t now_s = (int64_t)time(NULL);
    bool any = false;
    kerf_err err;

    if (kerf_index_find(&f->index, name) == NULL)
        return fail_unknown(f, name, why);
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
    err = save_index(f, why);
    return err == KERF_OK ? spread(f, NULL, why) : err;
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
    err = save_index(f, why);
    return err == KERF_OK ? spread(f, NULL, why) : err;
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
    err = save_index(f, why);
    return err == KERF_OK ? spread(f, NULL, why) : err;
}
