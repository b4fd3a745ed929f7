/* The access file of a cloud, the index of a fleet, and files with
 * certificates, keys and lists of revoked ones. The first byte says which. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "trust/access.h"
#include "trust/fleet_index.h"
#include "trust/pem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_access(const char *text, size_t len)
{
    kerf_access *access = NULL;

    if (kerf_access_parse(&access, text, len, NULL) != KERF_OK)
        return;
    (void)kerf_access_allows(access, "door-1", "digits");
    (void)kerf_access_allows(access, "", "");
    (void)kerf_access_allows(access, "aaaaaaaaaaaaaaaaaaaaaaaa", "a.b.c.d");
    kerf_access_free(access);
}

/* What parses is written as it stood, but for what a person may write. */
static void
try_index(const char *text, size_t len)
{
    kerf_index index = {0};
    kerf_index again = {0};
    char *out = NULL;
    size_t out_len = 0;

    if (kerf_index_parse(&index, text, len, NULL) != KERF_OK)
        return;
    if (kerf_index_format(&index, &out, &out_len) != KERF_OK ||
        kerf_index_parse(&again, out, out_len, NULL) != KERF_OK ||
        again.count != index.count || again.list != index.list)
        abort();
    if (index.count > 0 &&
        kerf_index_find(&index, index.issued[0].name) == NULL)
        abort();
    free(out);
    kerf_index_free(&index);
    kerf_index_free(&again);
}

static void
try_pem(const kerf_pem *pem)
{
    X509 *cert[KERF_AUTHORITIES_MAX];
    X509_CRL *crl[KERF_AUTHORITIES_MAX];
    EVP_PKEY *key = NULL;
    size_t count = 0;

    if (kerf_pem_certs(cert, KERF_AUTHORITIES_MAX, &count, pem, "x", NULL) ==
        KERF_OK) {
        for (size_t i = 0; i < count; i++) {
            char name[KERF_CERT_NAME];
            kerf_side side;

            if (kerf_cert_name(cert[i], name) && !kerf_cert_is_name(name))
                abort();
            (void)kerf_cert_side(cert[i], &side);
            (void)kerf_cert_from(cert[i]);
            (void)kerf_cert_until(cert[i]);
            X509_free(cert[i]);
        }
    }
    if (kerf_pem_crls(crl, KERF_AUTHORITIES_MAX, &count, pem, "x", NULL) ==
        KERF_OK) {
        for (size_t i = 0; i < count; i++)
            X509_CRL_free(crl[i]);
    }
    if (kerf_pem_key(&key, pem, "x", NULL) == KERF_OK)
        EVP_PKEY_free(key);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    if (size < 1 || size > KERF_PEM_MOST)
        return 0;
    copy = malloc(size); /* what is past its end is noticed; [size - 1] is 0 */
    if (copy == NULL)
        return 0;
    memcpy(copy, data + 1, size - 1);
    copy[size - 1] = 0;
    if (data[0] % 3 == 0)
        try_access((const char *)copy, size - 1);
    else if (data[0] % 3 == 1)
        try_index((const char *)copy, size - 1);
    else
        try_pem(&(kerf_pem){.data = copy, .len = size - 1});
    free(copy);
    return 0;
}
