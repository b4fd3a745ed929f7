#include "trust/cert.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SAN_MOST ((size_t)KERF_HOSTS_MAX * 280)

const char *
kerf_side_name(kerf_side side)
{
    static const char *const name[] = {[KERF_SIDE_EDGE] = "edge",
                                       [KERF_SIDE_CLOUD] = "cloud",
                                       [KERF_SIDE_AUTHORITY] = "authority"};

    return name[side];
}

static bool
is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

bool
kerf_cert_is_name(const char *name)
{
    size_t len = strnlen(name, KERF_CERT_NAME);

    if (len == 0 || len == KERF_CERT_NAME || !is_alnum(name[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!is_alnum(name[i]) && strchr("._-", name[i]) == NULL)
            return false;
    }
    return true;
}

static bool
is_address(const char *host)
{
    uint8_t scrap[16];

    return inet_pton(AF_INET, host, scrap) == 1 ||
           inet_pton(AF_INET6, host, scrap) == 1;
}

bool
kerf_cert_is_host(const char *host)
{
    size_t len = strnlen(host, 254);

    if (is_address(host))
        return true;
    if (strncmp(host, "*.", 2) == 0) {
        host += 2;
        len -= 2;
    }
    if (len == 0 || len > 253 || !is_alnum(host[0]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(host[i]) && strchr("._-", host[i]) == NULL)
            return false;
    }
    return strstr(host, "..") == NULL;
}

static kerf_err
fail(kerf_detail *why, const char *what)
{
    return kerf_fail(why, KERF_ENOMEM, "%s could not be made", what);
}

kerf_err
kerf_key_new(struct evp_pkey_st **out, kerf_key_kind kind, kerf_detail *why)
{
    *out = kind == KERF_KEY_P256 ? EVP_EC_gen("P-256")
                                 : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return *out != NULL ? KERF_OK : fail(why, "a key");
}

kerf_err
kerf_cert_serial_new(uint8_t out[16], kerf_detail *why)
{
    if (RAND_bytes(out, 16) != 1)
        return kerf_fail(why, KERF_EIO, "no random numbers");
    out[0] = (uint8_t)((out[0] & 0x7f) | 0x40); /* positive, 16 bytes */
    return KERF_OK;
}

static bool
set_serial(ASN1_INTEGER *to, const uint8_t serial[16])
{
    BIGNUM *n = BN_bin2bn(serial, 16, NULL);
    bool done = n != NULL && BN_to_ASN1_INTEGER(n, to) != NULL;

    BN_free(n);
    return done;
}

static bool
add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    bool done;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    done = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return done;
}

/* "IP:192.0.2.10,DNS:cloud.example": hosts have no comma. */
static bool
add_hosts(X509 *cert, X509 *issuer, const kerf_cert_ask *ask)
{
    char text[SAN_MOST];
    size_t at = 0;

    for (size_t i = 0; i < ask->host_count && at < sizeof text; i++)
        at += (size_t)snprintf(
            text + at, sizeof text - at, "%s%s:%s", i > 0 ? "," : "",
            is_address(ask->host[i]) ? "IP" : "DNS", ask->host[i]);
    return at < sizeof text &&
           (at == 0 || add_ext(cert, issuer, NID_subject_alt_name, text));
}

