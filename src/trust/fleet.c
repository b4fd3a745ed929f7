/*
 * Order of writing: the index first, then what it tells of. A crash in between
 * leaves a certificate that nobody has, which does no harm, and a folder that
 * the next renewal makes whole.
 */
#include "trust/fleet_own.h"

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

kerf_err
kerf_fleet_make_dir(const char *path, kerf_detail *why)
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

    return err == KERF_OK ? kerf_fleet_make_dir(path, why) : err;
}

kerf_err
kerf_fleet_save_index(kerf_fleet *f, kerf_detail *why)
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

void
kerf_fleet_fill_times(const kerf_fleet_ask *ask, int64_t *from_s,
                      int64_t *until_s)
{
    int64_t now_s = (int64_t)time(NULL);

    *from_s = ask->from_s != 0 ? ask->from_s : now_s - CLOCKS_S;
    *until_s =
        (ask->from_s != 0 ? ask->from_s : now_s) + (int64_t)ask->days * DAY_S;
}

kerf_err
kerf_fleet_lock(kerf_fleet *f, kerf_detail *why)
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

kerf_err
kerf_fleet_new(kerf_fleet **out, const char *dir, kerf_detail *why)
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
kerf_fleet_open(kerf_fleet **out, const char *dir, kerf_detail *why)
{
    kerf_fleet *f = NULL;
    char path[KERF_PATH_MAX];
    uint8_t *text = NULL;
    size_t len = 0;
    kerf_err err = kerf_fleet_new(&f, dir, why);

    if (err != KERF_OK)
        return err;
    err = kerf_fleet_lock(f, why);
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
        err = kerf_fleet_load_authority(f, f->count++, n, why);
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
    kerf_err err = kerf_fleet_spread(f, dir, why);

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
    size_t replaced = 0;
    EVP_PKEY *key = NULL;
    char dir[KERF_PATH_MAX];
    kerf_err err = copy != NULL ? KERF_OK : KERF_ENOMEM;

    for (char *at;
         rest != NULL && rest[0] != '\0' && c.host_count < KERF_HOSTS_MAX;) {
        at = strsep(&rest, ",");
        host[c.host_count++] = at;
    }
    kerf_fleet_fill_times(ask, &c.from_s, &c.until_s);
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
    if (err == KERF_OK && ask->replace)
        err = kerf_fleet_mark(f, name, NULL, true, &replaced, why);
    if (err == KERF_OK)
        err = kerf_fleet_save_index(f, why);
    if (err == KERF_OK)
        err = make_folder(f, side, name, dir, why);
    if (err == KERF_OK)
        err = write_own(f, dir, side, cert, key, why);
    if (err == KERF_OK && replaced > 0)
        err = kerf_fleet_spread(f, NULL, why);
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

kerf_err
kerf_fleet_fail_unknown(const kerf_fleet *f, const char *name, kerf_detail *why)
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
        return kerf_fleet_fail_unknown(f, name, why);
    if (k->revoked_s != 0 && !ask->force)
        return kerf_fail(why, KERF_EINVAL,
                         "%s is revoked: --force gives it a new certificate",
                         name);
    (void)snprintf(hosts, sizeof hosts, "%s", k->hosts);
    return issue(f, k->side, name, hosts, ask, why);
}
