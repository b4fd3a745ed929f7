#include "trust/ed25519.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/fs.h"
#include "base/hash.h"
#include "trust/pem.h"

struct kerf_secret_key {
    EVP_PKEY *pkey;
};

static kerf_err
set_public(kerf_public_key *out, const EVP_PKEY *pkey)
{
    uint8_t sum[KERF_SHA256_LEN];
    size_t len = sizeof out->bytes;
    kerf_sha256 *hash = NULL;

    if (EVP_PKEY_get_raw_public_key(pkey, out->bytes, &len) != 1 ||
        len != sizeof out->bytes || kerf_sha256_new(&hash) != KERF_OK) {
        ERR_clear_error();
        return KERF_ENOMEM;
    }
    kerf_sha256_add(hash, out->bytes, sizeof out->bytes);
    kerf_sha256_end(hash, sum);
    kerf_sha256_free(hash);
    memcpy(out->id, sum, sizeof out->id);
    return KERF_OK;
}

/* Nobody is asked for a password. */
static int
no_password(char *to, int size, int for_writing, void *ctx)
{
    (void)to;
    (void)size;
    (void)for_writing;
    (void)ctx;
    return -1;
}

/* Making. */

/* The PEM text of a key in memory -> BIO_free(). NULL: no memory. */
static BIO *
to_pem(EVP_PKEY *pkey, bool secret)
{
    BIO *bio = BIO_new(secret ? BIO_s_secmem() : BIO_s_mem());
    int ok;

    if (bio == NULL)
        return NULL;
    ok = secret ? PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                : PEM_write_bio_PUBKEY(bio, pkey);
    if (ok == 1)
        return bio;
    ERR_clear_error();
    BIO_free(bio);
    return NULL;
}

static int
write_all(int fd, const char *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, data + at, len - at);

        if (n < 0 && errno != EINTR)
            return errno;
        at += n < 0 ? 0 : (size_t)n;
    }
    return fsync(fd) != 0 ? errno : 0;
}

/* A new file with its mode from the first byte on; what is there stays. */
static kerf_err
write_new(const char *path, EVP_PKEY *pkey, bool secret, kerf_detail *why)
{
    BIO *bio = to_pem(pkey, secret);
    char *text = NULL;
    long len;
    int code;
    int fd;

    if (bio == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
    len = BIO_get_mem_data(bio, &text);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
              secret ? 0600 : 0644);
    code = fd < 0 ? errno : write_all(fd, text, (size_t)len);
    if (fd >= 0 && close(fd) != 0 && code == 0)
        code = errno;
    BIO_free(bio);
    if (code == 0)
        return KERF_OK;
    if (fd >= 0)
        (void)unlink(path);
    if (fd < 0 && code == EEXIST) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s is there already: a key is not overwritten; "
                         "choose another name, or move it away",
                         path);
    }
    return kerf_fail(why, kerf_err_from_errno(code), "%s: %s", path,
                     strerror(code));
}

kerf_err
kerf_key_make(const char *path, kerf_public_key *out, kerf_detail *why)
{
    char public_path[KERF_PATH_MAX];
    EVP_PKEY *pkey = NULL;
    kerf_err err = KERF_ENOMEM;
    int n = snprintf(public_path, sizeof public_path, "%s.pub", path);

    if (n < 0 || (size_t)n >= sizeof public_path)
        return kerf_fail(why, KERF_EINVAL, "%s: path too long", path);
    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (pkey == NULL || set_public(out, pkey) != KERF_OK) {
        ERR_clear_error();
        (void)kerf_fail(why, err, "cannot make a key: out of memory");
        goto out;
    }
    err = write_new(path, pkey, true, why);
    if (err != KERF_OK)
        goto out;
    err = write_new(public_path, pkey, false, why);
    if (err != KERF_OK)
        (void)unlink(path);
out:
    EVP_PKEY_free(pkey);
    return err;
}

/* The secret one. */

kerf_err
kerf_secret_key_read(kerf_secret_key **out, const char *path,
                     kerf_public_key *public, kerf_detail *why)
{
    kerf_secret_key *key = NULL;
    kerf_pem pem = {0};
    BIO *bio = NULL;
    kerf_err err = kerf_pem_read_path(&pem, path, KERF_KEY_FILE_MAX, true, why);

    if (err != KERF_OK)
        return err;
    key = calloc(1, sizeof *key);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    if (key == NULL || bio == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", path);
        goto out;
    }
    key->pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (key->pkey == NULL || EVP_PKEY_is_a(key->pkey, "ED25519") != 1) {
        err = kerf_fail(why, KERF_EINVAL,
                        "%s: not an Ed25519 secret key in PEM without a "
                        "password (kerf sign --new-key makes one)",
                        path);
        goto out;
    }
    err = set_public(public, key->pkey);
    if (err != KERF_OK) {
        (void)kerf_fail(why, err, "%s: no memory", path);
        goto out;
    }
    *out = key;
    key = NULL;
out:
    ERR_clear_error();
    kerf_secret_key_free(key);
    BIO_free(bio);
    kerf_pem_free(&pem);
    return err;
}

void
kerf_secret_key_free(kerf_secret_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

kerf_err
kerf_sign(const kerf_secret_key *key, const void *data, size_t len,
          uint8_t sig[KERF_ED25519_SIG], kerf_detail *why)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t sig_len = KERF_ED25519_SIG;
    bool ok = ctx != NULL &&
              EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestSign(ctx, sig, &sig_len, data, len) == 1 &&
              sig_len == KERF_ED25519_SIG;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok ? KERF_OK
              : kerf_fail(why, KERF_ENOMEM, "cannot sign: out of memory");
}

/* Public ones. */

kerf_err
kerf_public_key_parse(kerf_public_key *out, const void *pem, size_t len,
                      kerf_detail *why)
{
    kerf_public_key key;
    EVP_PKEY *pkey = NULL;
    BIO *bio = NULL;
    kerf_err err = KERF_OK;

    if (len > KERF_KEY_FILE_MAX)
        return kerf_fail(why, KERF_EINVAL, "not a key: %zu bytes", len);
    bio = BIO_new_mem_buf(pem, (int)len);
    if (bio == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    pkey = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
    if (pkey == NULL || EVP_PKEY_is_a(pkey, "ED25519") != 1) {
        err = kerf_fail(why, KERF_EINVAL,
                        "not an Ed25519 public key in PEM (FILE.pub of kerf "
                        "sign --new-key FILE)");
    } else {
        err = set_public(&key, pkey);
    }
    if (err == KERF_ENOMEM)
        (void)kerf_fail(why, err, "no memory");
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    if (err == KERF_OK)
        *out = key;
    return err;
}

kerf_err
kerf_public_key_read(kerf_public_key *out, const char *path, kerf_detail *why)
{
    uint8_t *pem = NULL;
    size_t len = 0;
    kerf_err err = kerf_fs_read(path, KERF_KEY_FILE_MAX, &pem, &len, why);

    if (err != KERF_OK)
        return err;
    err = kerf_public_key_parse(out, pem, len, why);
    free(pem);
    return err == KERF_OK ? err : kerf_fail_in(why, err, "%s", path);
}

bool
kerf_verify(const kerf_public_key *key, const void *data, size_t len,
            const uint8_t sig[KERF_ED25519_SIG])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                 key->bytes, sizeof key->bytes);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = pkey != NULL && ctx != NULL &&
              EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
              EVP_DigestVerify(ctx, sig, KERF_ED25519_SIG, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok;
}
