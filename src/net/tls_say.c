#include "net/tls_own.h"

#include <openssl/err.h>

/* The peer sent an alert: what it does not like about us. */
static kerf_err
say_alert(const kerf_tls_link *link, int alert, kerf_detail *why)
{
    const char *peer = link->server ? "edge" : "cloud";
    const char *own = link->server ? "cloud" : "edge";
    const char *name = kerf_creds_name(link->tls->creds);

    switch (alert) {
    case SSL_AD_CERTIFICATE_REVOKED:
        return kerf_fail(why, KERF_EDENIED,
                         "the %s says that this %s's certificate (%s) is "
                         "revoked: kerf keygen renew %s --force makes a new "
                         "one, if it shall have one",
                         peer, own, name, name);
    case SSL_AD_CERTIFICATE_EXPIRED:
        return kerf_fail(why, KERF_EDENIED,
                         "the %s says that this %s's certificate (%s) has "
                         "expired: kerf keygen renew %s, and copy it; or is a "
                         "clock wrong?",
                         peer, own, name, name);
    case SSL_AD_UNKNOWN_CA:
        return kerf_fail(why, KERF_EDENIED,
                         "the %s does not know the authority of this %s's "
                         "certificate (%s): are both of the same fleet?",
                         peer, own, name);
    case SSL_AD_CERTIFICATE_REQUIRED:
        return kerf_fail(why, KERF_EDENIED, "the %s wants a certificate", peer);
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        return kerf_fail(why, KERF_EDENIED,
                         "the %s says that this %s's certificate (%s) is not "
                         "%s's: kerf keygen %s makes those",
                         peer, own, name, link->server ? "a cloud" : "an edge",
                         own);
    case SSL_AD_BAD_CERTIFICATE:
        return kerf_fail(why, KERF_EDENIED,
                         "the %s does not take this %s's certificate (%s)"
                         ": %s",
                         peer, own, name,
                         link->server
                             ? "does it have the names and addresses by which "
                               "edges reach this cloud? or is a clock wrong?"
                             : "is a clock wrong?");
    case SSL_AD_PROTOCOL_VERSION:
        return kerf_fail(why, KERF_EDENIED, "the %s does not speak TLS 1.3",
                         peer);
    default:
        return kerf_fail(why, KERF_EDENIED, "the %s ended TLS: %s", peer,
                         SSL_alert_desc_string_long(alert));
    }
}

static kerf_err
say_verify(const kerf_tls_link *link, kerf_detail *why)
{
    return kerf_creds_say(why, (int)SSL_get_verify_result(link->ssl),
                          link->refused,
                          link->server ? "the edge's" : "the cloud's",
                          kerf_tls_other_side(link->tls));
}

bool
kerf_tls_is_plain(const kerf_tls_link *link)
{
    return link->looked && link->first == 'K';
}

kerf_err
kerf_tls_say_plain(const kerf_tls_link *link, kerf_detail *why)
{
    return kerf_fail(why, KERF_ENOTSUP,
                     link->server
                         ? "this cloud wants TLS: start the edge with --tls DIR"
                         : "this cloud does not speak TLS: start it with --tls "
                           "DIR, or this edge without");
}

kerf_err
kerf_tls_say_failure(const kerf_tls_link *link, kerf_detail *why)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    const char *peer = link->server ? "edge" : "cloud";
    const char *text = ERR_reason_error_string(code);

    if (kerf_tls_is_plain(link))
        return kerf_tls_say_plain(link, why);
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return kerf_fail(why, KERF_EPROTO, "TLS with the %s failed: %s", peer,
                         text != NULL ? text : "unknown error");
    if (reason > SSL_AD_REASON_OFFSET)
        return say_alert(link, reason - SSL_AD_REASON_OFFSET, why);
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return say_verify(link, why);
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return kerf_fail(why, KERF_EDENIED,
                         "the %s has no certificate: kerf keygen %s makes one",
                         peer, peer);
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
        return kerf_fail(why, KERF_EDENIED, "the %s does not speak TLS 1.3",
                         peer);
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_HTTP_REQUEST:
        return kerf_fail(why, KERF_EPROTO,
                         "what came is not TLS: is it a Kerf %s?", peer);
    default:
        return kerf_fail(why, KERF_EPROTO, "TLS with the %s failed: %s", peer,
                         text != NULL ? text : "unknown error");
    }
}
