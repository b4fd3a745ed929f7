/*
 * statement.h - what a signature says of a bundle: which model and bundle, its
 * version, from when to when. docs/PROTOCOL.md, "Statement".
 *
 * A small JSON text that is signed, stored and sent as the bytes that it is;
 * nothing that is signed is ever written anew. Buffers, but for reading keys.
 * Threads: values.
 */
#ifndef KERF_TRUST_STATEMENT_H
#define KERF_TRUST_STATEMENT_H

#include "kerf/limits.h"
#include "kerf/signature.h"
#include "trust/ed25519.h"

#include <jansson.h>

#define KERF_STATEMENT_MAX 1024  /* bytes of its text */
#define KERF_SIG_FILE_MAX 8192u  /* bytes of NAME.kerf.sig.json */
#define KERF_STATEMENT_BUNDLE 32 /* bytes of a bundle's id */
#define KERF_STATEMENT_VERSION_MAX ((INT64_C(1) << 53) - 1)
/* Clocks of who signs and who checks may differ by so much. */
#define KERF_STATEMENT_SKEW_S 300

typedef struct kerf_statement {
    char model[KERF_NAME_MAX];
    uint8_t bundle[KERF_STATEMENT_BUNDLE];
    int64_t version;             /* 1 to KERF_STATEMENT_VERSION_MAX */
    int64_t issued_s, expires_s; /* base/date.h */
    int64_t rollback_from;       /* 0: none; else more than version */
} kerf_statement;

/* A statement's text and who signed it, not checked. */
typedef struct kerf_signed {
    size_t len; /* of text; 0: not signed, and the rest is zero */
    char text[KERF_STATEMENT_MAX + 1];
    uint8_t key[KERF_KEY_ID_LEN]; /* a hint: which one to check with */
    uint8_t sig[KERF_ED25519_SIG];
} kerf_signed;

/* Errors: KERF_ECORRUPT, KERF_EVERSION, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_statement_parse(kerf_statement *out,
                                             const char *text, size_t len,
                                             kerf_detail *why);
/* Makes the text of s and signs it. Errors: KERF_EINVAL, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_statement_sign(kerf_signed *out,
                                            const kerf_statement *s,
                                            const kerf_secret_key *key,
                                            const kerf_public_key *public,
                                            kerf_detail *why);
/* For people. checked: with a trusted key. */
kerf_signature kerf_statement_show(const kerf_statement *s,
                                   const kerf_signed *with, bool checked);

bool kerf_signed_equal(const kerf_signed *a, const kerf_signed *b);
/* The member of a manifest; NULL: no memory. */
json_t *kerf_signed_to_json(const kerf_signed *s);
/* object NULL: not signed. Errors: KERF_ECORRUPT. */
KERF_NODISCARD kerf_err kerf_signed_from_json(kerf_signed *out,
                                              const json_t *object,
                                              kerf_detail *why);
/* The file beside a pair; its text -> free(). Errors: those of the statement,
 * which has to parse, too. */
KERF_NODISCARD kerf_err kerf_signed_format(const kerf_signed *s, char **out);
KERF_NODISCARD kerf_err kerf_signed_parse(kerf_signed *out,
                                          kerf_statement *says,
                                          const void *json, size_t len,
                                          kerf_detail *why);

/* Keys that are trusted: FILE.pub, or folders of such. */
typedef struct kerf_trust {
    const char *const *path; /* borrowed */
    size_t count;            /* 0: nobody is asked, all is trusted */
} kerf_trust;

#define KERF_TRUST_KEYS_MAX 64

/* Reads the keys, to see whether there are any: a path without one is skipped,
 * with a line in the log, when others have some. Errors, with the path: those
 * of kerf_public_key_read(), KERF_ENOENT (a folder without any), KERF_ETOOBIG
 * (more than KERF_TRUST_KEYS_MAX). */
KERF_NODISCARD kerf_err kerf_trust_check(const kerf_trust *trust,
                                         kerf_detail *why);
/*
 * Whether a trusted key signed that this bundle is this model, and now_s is
 * between issued and expires. The keys are read anew, so that one that was
 * taken away counts no longer. says: what was signed.
 * Errors: KERF_EDENIED with what is wrong; KERF_EAGAIN: the clock is not set;
 * those of kerf_trust_check().
 */
KERF_NODISCARD kerf_err kerf_trust_statement(
    const kerf_trust *trust, const kerf_signed *s, const char *model,
    const uint8_t bundle[KERF_STATEMENT_BUNDLE], int64_t now_s,
    kerf_statement *says, kerf_detail *why);
/* The part of it that time decides. */
KERF_NODISCARD kerf_err kerf_statement_in_time(const kerf_statement *s,
                                               int64_t now_s, kerf_detail *why);

#endif
