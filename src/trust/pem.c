#include "trust/pem.h"

#include "base/fs.h"
#include "base/log.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kerf_err
check_mode(int fd, const char *path, kerf_detail *why)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return kerf_fail(why, KERF_EIO, "%s: cannot be looked at", path);
    if ((st.st_mode & 077) != 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: others may %s this key (mode %04o): chmod 600 "
                         "it, and make a new one if somebody could have",
                         path, (st.st_mode & 022) == 0 ? "read" : "change",
                         (unsigned)(st.st_mode & 07777));
    }
    /* As ssh does it, not refused: in a container root has files of others. */
    if (st.st_uid != geteuid() && st.st_uid != 0)
        kerf_log(KERF_LOG_WARN, "trust.key_of_another",
                 "key=%s user=%u: who owns it can read and change it",
                 KERF_Q(path), (unsigned)st.st_uid);
    return KERF_OK;
}

kerf_err
kerf_pem_read_path(kerf_pem *out, const char *path, size_t most, bool secret,
                   kerf_detail *why)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int fd = -1;
    kerf_err err = kerf_fs_open(&fd, path, most, &len, why);

    if (err == KERF_OK && secret)
        err = check_mode(fd, path, why);
    if (err == KERF_OK && (data = malloc(len + 1)) == NULL)
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
    if (err == KERF_OK && !kerf_fs_read_at(fd, 0, data, len))
        err = kerf_fail(why, KERF_EIO, "%s: cannot be read to its end", path);
    if (fd >= 0)
        (void)close(fd);
    if (err != KERF_OK) {
        free(data);
        return err;
    }
    data[len] = 0;
    *out = (kerf_pem){.data = data, .len = len};
    return KERF_OK;
}

kerf_err
kerf_pem_read(kerf_pem *out, const char *dir, const char *name, size_t most,
              bool secret, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, name);

    return err == KERF_OK ? kerf_pem_read_path(out, path, most, secret, why)
                          : kerf_fail(why, err, "%s: path too long", dir);
}

void
kerf_pem_free(kerf_pem *pem)
{
    if (pem->data != NULL)
        OPENSSL_cleanse(pem->data, pem->len);
    free(pem->data);
    *pem = (kerf_pem){0};
}

/* Nobody is asked for one. */
static int
no_password(char *buf, int size, int rwflag, void *ctx)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)ctx;
    return -1;
}

/* Whether the last PEM_read_...() stopped because nothing more is there. */
static bool
was_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM &&
               ERR_GET_REASON(code) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return end;
}

static BIO *
open_bytes(const kerf_pem *pem)
{
    ERR_clear_error();
    return BIO_new_mem_buf(pem->data, (int)pem->len); /* bounded when read */
}

static kerf_err
judge(bool end, size_t count, bool more, size_t most, const char *what,
      const char *path, kerf_detail *why)
{
    if (more)
        return kerf_fail(why, KERF_ETOOBIG, "%s: more than %zu %s", path, most,
                         what);
    if (!end)
        return kerf_fail(why, KERF_ECORRUPT, "%s: damaged, or no %s", path,
                         what);
    if (count == 0)
        return kerf_fail(why, KERF_ECORRUPT, "%s: no %s in it", path, what);
    return KERF_OK;
}

/* What a file may have several of. */
struct kind {
    const char *what;
    void *(*next)(BIO *bio);
    void (*drop)(void *one);
};

/* Up to `most` into out, or none. */
static kerf_err
read_all(const struct kind *kind, void **out, size_t most, size_t *count,
         const kerf_pem *pem, const char *path, kerf_detail *why)
{
    BIO *bio = open_bytes(pem);
    void *one = NULL;
    size_t n = 0;
    kerf_err err;

    if (bio == NULL)
        return KERF_ENOMEM;
    while ((one = kind->next(bio)) != NULL && n < most)
        out[n++] = one;
    err = judge(one == NULL && was_end(), n, one != NULL, most, kind->what,
                path, why);
    if (one != NULL)
        kind->drop(one);
    BIO_free(bio);
    while (err != KERF_OK && n > 0)
        kind->drop(out[--n]);
    *count = n;
    return err;
}