static bool
add_exts(X509 *cert, X509 *issuer, const kerf_cert_ask *ask)
{
    if (!add_ext(cert, issuer, NID_subject_key_identifier, "hash"))
        return false;
    if (ask->side == KERF_SIDE_AUTHORITY) {
        return add_ext(cert, issuer, NID_basic_constraints,
                       "critical,CA:TRUE,pathlen:0") &&
               add_ext(cert, issuer, NID_key_usage,
                       "critical,keyCertSign,cRLSign");
    }
    return add_ext(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_ext(cert, issuer, NID_authority_key_identifier,
                   "keyid:always") &&
           add_ext(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_ext(cert, issuer, NID_ext_key_usage,
                   ask->side == KERF_SIDE_CLOUD ? "critical,serverAuth"
                                                : "critical,clientAuth") &&
           add_hosts(cert, issuer, ask);
}

static bool
set_name(X509 *cert, const char *name)
{
    return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN",
                                      MBSTRING_ASC, (const uint8_t *)name, -1,
                                      -1, 0) == 1;
}

/* Ed25519 hashes by itself. */
static const EVP_MD *
digest_of(const EVP_PKEY *key)
{
    return EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

kerf_err
kerf_cert_make(struct x509_st **out, const kerf_cert_ask *ask, kerf_detail *why)
{
    X509 *cert = X509_new();
    X509 *issuer = ask->issuer != NULL ? ask->issuer : cert;
    bool done =
        cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
        set_serial(X509_get_serialNumber(cert), ask->serial) &&
        ASN1_TIME_set(X509_getm_notBefore(cert), ask->from_s) != NULL &&
        ASN1_TIME_set(X509_getm_notAfter(cert), ask->until_s) != NULL &&
        X509_set_pubkey(cert, ask->key) == 1 && set_name(cert, ask->name) &&
        X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
        add_exts(cert, issuer, ask) &&
        X509_sign(cert, ask->signer, digest_of(ask->signer)) > 0;

    if (!done) {
        X509_free(cert);
        return fail(why, "a certificate");
    }
    *out = cert;
    return KERF_OK;
}

static bool
add_revoked(X509_CRL *crl, const kerf_revoked *r)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    ASN1_TIME *at = ASN1_TIME_set(NULL, r->at_s);
    bool done = entry != NULL && serial != NULL && at != NULL &&
                set_serial(serial, r->serial) &&
                X509_REVOKED_set_serialNumber(entry, serial) == 1 &&
                X509_REVOKED_set_revocationDate(entry, at) == 1 &&
                X509_CRL_add0_revoked(crl, entry) == 1;

    if (!done)
        X509_REVOKED_free(entry);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(at);
    return done;
}

static bool
add_number(X509_CRL *crl, uint64_t number)
{
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool done = n != NULL && ASN1_INTEGER_set_uint64(n, number) == 1 &&
                X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;

    ASN1_INTEGER_free(n);
    return done;
}

kerf_err
kerf_crl_make(struct X509_crl_st **out, struct x509_st *issuer,
              struct evp_pkey_st *signer, uint64_t number,
              const kerf_revoked *list, size_t count, kerf_detail *why)
{
    X509_CRL *crl = X509_CRL_new();
    /* As of the issuer's beginning: a cloud's clock may be behind ours. */
    bool done =
        crl != NULL && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
        X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) == 1 &&
        X509_CRL_set1_lastUpdate(crl, X509_get0_notBefore(issuer)) == 1 &&
        X509_CRL_set1_nextUpdate(crl, X509_get0_notAfter(issuer)) == 1 &&
        add_number(crl, number);

    for (size_t i = 0; done && i < count; i++)
        done = add_revoked(crl, &list[i]);
    done = done && X509_CRL_sort(crl) == 1 &&
           X509_CRL_sign(crl, signer, digest_of(signer)) > 0;
    if (!done) {
        X509_CRL_free(crl);
        return fail(why, "the list of revoked certificates");
    }
    *out = crl;
    return KERF_OK;
}

bool
kerf_cert_name(const struct x509_st *cert, char out[KERF_CERT_NAME])
{
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    const ASN1_STRING *text;
    int len;

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return false;
    text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    len = ASN1_STRING_length(text);
    if (len <= 0 || len >= KERF_CERT_NAME)
        return false;
    memcpy(out, ASN1_STRING_get0_data(text), (size_t)len);
    out[len] = '\0';
    return strlen(out) == (size_t)len && kerf_cert_is_name(out);
}

bool
kerf_cert_side(struct x509_st *cert, kerf_side *out)
{
    uint32_t flags = X509_get_extension_flags(cert);
    uint32_t usage = X509_get_extended_key_usage(cert);

    if ((flags & EXFLAG_CA) != 0) {
        *out = KERF_SIDE_AUTHORITY;
        return true;
    }
    if ((flags & EXFLAG_XKUSAGE) == 0)
        return false;
    *out = usage == XKU_SSL_SERVER ? KERF_SIDE_CLOUD : KERF_SIDE_EDGE;
    return usage == XKU_SSL_SERVER || usage == XKU_SSL_CLIENT;
}

static int64_t
seconds_of(const ASN1_TIME *at, int64_t bad)
{
    struct tm tm;

    return ASN1_TIME_to_tm(at, &tm) == 1 ? (int64_t)timegm(&tm) : bad;
}

int64_t
kerf_cert_from(const struct x509_st *cert)
{
    return seconds_of(X509_get0_notBefore(cert), INT64_MAX);
}

int64_t
kerf_cert_until(const struct x509_st *cert)
{
    return seconds_of(X509_get0_notAfter(cert), INT64_MAX);
}

char *
kerf_cert_day(char out[16], int64_t at_s)
{
    time_t t = (time_t)at_s;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, 16, "%Y-%m-%d", &tm) == 0)
        (void)snprintf(out, 16, "?");
    return out;
}