static void *
next_cert(BIO *bio)
{
    return PEM_read_bio_X509(bio, NULL, no_password, NULL);
}

static void
drop_cert(void *one)
{
    X509_free(one);
}

static void *
next_crl(BIO *bio)
{
    return PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL);
}

static void
drop_crl(void *one)
{
    X509_CRL_free(one);
}

kerf_err
kerf_pem_certs(struct x509_st **out, size_t most, size_t *count,
               const kerf_pem *pem, const char *path, kerf_detail *why)
{
    static const struct kind certs = {"certificates", next_cert, drop_cert};
    void *all[KERF_AUTHORITIES_MAX];
    kerf_err err = read_all(&certs, all, most, count, pem, path, why);

    for (size_t i = 0; err == KERF_OK && i < *count; i++)
        out[i] = all[i];
    return err;
}

kerf_err
kerf_pem_crls(struct X509_crl_st **out, size_t most, size_t *count,
              const kerf_pem *pem, const char *path, kerf_detail *why)
{
    static const struct kind crls = {"lists of revoked certificates", next_crl,
                                     drop_crl};
    void *all[KERF_AUTHORITIES_MAX];
    kerf_err err = read_all(&crls, all, most, count, pem, path, why);

    for (size_t i = 0; err == KERF_OK && i < *count; i++)
        out[i] = all[i];
    return err;
}

kerf_err
kerf_pem_key(struct evp_pkey_st **out, const kerf_pem *pem, const char *path,
             kerf_detail *why)
{
    BIO *bio = open_bytes(pem);
    EVP_PKEY *key;

    if (bio == NULL)
        return KERF_ENOMEM;
    key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    ERR_clear_error();
    BIO_free(bio);
    if (key == NULL) {
        bool locked = strstr((const char *)pem->data, "ENCRYPTED") != NULL;

        return kerf_fail(why, KERF_ECORRUPT,
                         locked ? "%s: has a password, and nobody is there to "
                                  "be asked for it"
                                : "%s: damaged, or no private key",
                         path);
    }
    *out = key;
    return KERF_OK;
}

/* Takes bio; done: all was written to it. */
static kerf_err
write_out(const char *dir, const char *name, BIO *bio, bool done, unsigned mode,
          kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    char *data = NULL;
    long len;
    kerf_err err = kerf_path_join(path, dir, name);

    if (err != KERF_OK) {
        (void)kerf_fail(why, err, "%s: path too long", dir);
    } else if (!done || (len = BIO_get_mem_data(bio, &data)) <= 0) {
        err = KERF_ENOMEM;
    } else {
        err = kerf_fs_write_mode(path, data, (size_t)len, mode, why);
        OPENSSL_cleanse(data, (size_t)len);
    }
    BIO_free(bio);
    return err;
}

kerf_err
kerf_pem_write_key(const char *dir, const char *name, struct evp_pkey_st *key,
                   kerf_detail *why)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool done = bio != NULL && PEM_write_bio_PKCS8PrivateKey(
                                   bio, key, NULL, NULL, 0, NULL, NULL) == 1;

    return write_out(dir, name, bio, done, 0600, why);
}

kerf_err
kerf_pem_write_certs(const char *dir, const char *name,
                     struct x509_st *const *list, size_t count,
                     kerf_detail *why)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool done = bio != NULL;

    for (size_t i = 0; done && i < count; i++)
        done = PEM_write_bio_X509(bio, list[i]) == 1;
    return write_out(dir, name, bio, done, 0644, why);
}

kerf_err
kerf_pem_write_crls(const char *dir, const char *name,
                    struct X509_crl_st *const *list, size_t count,
                    kerf_detail *why)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool done = bio != NULL;

    for (size_t i = 0; done && i < count; i++)
        done = PEM_write_bio_X509_CRL(bio, list[i]) == 1;
    return write_out(dir, name, bio, done, 0644, why);
}
